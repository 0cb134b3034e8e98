"""More questions from few: the numbers of a question, and questions that ask for one of them.

``numbers`` finds the numbers of a text, ``masking`` puts a variable in place of one, ``backward``
asks for it, as FOBAR does, and ``statements`` as self-verification does; ``overlap`` recognizes
texts that ask the same. Nothing here needs a model.

May import ``answers``, ``tasks`` and what is below them.
"""
