"""Whether two formulas with a unit or a word after them are the same."""

from __future__ import annotations

from fractions import Fraction

from star_mlx.answers.math import equality
from star_mlx.answers.math.limits import Undecided
from star_mlx.answers.math.values import Measure, Node, number
from star_mlx.answers.units import Unit, in_base

PERCENT: Unit = (("%", 1),)
DEGREES: Unit = (("°", 1),)


def same(answer: Measure, gold: Measure) -> bool:
    """Whether two measures are the same: in one unit, or converted exactly.

    Raises:
        Undecided: the numbers are equal but the words are different.
    """
    if answer.units & gold.units:
        return equality.same(answer.node, gold.node)
    if answer.units and gold.units:
        return any(_converted(answer, a, gold, b) for a in answer.units for b in gold.units)
    if not equality.same(answer.node, gold.node):
        return False
    if answer.words == gold.words:
        return True
    raise Undecided("the words after the numbers are different")


def _converted(a: Measure, unit_a: Unit, b: Measure, unit_b: Unit) -> bool:
    x, y = equality.rational(a.node), equality.rational(b.node)
    if x is not None and y is not None:
        return in_base(x, unit_a) == in_base(y, unit_b)
    (zero_a, kind_a), (zero_b, kind_b) = (in_base(Fraction(0), u) for u in (unit_a, unit_b))
    if kind_a != kind_b or zero_a or zero_b:
        return False
    sizes = [number(in_base(Fraction(1), u)[0]) for u in (unit_a, unit_b)]
    sides = [Node("multiply", (m.node, s)) for m, s in zip((a, b), sizes, strict=True)]
    return equality.same(*sides)


def same_bare(measure: Measure, bare: Node, *, of_gold: bool) -> bool:
    """Whether a measure is the same as a number without a unit.

    The unit may be left out on either side; percent and degrees are numbers as well: 50% is 0.5,
    90 degrees are pi/2.

    Args:
        measure: one side.
        bare: the other side.
        of_gold: whether the measure is the right answer.
    """
    if PERCENT in measure.units:
        if equality.same(Node("percent", (measure.node,)), bare):
            return True
        # 20% for a right answer of 20 is how the question asked; 0.5% for 0.5 is not.
        value = equality.rational(measure.node)
        if not of_gold and (value is None or abs(value) <= 1):
            return False
    if DEGREES in measure.units:
        if equality.same(Node("degrees", (measure.node,)), bare):
            return True
        if not of_gold and equality.rational(bare) is None:
            return False
    return equality.same(measure.node, bare)
