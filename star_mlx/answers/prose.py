"""The equations in a rationale of prose and LaTeX: ``56.5 x 60 = 3390``, ``\\frac{48}{2} = 24``.

Each "=" is judged by the calculations that stand directly on its two sides; everything else is
text. A rationale is only refused for an equation that is certainly wrong, so whatever can be meant
otherwise is unchecked: variables, different units, a number that may be rounded. Values are exact
fractions, see ``steps.evaluate``.
"""

from __future__ import annotations

import re
from fractions import Fraction

from star_mlx.answers.equation_text import Hand, sides
from star_mlx.answers.steps import Calculation, evaluate

_SCALES = {"hundred", "thousand", "million", "billion", "dozen", "k", "pair", "percent", "score"}
_DIMENSIONS = (
    {"second", "sec", "minute", "min", "hour", "hr", "day", "week", "month", "year", "decade"},
    {"inch", "inche", "feet", "foot", "ft", "yard", "mile", "mm", "cm", "meter", "metre", "km"},
    {"mg", "gram", "kg", "kilogram", "ounce", "oz", "pound", "lb", "ton"},
    {"ml", "milliliter", "liter", "litre", "cup", "pint", "quart", "gallon", "teaspoon"},
    {"$", "dollar", "cent", "penny", "pennie", "nickel", "dime", "quarter"},
)
_REPEATING = re.compile(r"\.[0-9]*(?:33|34|66|67|16|17|83)$")


def equations(text: str) -> list[Calculation]:
    """The equations of a text with a calculation on one side at least, in order.

    ``right`` is None if the equation cannot be checked.

    >>> [e.right for e in equations("He pays 3 x $4 = $12 and 12 + x = 20, so 2 + 2 = 5 is left.")]
    [True, None, False]
    """
    found = []
    for left, right in sides(text):
        if left.calculates or right.calculates:
            found.append(Calculation(left.shown, right.shown, _right(left, right)))
    return found


def valid(text: str) -> bool | None:
    """Whether no equation of a rationale is wrong; None if none can be checked."""
    checked = [one.right for one in equations(text) if one.right is not None]
    return all(checked) if checked else None


def comes_to(text: str, value: Fraction) -> bool:
    """Whether a right equation of a text has this value."""
    return any(
        value in (evaluate(side) for side in (one.value, one.expression))
        for one in equations(text)
        if one.right
    )


def _right(left: Hand, right: Hand) -> bool | None:
    """Whether two sides are equal; None if that cannot be known."""
    a, b = left.value, right.value
    if a is None or b is None:
        return None
    if _equal(left, right, a, b) or _runs_on(left, right, a):
        return True
    return None if _doubtful(left, right, a, b) else False


def _equal(left: Hand, right: Hand, a: Fraction, b: Fraction) -> bool:
    """Whether values are equal, as exactly as the side that is a plain number is written."""
    places = [_places(side) for side in (left, right) if not side.calculates]
    off = Fraction(1, 2 * 10 ** places[0]) if places else Fraction(0)
    if abs(a - b) <= off:
        return True
    if left.percent or right.percent:  # 5/20 = 25%, and 5/20*100 = 25%, and 100 - 20% = 80%
        bare = (evaluate(left.bare), evaluate(right.bare))
        return any(x is not None and abs(x - y) <= off for x, y in zip(bare, (b, a), strict=True))
    return False


def _places(side: Hand) -> int:
    return len(side.expression.strip("()% -").partition(".")[2])


def _runs_on(left: Hand, right: Hand, a: Fraction) -> bool:
    """Whether the value of the left side is where the right one goes on: 5 + 3 = 8 * 2 = 16."""
    first = re.match(r"-?[0-9.]+", right.expression)
    return bool(right.calculates and right.continued and first and evaluate(first[0]) == a)


def _doubtful(left: Hand, right: Hand, a: Fraction, b: Fraction) -> bool:
    """Whether sides that differ may mean something else than is read, or be rounded."""
    if left.labelled and not left.calculates:  # "The cost of 5 boxes = 3 * 5"
        return True
    if left.modified or _SCALES & (left.units | right.units):
        return True
    if any(_mixed(side, other) for side, other in ((left, right), (right, left))):
        return True
    if (left.percent or right.percent) and evaluate(left.bare) == evaluate(right.bare):
        return True
    whole = b if not right.calculates else a if not left.calculates else None
    exact = a if not right.calculates else b
    if whole is not None and whole.denominator == 1 != exact.denominator and abs(a - b) < 1:
        return True  # 9 / 4 = 3 buses
    near = abs(a - b) * 100 <= max(abs(a), abs(b))
    written = [number for side in (left, right) for number in side.numbers]
    cut = any(_REPEATING.search(number) for number in written)
    return near and (cut or "/" in left.expression + right.expression)


def _mixed(side: Hand, other: Hand) -> bool:
    """Whether a sum adds different units, or two sides have units of one kind that differ."""
    if side.sum and len(side.terms) > 1:
        return True
    return any(
        kind & side.units and kind & other.units and not kind & side.units & other.units
        for kind in _DIMENSIONS
    )
