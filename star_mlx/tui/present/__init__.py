"""The projector view: a run as slides on a terminal, for a class.

May import ``slides`` and what is below it, rich, and the rest of ``tui``.
"""
