"""Equations, inequalities and rounded values: reading them from tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from star_mlx.answers.math import equality, regions
from star_mlx.answers.math.brackets import split
from star_mlx.answers.math.formula import formula
from star_mlx.answers.math.limits import Undecided, Unreadable
from star_mlx.answers.math.tokens import Token
from star_mlx.answers.math.values import (
    Formula,
    Measure,
    Named,
    Node,
    Relation,
    Rounded,
    Value,
    symbols,
)
from star_mlx.answers.math.vocabulary import FUNCTIONS

ReadValue = Callable[[Sequence[Token], bool], Value]
_SIGNS = {"=": "=", "<": "<", ">": ">", "le": "<=", "ge": ">=", "ne": "!=", "approx": "~",
          "in": "in"}  # fmt: skip
_DECIMAL = re.compile(r"-?[0-9]*\.?[0-9]*")
_FALSE = "it is an equation that does not hold"


def statement(parts: Sequence[Token], plus: bool, value: ReadValue) -> Value | None:
    r"""What an equation, an inequality, or a rounded value says; None if it is none of them.

    Args:
        parts: the tokens.
        plus: whether ``\pm`` is +.
        value: reads the value on a side, which may be of any type.

    Raises:
        Unreadable: it has no reading, or is false.
    """
    sides, signs = split(parts, _sign)
    if not signs:
        return None
    if not sides[0]:
        return _without_left_side(sides[1:], signs, plus, value)
    if any(not side for side in sides):
        raise Unreadable("a side of its comparison is blank")
    if signs[-1] == "~":
        return _approximation(sides, plus, value)
    if signs == ["in"]:
        member = _name(sides[0])
        if not member:
            raise Unreadable("what is in the set is no name")
        return Named(member, value(sides[1], plus))
    if set(signs) == {"="}:
        return _equation(sides, plus, value)
    relation = Relation(tuple(formula(side, plus) for side in sides), tuple(signs))
    region = regions.of_relation(relation)
    if region is None:
        return relation
    return Named(next(name for side in relation.sides for name in symbols(side)), region)


def _sign(token: Token) -> str:
    return _SIGNS.get(token.text, "") if token.kind in ("sign", "command") else ""


def _without_left_side(
    sides: Sequence[Sequence[Token]], signs: Sequence[str], plus: bool, value: ReadValue
) -> Value:
    r"""``= 5`` and ``\approx 5``."""
    if signs == ["~"]:
        return _rounded(sides[0], plus, value)
    if signs != ["="]:
        raise Unreadable("it begins with a sign of comparison")
    return value(sides[0], plus)


def _approximation(sides: Sequence[Sequence[Token]], plus: bool, value: ReadValue) -> Value:
    r"""``x \approx 3.1`` and ``\frac{10}{3} \approx 3.3``."""
    found = _rounded(sides[-1], plus, value)
    name = _name(sides[0])
    if name:
        return Named(name, found)
    node, unit = formula(sides[0], plus), Fraction(1, 10**found.places)  # also of 2.67 cut to 2.6
    try:
        if not symbols(node) and not equality.near(node, found.value, unit * Fraction(99, 100)):
            raise Unreadable(_FALSE)
    except Undecided as error:
        raise Unreadable(str(error)) from None
    return found


def _rounded(side: Sequence[Token], plus: bool, value: ReadValue) -> Rounded:
    found = value(side, plus)
    text = "".join(token.text for token in side)
    decimal = equality.rational(found.node) if isinstance(found, Formula | Measure) else None
    if decimal is None or not _DECIMAL.fullmatch(text):
        raise Unreadable("what is said to be rounded is no decimal")
    return Rounded(decimal, len(text.partition(".")[2]))


def _equation(sides: Sequence[Sequence[Token]], plus: bool, value: ReadValue) -> Value:
    """A name with its value, the result of a calculation, or an equation."""
    named = [(_name(sides[0]), sides[1:])]
    if len(sides) == 2:
        named.append((_name(sides[1]), sides[:1]))
    for name, others in named:
        if name:
            found = value(others[-1], plus)
            if not (isinstance(found, Formula) and name in symbols(found.node)):
                _hold([value(side, plus) for side in others[:-1] if not _name(side)], found)
                return Named(name, found)
    nodes = tuple(formula(side, plus) for side in sides)
    if any(symbols(node) for node in nodes):
        return Relation(nodes, ("=",) * (len(nodes) - 1))
    first, *between, last = nodes
    if first.op == "apply" and all(arg.op == "number" for arg in first.args):
        name = f"{first.name}({','.join(str(arg.value) for arg in first.args)})"  # f(2) = 3
        _hold([Formula(node) for node in between], Formula(last))
        return Named(name, Formula(last))
    _hold([Formula(node) for node in nodes[:-1]], Formula(last))
    return Formula(last)


def _hold(results: Sequence[Value], last: Value) -> None:
    """Refuse a calculation with a wrong result: x = 2 + 3 = 6.

    Raises:
        Unreadable: a number is not equal to the last one.
    """
    nodes = [one.node for one in (*results, last) if isinstance(one, Formula | Measure)]
    numbers: list[Node] = [node for node in nodes if not symbols(node)]
    try:
        if not all(equality.same(numbers[-1], node) for node in numbers[:-1]):
            raise Unreadable(_FALSE)
    except Undecided as error:
        raise Unreadable(str(error)) from None


def _name(side: Sequence[Token]) -> str:
    """The name that a side of an equation is: x, x_1, f(x), AB, (x, y); else empty."""
    text = "".join(t.text.strip() for t in side)
    if any(t.kind not in ("letters", "command", "sign", "number", "text") for t in side):
        return ""
    if len(side) == 1 and side[0].kind in ("letters", "text"):
        return "" if text in ("e", "i") else text
    if len(side) == 1 and side[0].kind == "command":
        return text if text not in FUNCTIONS and text not in ("pi", "infty") else ""
    named = r"(?:[A-Za-z]'*(?:\^\{-1\})?|[A-Za-z]+_\{?\w{1,3}\}?)(?:\([A-Za-z]+(?:,[A-Za-z]+)*\))?"
    pair = r"\([A-Za-z](?:,[A-Za-z])+\)"
    lettered = r"(?:overline|angle|triangle|vec|mathbf)\{?[A-Za-z]{1,3}\}?"
    return text if re.fullmatch(rf"{named}|{pair}|{lettered}", text) else ""
