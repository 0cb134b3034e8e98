"""More questions from few: the parts that need no model.

``numbers`` finds the numbers of a text, ``masking`` puts a variable in place of one, ``backward``
asks for it, as FOBAR does, and ``statements`` as self-verification does. ``rewriting`` asks a model
for a question in other words or a statement, and ``rephrasing`` and ``statements`` check it.
``sieve`` and ``overlap`` recognize texts that ask the same; ``kinds`` names the kinds of questions,
``yields`` counts them, and ``rows`` writes what is kept as MetaMathQA does.

May import ``answers``, ``tasks``, ``prompts`` and what is below them.
"""
