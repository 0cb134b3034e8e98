"""Mathematical answers: read as values, and compared by rules (docs/answers.md).

``judge`` says right, wrong, or undecided with a reason. ``tokens``, ``formula``, ``parts`` and
``forms`` read; ``quantities``, ``statements``, ``brackets`` and ``written_numbers`` read notations
of their own. ``values`` are the types. ``compare`` has the rules, ``equality`` those for formulas,
and ``equations``, ``measures``, ``ratios`` and ``regions`` those for their types. ``checker`` does
all of it in a process (``worker``) that can be ended.

May import ``errors`` and the modules of ``answers`` beside it.
"""

from __future__ import annotations

from star_mlx.answers.math.checker import judge, second_opinions, unreadable
from star_mlx.answers.math.decide import Judged, MathVerdict

__all__ = ["Judged", "MathVerdict", "judge", "second_opinions", "unreadable"]
