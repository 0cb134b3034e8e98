"""Formulas with a unit or a word after them."""

from __future__ import annotations

import re
from fractions import Fraction

from star_mlx.answers.math import equality
from star_mlx.answers.math.limits import Undecided, Unreadable
from star_mlx.answers.math.values import Formula, Measure, Node, Phrase, Value, number
from star_mlx.answers.units import Unit, in_base, whole_unit

PERCENT: Unit = (("%", 1),)
DEGREES: Unit = (("°", 1),)
MONEY = "$€£¥₹₩"
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9,
           "trillion": 10**12, "dozen": 12}  # fmt: skip
# Phrase that say more than what is counted: they are not left out.
_NOT_COUNTED = re.compile(
    r"\b(?:not|no|if|for|when|where|with|or|and|mod|times|to|than|per|of|is|are|as|base|more|less"
    r"|remainder|approximately|about|each|every|plus|minus|over|out|at|least|most|except|but)\b",
    re.IGNORECASE,
)
_COUNTED = re.compile(r"[a-z]+(?:[ -][a-z]+){0,3}(?:\^[23])?", re.IGNORECASE)
_HOURS = re.compile(r"(?:a\.? ?m|p\.? ?m|o'clock)\.?", re.IGNORECASE)
_RAISED = {"square": "^2", "sq": "^2", "cubic": "^3"}


def measured(node: Node, words: str) -> Value:
    """A formula with the words behind it: a unit, a scale such as million, or what is counted.

    Raises:
        Unreadable: the words say more than that.
    """
    words = " ".join(words.strip(" .,;:!").split())
    if not words:
        return Formula(node)
    first, _, rest = words.partition(" ")
    if first.casefold() in _SCALES:
        scaled = Node("multiply", (node, number(_SCALES[first.casefold()])))
        return measured(scaled, rest)
    if _HOURS.fullmatch(words) and node.op == "number":
        return Phrase(f"{node.value}{words[0].lower()}{'m' if words[0] in 'aApP' else 'clock'}")
    units = whole_unit(words)
    if units:
        return Measure(node, units)
    if _NOT_COUNTED.search(words) or not _COUNTED.fullmatch(words):
        raise Unreadable(f"the words {words[:30]!r} after it are no unit")
    return Measure(node, words=_counted(words))


def _counted(words: str) -> str:
    """Phrase without case and number, "square units" as "unit^2"."""
    words = words.casefold()
    first, _, rest = words.partition(" ")
    if rest and first in _RAISED:
        words = rest + _RAISED[first]
    name, power, digit = words.partition("^")
    return name.removesuffix("s") + power + digit


def degrees(node: Node) -> Measure | None:
    r"""The angle that ``30^\circ`` is, with or without a sign."""
    if node.op == "degrees":
        return Measure(node.args[0], frozenset({DEGREES}))
    if node.op == "negate" and node.args[0].op == "degrees":
        return Measure(Node("negate", node.args[0].args), frozenset({DEGREES}))
    return None


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
