"""The value of a formula at a point: exact where it can be, else with many digits (mpmath).

A number is exact (``Exact``) until an operation has no rational result. Then it is a floating-point
number of the given precision. The sizes of all such results are kept, because they say how
many digits are needed to be sure that two formulas are equal.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Literal

from star_mlx.answers.math import exact
from star_mlx.answers.math.exact import Exact, NoValue
from star_mlx.answers.math.limits import MOST_BITS, Undecided
from star_mlx.answers.math.values import Node
from star_mlx.errors import TaskError

Number = Any  # Exact, or a complex number of mpmath
_LARGEST_ARGUMENT = 60  # bits of what is exponentiated
_LARGEST_ANGLE = 2_000  # bits of an angle
_LARGEST_GAMMA = (
    6  # bits of a number with a factorial that is no whole one; it takes long to compute
)


@functools.cache
def mpmath() -> Any:
    """A context of mpmath of our own.

    Raises:
        TaskError: mpmath is not installed.
    """
    try:
        from mpmath import MPContext
    except ImportError:
        raise TaskError(
            'comparing expressions needs mpmath: pip install "star-mlx[math]"'
        ) from None
    return MPContext()


class Point:
    """Evaluates formulas at a point.

    Args:
        point: the values of the variables.
        precision: bits of the floating-point numbers.
        logarithm: the base of a logarithm that is written without one.

    ``low`` and ``high`` are the binary exponents of the smallest and the largest of them.
    """

    def __init__(
        self, point: Mapping[str, Fraction], precision: int, logarithm: Literal["10", "e"] = "10"
    ) -> None:
        self.point, self.precision, self.logarithm = point, precision, logarithm
        self.low = self.high = 0
        self._done: dict[int, Number] = {}

    def value(self, node: Node) -> Number:
        """The value of a formula.

        Raises:
            NoValue: it has none here.
            Undecided: it is too large.
        """
        known = self._done.get(id(node))
        if known is None:
            known = self._done[id(node)] = self._value(node)
        return known

    def _value(self, node: Node) -> Number:
        match node.op:
            case "number":
                return Exact(node.value)
            case "symbol":
                return Exact(self.point[node.name])
            case "constant":
                return self._constant(node.name)
            case "add":
                return functools.reduce(self._plus, map(self.value, node.args))
            case "multiply":
                return functools.reduce(self._times, map(self.value, node.args))
            case "negate":
                return self._times(Exact(Fraction(-1)), self.value(node.args[0]))
            case "divide":
                return self._over(*map(self.value, node.args))
            case "power":
                return self._power(*map(self.value, node.args))
            case "root":
                degree, radicand = map(self.value, node.args)
                return self._power(radicand, self._over(exact.ONE, degree))
            case "percent":
                return self._over(self.value(node.args[0]), Exact(Fraction(100)))
            case "degrees":
                straight = self._over(self._constant("pi"), Exact(Fraction(180)))
                return self._times(self.value(node.args[0]), straight)
            case "factorial":
                return self._factorial(self.value(node.args[0]))
            case "apply":
                return self._applied(node.name, [self.value(arg) for arg in node.args])
        return self._function(node.name, [self.value(arg) for arg in node.args])

    # ------------------------------------------------------------------ floating point

    def _kept(self, value: Any) -> Number:
        """A result of mpmath, with its size noted; one that is no number has no value."""
        mp = mpmath()
        size = mp.mag(value)
        if size == mp.ninf:
            return value
        if not isinstance(size, int):
            raise NoValue("no number")
        if abs(size) > 64 * MOST_BITS:
            raise Undecided("a number in it is too large")
        self.low, self.high = min(self.low, size), max(self.high, size)
        return value

    def _context(self) -> Any:
        context = mpmath()
        context.prec = self.precision
        return context

    def float(self, value: Number) -> Any:
        """A number as one of mpmath."""
        if not isinstance(value, Exact):
            return value
        mp = self._context()
        parts = [mp.mpf(p.numerator) / mp.mpf(p.denominator) for p in value]
        return self._kept(mp.mpc(*parts) if value.im else parts[0])

    def _constant(self, name: str) -> Number:
        if name == "i":
            return exact.I
        if name == "infinity":
            raise NoValue("infinity")
        mp = self._context()
        return self._kept(+mp.pi if name == "pi" else +mp.e)

    def _both(
        self,
        a: Number,
        b: Number,
        exactly: Callable[[Exact, Exact], Exact],
        roughly: Callable[[Any, Any], Any],
    ) -> Number:
        if isinstance(a, Exact) and isinstance(b, Exact):
            return exactly(a, b)
        return self._kept(roughly(self.float(a), self.float(b)))

    def _plus(self, a: Number, b: Number) -> Number:
        return self._both(a, b, exact.plus, lambda x, y: x + y)

    def _times(self, a: Number, b: Number) -> Number:
        return self._both(a, b, exact.times, lambda x, y: x * y)

    def _over(self, a: Number, b: Number) -> Number:
        if not isinstance(b, Exact) and not b:
            raise NoValue("division by zero")
        return self._both(a, b, exact.over, lambda x, y: x / y)

    def _power(self, base: Number, exponent: Number) -> Number:
        if isinstance(base, Exact) and isinstance(exponent, Exact) and exponent.real:
            found = self._exact_power(base, exponent.re)
            if found is not None:
                return found
        if isinstance(exponent, Exact) and exponent.real:
            if base == 0 and exponent.re <= 0:
                raise NoValue("a power of zero")
            odd = exponent.re.denominator
            a = self.float(base)
            if odd > 1 and odd % 2 and not mpmath().im(a) and a < 0:  # the real root of -8
                sign = -1 if exponent.re.numerator % 2 else 1
                return self._times(Exact(Fraction(sign)), self._power(-a, exponent))
        a, b = self.float(base), self.float(exponent)
        if not a:
            raise NoValue("a power of zero")
        self._bounded(b * mpmath().log(a), _LARGEST_ARGUMENT)
        return self._kept(mpmath().power(a, b))

    def _exact_power(self, base: Exact, exponent: Fraction) -> Exact | None:
        """A power that is exact; None if it is not."""
        if exponent.denominator == 1:
            return exact.power(base, exponent.numerator)
        if not base.real:
            return None
        if base.re < 0:
            if exponent.denominator % 2:
                whole = exact.root(-base.re, exponent.denominator)
                if whole is None:
                    return None
                return exact.power(Exact(-whole), exponent.numerator)
            if exponent == Fraction(1, 2):
                half = exact.root(-base.re, 2)
                return None if half is None else Exact(Fraction(0), half)
            return None
        found = exact.root(base.re, exponent.denominator)
        return None if found is None else exact.power(Exact(found), exponent.numerator)

    def _bounded(self, value: Any, bits: int) -> None:
        size = mpmath().mag(value)
        if size != mpmath().ninf and not (isinstance(size, int) and size <= bits):
            raise Undecided("a number in it is too large")

    # ------------------------------------------------------------------ functions

    def _factorial(self, value: Number) -> Number:
        if isinstance(value, Exact) and value.real and value.re.denominator == 1:
            return exact.factorial(value.re.numerator)
        argument = self.float(value)
        self._bounded(argument, _LARGEST_GAMMA)
        return self._mp("factorial", argument)

    def _applied(self, name: str, args: list[Number]) -> Number:
        """The value of an unknown function: any, but the same for equal arguments."""
        keys = [str(arg) if isinstance(arg, Exact) else mpmath().nstr(arg, 45) for arg in args]
        digest = hashlib.sha256("/".join([name, *keys]).encode()).digest()
        return Exact(Fraction(int.from_bytes(digest[:3], "big") + 1, 2**22))

    def _function(self, name: str, args: list[Number]) -> Number:
        if name == "abs":
            return self._absolute(args[0])
        if name in ("floor", "ceil"):
            return self._rounded(name, args[0])
        if name in ("gcd", "lcm", "max", "min", "binomial"):
            return self._of_several(name, args)
        if name in ("log", "log10", "ln"):
            return self._log(name, args)
        argument = self.float(args[0])
        self._bounded(argument, _LARGEST_ARGUMENT if _exponential(name) else _LARGEST_ANGLE)
        return self._mp(_NAMES.get(name, name), argument)

    def _mp(self, name: str, argument: Any) -> Number:
        try:
            return self._kept(getattr(mpmath(), name)(argument))
        except (ValueError, ZeroDivisionError, OverflowError):  # at a pole
            raise NoValue(name) from None

    def _log(self, name: str, args: list[Number]) -> Number:
        value = self.float(args[0])
        if not value:
            raise NoValue("the logarithm of zero")
        found = self._kept(mpmath().log(value))
        if name == "ln" or (name == "log" and len(args) == 1 and self.logarithm == "e"):
            return found
        base = args[1] if len(args) > 1 else Exact(Fraction(10))
        return self._over(found, self._log("ln", [base]))

    def _absolute(self, value: Number) -> Number:
        if isinstance(value, Exact) and value.real:
            return Exact(abs(value.re))
        if isinstance(value, Exact):
            return self._power(Exact(value.re**2 + value.im**2), Exact(Fraction(1, 2)))
        return self._kept(abs(value))

    def _rounded(self, name: str, value: Number) -> Number:
        if isinstance(value, Exact):
            if not value.real:
                raise NoValue(name)
            return Exact(Fraction(math.floor(value.re) if name == "floor" else math.ceil(value.re)))
        mp = mpmath()
        if mp.im(value):
            raise NoValue(name)
        if mp.mag(value - mp.nint(value)) < -self.precision // 2:
            raise Undecided(f"the {name} in it is of a number too near to a whole one")
        self._bounded(value, MOST_BITS)
        return Exact(Fraction(int(getattr(mp, name)(value))))

    def _of_several(self, name: str, args: list[Number]) -> Number:
        if not all(isinstance(arg, Exact) and arg.real for arg in args):
            raise Undecided(f"the {name} in it is not of rational numbers")
        values = [arg.re for arg in args]
        if name in ("max", "min"):
            return Exact(max(values) if name == "max" else min(values))
        if any(value.denominator != 1 for value in values):
            raise NoValue(name)
        whole = [value.numerator for value in values]
        if name != "binomial":
            return Exact(Fraction((math.gcd if name == "gcd" else math.lcm)(*whole)))
        n, k = whole
        if min(n, k) < 0 or n > 10_000:
            raise Undecided("a binomial coefficient in it is too large")
        return Exact(Fraction(math.comb(n, k)))


_NAMES = {
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsec": "asec", "arccsc": "acsc",
    "arccot": "acot", "arsinh": "asinh", "arcosh": "acosh", "artanh": "atanh",
}  # fmt: skip


def _exponential(name: str) -> bool:
    return name in ("exp", "sinh", "cosh", "tanh")
