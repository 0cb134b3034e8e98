"""The types of a mathematical answer.

A formula is a tree of ``Node``; everything else is made of formulas. ``docs/answers.md`` has the
rules by which two of them are compared.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

from star_mlx.answers.units import Unit

_ARTICLE = re.compile(r"(?:the|an?) (?=\w)")
_BETWEEN_DIGITS = re.compile(r"[.,](?![0-9])")
_BETWEEN_NUMBERS = re.compile(r"(?<=[0-9])[\s'\"()\[\]{}$]+(?=[0-9])")
_MINUS = re.compile(r"(?<=[0-9])\s*-\s*(?=[0-9])|(?<!\w)-(?=[0-9])")
_SHORT_WORDS = frozenset(["yes", "no"])
_IGNORED = re.compile(r"[\s'\"`*_~!?;()\[\]{}$\\&-]+")


@dataclass(frozen=True, slots=True)
class Node:
    """A part of a formula: an operation with its arguments, or a leaf.

    ``op`` is ``number`` (with ``value``), ``symbol`` (with ``name``), ``constant`` (pi, e, i or
    infinity), ``add``, ``multiply``, ``divide``, ``power``, ``negate``, ``factorial``, ``root``
    (degree, radicand), ``function`` (with ``name``), ``apply`` (an unknown function such as f),
    ``degrees`` or ``percent``.
    """

    op: str
    args: tuple[Node, ...] = ()
    value: Fraction = Fraction(0)
    name: str = ""


def number(value: Fraction | int) -> Node:
    """The leaf of a number."""
    return Node("number", value=Fraction(value))


def symbols(node: Node) -> set[str]:
    """The names of the variables in a formula."""
    found, stack = set(), [node]
    while stack:
        one = stack.pop()
        if one.op == "symbol":
            found.add(one.name)
        stack.extend(one.args)
    return found


def has(node: Node, op: str, name: str = "") -> bool:
    """Whether an operation is anywhere in a formula."""
    stack = [node]
    while stack:
        one = stack.pop()
        if one.op == op and (not name or one.name == name):
            return True
        stack.extend(one.args)
    return False


@dataclass(frozen=True, slots=True)
class Formula:
    """A number, exact whatever its form, or an expression, real or complex."""

    node: Node


@dataclass(frozen=True, slots=True)
class Rounded:
    """A number that is said to be rounded, to so many decimal places."""

    value: Fraction
    places: int


@dataclass(frozen=True, slots=True)
class Measure:
    """A formula with a unit: money, percent, degrees, a length; ``units`` are those that the unit
    may mean. If it is no known unit, ``words`` are the words after the number."""

    node: Node
    units: frozenset[Unit] = frozenset()
    words: str = ""


@dataclass(frozen=True, slots=True)
class InBase:
    """A numeral with its base: 52_8. ``digits`` have no leading zeros."""

    digits: str
    base: int
    value: Fraction


@dataclass(frozen=True, slots=True)
class Relation:
    """An equation, an inequality, or a chain of them: one sign less than sides."""

    sides: tuple[Node, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """A value with a name, such as P = (1, 2) or x = 3."""

    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class Piece:
    """An interval; a single point is a closed one with equal ends. Infinite ends are None."""

    low: Node | None
    high: Node | None
    closed: tuple[bool, bool]


@dataclass(frozen=True, slots=True)
class Region:
    """A union of intervals and points; of none, the empty set."""

    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Several:
    """Values in a certain order or in any.

    ``kind`` is ``set`` (in braces), ``list`` (without brackets, in any order) or ``tuple``, whose
    brackets are ``()``, ``[]`` or ``<>``.
    """

    items: tuple[Value, ...]
    kind: str
    brackets: str = ""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of formulas, all of the same length."""

    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Numbers with colons between them: 3:2."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Label:
    """The letter of a choice, in brackets or as text: (B)."""

    letter: str


@dataclass(frozen=True, slots=True)
class Phrase:
    """A text, without what makes no difference: case, spaces, punctuation, an article.

    Up to three capital letters, which may be variables, stay capitals.
    """

    text: str

    @classmethod
    def of(cls, text: str) -> Phrase:
        """The words of a text as it is written."""
        normal = unicodedata.normalize("NFKC", text)
        folded = _ARTICLE.sub("", _BETWEEN_DIGITS.sub("", normal.casefold()).strip())
        folded = _MINUS.sub("−", _BETWEEN_NUMBERS.sub("¦", folded))
        words, capitals = _IGNORED.sub("", folded), _IGNORED.sub("", normal)
        if len(words) <= 3 and words not in _SHORT_WORDS and capitals.isupper():
            words = capitals if capitals.isalpha() else words  # AB is no word
        return cls(words)


Value = (
    Formula
    | Rounded
    | Measure
    | InBase
    | Relation
    | Named
    | Region
    | Several
    | Matrix
    | Ratio
    | Label
    | Phrase
)
