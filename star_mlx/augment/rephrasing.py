"""Whether a rewritten question asks the same as the original one, as far as rules can tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from star_mlx.answers.numerals import written
from star_mlx.augment.numbers import find
from star_mlx.augment.overlap import words
from star_mlx.augment.written_number import WrittenNumber

SAME = "it is the same question"
ASKS_NOTHING = "it has no question mark"
LACKS = "it lacks the number"
ADDS = "it has another number"


def fault(original: str, rewritten: str, latex: bool = False) -> str:
    """Why a rewritten question cannot take the place of the original; empty if it may.

    It has to differ by more than case, spaces and punctuation, and to hold the same numbers, as
    often. ``12``, ``twelve`` and ``a dozen`` are the same number. A time, a date and other digits
    that have no value have to be written as in the original.

    >>> fault("Ann has 3 bags of 4 nuts. How many?", "How many nuts are in Ann's three bags?")
    'it lacks the number 4'
    """
    if words(rewritten) == words(original):
        return SAME
    before, after = find(original, latex), find(rewritten, latex)
    if missing := _missing(before, after):
        return f"{LACKS} {missing}"
    if added := _missing(after, before):
        return f"{ADDS}, {added}"
    return ASKS_NOTHING if "?" in original and "?" not in rewritten else ""


def _missing(these: Sequence[WrittenNumber], others: Sequence[WrittenNumber]) -> str:
    """The first number that the others lack; empty if they have all.

    A number that might be none, such as a pronoun, is not missed, but may stand for one.
    """
    lacking = amounts(these) - Counter(n.value for n in others if n.value is not None)
    for value in lacking:
        return written(value)
    return next(iter(_without_value(these) - _without_value(others)), "")


def amounts(numbers: Sequence[WrittenNumber]) -> Counter[Fraction]:
    """How often each value is among the numbers that can be masked."""
    return Counter(n.value for n in numbers if not n.reason and n.value is not None)


def _without_value(numbers: Sequence[WrittenNumber]) -> Counter[str]:
    """How often each text in digits is among the numbers that have no value."""
    return Counter(n.text.casefold() for n in numbers if n.value is None and n.text[:1].isdigit())
