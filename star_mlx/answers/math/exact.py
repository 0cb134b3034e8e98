"""Exact numbers: rational, real or complex. No operation here rounds, and each is bounded."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

from star_mlx.answers.math.limits import LARGEST_FACTORIAL, MOST_BITS, Undecided


class NoValue(ArithmeticError):
    """An operation that has no value, such as a division by zero."""


class Exact(NamedTuple):
    """A complex number with rational parts."""

    re: Fraction
    im: Fraction = Fraction(0)

    @property
    def real(self) -> bool:
        return not self.im


ONE, I = Exact(Fraction(1)), Exact(Fraction(0), Fraction(1))  # noqa: E741 (its usual name)


def plus(a: Exact, b: Exact) -> Exact:
    return Exact(a.re + b.re, a.im + b.im)


def times(a: Exact, b: Exact) -> Exact:
    if a.real and b.real:
        return _checked(Exact(a.re * b.re))
    return _checked(Exact(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re))


def over(a: Exact, b: Exact) -> Exact:
    """a / b.

    Raises:
        NoValue: b is 0.
    """
    size = b.re * b.re + b.im * b.im
    if not size:
        raise NoValue("division by zero")
    if b.real:
        return _checked(Exact(a.re / b.re, a.im / b.re))
    return times(a, Exact(b.re / size, -b.im / size))


def power(base: Exact, exponent: int) -> Exact | None:
    """A whole power; None if it is too large to be written out.

    Raises:
        NoValue: 0 to the power of 0, or of a negative number.
    """
    if base == Exact(Fraction(0)):
        if exponent <= 0:
            raise NoValue("a power of zero")
        return base
    if base.real and abs(base.re) == 1:
        return ONE if exponent % 2 == 0 else base
    if abs(exponent) * bits(base) > MOST_BITS:
        return None
    if exponent < 0:
        return over(ONE, _power(base, -exponent))
    return _power(base, exponent)


def _power(base: Exact, exponent: int) -> Exact:
    if base.real:
        return Exact(base.re**exponent)
    found = ONE
    while exponent:
        if exponent & 1:
            found = times(found, base)
        base = times(base, base) if exponent > 1 else base
        exponent >>= 1
    return found


def root(value: Fraction, degree: int) -> Fraction | None:
    """The root of a rational number that is not negative, if it is rational."""
    if not 2 <= degree <= 64:
        return None
    top, bottom = _whole_root(value.numerator, degree), _whole_root(value.denominator, degree)
    return None if top is None or bottom is None else Fraction(top, bottom)


def _whole_root(n: int, degree: int) -> int | None:
    if degree == 2:
        found = math.isqrt(n)
        return found if found * found == n else None
    low, high = 0, 1 << (n.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**degree <= n else (low, middle - 1)
    return low if low**degree == n else None


def factorial(n: int) -> Exact:
    """n!

    Raises:
        NoValue: n is negative.
        Undecided: n is too large.
    """
    if n < 0:
        raise NoValue("a factorial of a negative number")
    if n > LARGEST_FACTORIAL:
        raise Undecided(f"a factorial in it is of more than {LARGEST_FACTORIAL}")
    return Exact(Fraction(math.factorial(n)))


def bits(a: Exact) -> int:
    """The bits that the number takes."""
    return max(
        part.bit_length() for value in a for part in (abs(value.numerator), value.denominator)
    )


def _checked(a: Exact) -> Exact:
    if bits(a) > 4 * MOST_BITS:
        raise Undecided("a number in it is too large")
    return a
