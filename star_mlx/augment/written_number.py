"""A number where it is written in a text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

# Why a number of a text is not masked.
ADDED = "a half behind a noun and 'and'"  # an hour and a half
AMOUNT = "a unit, as in $3 a dozen"
CODE = "part of a name or code"
DATE = "part of a date or code"
FIGURE = "in a figure, or written in one too"
FORM = "digits of a form that is not read"
INDEX = "an index, an inverse, or one of several digits after ^"
INEXACT = "no exact number"
LAYOUT = "layout of LaTeX"
LONG = "more digits than are read"
MULTIPLE = "a word such as double, which may be a verb"
ONCE = "once, which may be no number"
ORDINAL = "an ordinal"
ORDINAL_OR_PART = "an ordinal or a part: a third"
PART = "a part without what it is part of"
PRONOUN = "one as a pronoun, or in an idiom"
RANGE = "one of two numbers with a dash between"
REPEATING = "a repeating decimal"
TAKEN = "the question has both variables, x and X"
TIME = "a time of day"
UNIT = "part of a unit"
ZERO = "a fraction over zero"

_AMOUNTS = (
    "age|amount|area|cost|distance|height|length|number|population|price|quantity|rate|salary|size"
    "|speed|time|value|volume|weight|width"
)
_TIMES = re.compile(
    r" (?:as|that|more|less|fewer|larger|bigger|longer|taller|older|smaller|shorter|heavier|what"
    rf"|(?:the|his|her|its|their) (?:{_AMOUNTS}))\b",
    re.IGNORECASE,
)
_DETERMINER = re.compile(
    r" (?:the|this|those|these|his|her|its|their|my|our|your|an?)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class WrittenNumber:
    """A number that was found in a text.

    Attributes:
        start, end: the characters that a variable would replace. A sign, a currency, a percent sign
            and a unit are left in the text.
        text: these characters.
        kind: how it is written: integer, decimal, fraction, mixed number, percent, money, words,
            fraction in words, multiple in words, ordinal, other.
        value: its value; None if there is none to ask for. Of 50% it is 50.
        form: the text that replaces it, with ``{}`` for the variable: ``{} `` in ``5kg``.
        reason: why it is not masked; empty if it can be.
    """

    start: int
    end: int
    text: str
    kind: str
    value: Fraction | None
    form: str = "{}"
    reason: str = ""


def found(
    text: str,
    start: int,
    end: int,
    kind: str,
    value: Fraction | None,
    reason: str = "",
    form: str = "{}",
) -> WrittenNumber:
    """The number in ``text[start:end]``."""
    return WrittenNumber(start, end, text[start:end], kind, value, form, reason)


def form_of_fraction(text: str, end: int) -> str:
    """How a variable replaces a fraction that ends at ``end``.

    >>> form_of_fraction("half as many", 4), form_of_fraction("half the cake", 4)
    ('{} times', '{} of')
    """
    if _TIMES.match(text, end):
        return "{} times"
    return "{} of" if _DETERMINER.match(text, end) else "{}"
