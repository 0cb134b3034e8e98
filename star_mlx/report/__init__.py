"""``star-mlx report``: runs -> one self-contained page, and its charts as SVG and PNG.

``write_report`` is the way in; ``gather`` reads, ``samples`` chooses, the ``charts`` modules
draw, ``words`` says it in sentences, ``page`` puts it together. May import ``measure``, ``recipe``,
``store`` and what is below them; only here matplotlib is imported.
"""
