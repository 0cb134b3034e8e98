"""Whether two formulas have the same value.

Exact arithmetic comes first. Floating-point numbers say "equal" only where they agree at several
points, with 50 digits beyond all that the formulas' own numbers span: 1/2^98 and 1/2^99, or the
root of 2 with and without 10^-60 added, are different.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from star_mlx.answers.math.evaluate import Number, Point, mpmath
from star_mlx.answers.math.exact import Exact, NoValue
from star_mlx.answers.math.limits import MOST_PRECISION, Undecided
from star_mlx.answers.math.values import Node, has, number, symbols

_FIFTY_DIGITS = 170  # bits
_POSITIVE, _ANY = 5, 4  # points whose coordinates are positive, and of any sign
_ENOUGH = 3  # points at which both have a value

Logarithm = Literal["10", "e"]


def same(a: Node, b: Node) -> bool:
    """Whether two formulas are equal wherever both have a value.

    Raises:
        Undecided: they are equal only in part, or have too few values, or too large ones.
    """
    if a == b:
        return True
    names = sorted(symbols(a) | symbols(b))
    if _same(a, b, names, "10"):
        return True
    plain = [_plain_logarithm(node) for node in (a, b)]
    if any(plain) and _same(a, b, names, "e"):
        raise Undecided("they are equal if log is the natural logarithm")
    return False


def _plain_logarithm(node: Node) -> bool:
    stack = [node]
    while stack:
        one = stack.pop()
        if one.op == "function" and one.name == "log" and len(one.args) == 1:
            return True
        stack.extend(one.args)
    return False


def _same(a: Node, b: Node, names: Sequence[str], logarithm: Logarithm) -> bool:
    if not names:
        found = same_at(a, b, {}, logarithm)
        if found is None:
            raise Undecided("one of them has no value")
        return found
    complex_ = has(a, "constant", "i") or has(b, "constant", "i")
    found_ = [same_at(a, b, p, logarithm, complex_) for p in points(names, 0, _POSITIVE)]
    if False in found_:
        return False
    rest = [same_at(a, b, p, logarithm, complex_) for p in points(names, _POSITIVE, _ANY)]
    if False in rest:
        if found_.count(True) >= _ENOUGH:
            raise Undecided("they are equal for positive values only")
        return False
    if (found_ + rest).count(True) < _ENOUGH:
        raise Undecided("they have values at too few points")
    return True


def points(names: Sequence[str], first: int, count: int) -> list[dict[str, Fraction]]:
    """Points to compare at, always the same ones; from the sixth on their signs differ."""
    found = []
    for which in range(first, first + count):
        point = {}
        for name in names:
            drawn = random.Random(f"{which}/{name}")
            value = Fraction(drawn.randrange(3_001, 40_000), 10_007)
            point[name] = -value if which >= _POSITIVE and drawn.random() < 0.7 else value
        found.append(point)
    return found


def same_at(
    a: Node,
    b: Node,
    point: dict[str, Fraction],
    logarithm: Logarithm = "10",
    complex_: bool = True,
) -> bool | None:
    """Whether two formulas are equal at a point; None where one has no value there.

    Without ``complex_``, None also where neither is a real number.

    Raises:
        Undecided: the values are too large, or need too many digits.
    """
    try:
        at = Point(point, _FIFTY_DIGITS, logarithm)
        first = at.value(a), at.value(b)
        if isinstance(first[0], Exact) and isinstance(first[1], Exact):
            if not complex_ and not (first[0].real or first[1].real):
                return None
            return bool(first[0] == first[1])
        return _floats(a, b, at, first, complex_)
    except NoValue:
        return None


def _floats(
    a: Node, b: Node, at: Point, first: tuple[Number, Number], complex_: bool
) -> bool | None:
    """Compare again with as many digits as the sizes of the first results ask for."""
    firsts = [at.float(value) for value in first]
    span = at.high - at.low
    precision = _FIFTY_DIGITS + 4 * span + 60
    if precision > MOST_PRECISION:
        raise Undecided("too many digits are needed to compare them")
    again = Point(at.point, precision, at.logarithm)
    values = [again.float(again.value(node)) for node in (a, b)]
    mp = mpmath()
    if any(_size(then - now) > at.high - 100 for then, now in zip(firsts, values, strict=True)):
        raise Undecided("one of them cannot be computed")
    least = at.low - _FIFTY_DIGITS + 10
    if not complex_ and all(_size(mp.im(value)) > least for value in values):
        return None
    return _size(values[0] - values[1]) <= least


def _size(value: object) -> float:
    """The binary exponent of a number; minus infinity of 0."""
    mp = mpmath()
    size = mp.mag(value)
    return size if isinstance(size, int) else float("-inf") if size == mp.ninf else float("inf")


def sign(node: Node) -> int:
    """The sign of a real number.

    Raises:
        Undecided: it is no real number without variables.
    """
    if symbols(node):
        raise Undecided("it depends on a variable")
    zero = Node("number")
    if same(node, zero):
        return 0
    try:
        value = Point({}, 4 * _FIFTY_DIGITS).value(node)
    except NoValue:
        raise Undecided("one of them has no value") from None
    if isinstance(value, Exact):
        if not value.real:
            raise Undecided("it is no real number")
        return 1 if value.re > 0 else -1
    mp = mpmath()
    if _size(mp.im(value)) > _size(value) - _FIFTY_DIGITS:
        raise Undecided("it is no real number")
    return 1 if mp.re(value) > 0 else -1


def near(node: Node, value: Fraction, by: Fraction) -> bool:
    """Whether a number is so near to a value; False if it depends on a variable.

    Raises:
        Undecided: it is no real number.
    """
    if symbols(node):
        return False
    away = Node("add", (node, number(-value)))
    return all(sign(Node("add", (away, number(side * by)))) * side >= 0 for side in (1, -1))


def rational(node: Node) -> Fraction | None:
    """The value of a formula that is a rational number without rounding; else None."""
    if symbols(node):
        return None
    try:
        value = Point({}, _FIFTY_DIGITS).value(node)
    except (NoValue, Undecided):
        return None
    return value.re if isinstance(value, Exact) and value.real else None
