"""Whether two equations, or two chains of inequalities, say the same."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from star_mlx.answers.math import equality
from star_mlx.answers.math.limits import Undecided
from star_mlx.answers.math.values import Node, Relation, number, symbols
from star_mlx.answers.math.verdicts import each


def same(answer: Relation, gold: Relation) -> bool:
    """Whether two equations have the same solutions, or two chains of inequalities equal sides.

    Raises:
        Undecided: two equations may have the same solutions in another form.
    """
    if set(answer.signs) | set(gold.signs) == {"="}:
        return _same_equations(answer, gold)
    return any(
        signs == gold.signs
        and len(sides) == len(gold.sides)
        and each(equality.same, sides, gold.sides)
        for sides, signs in _both_ways(answer)
    )


def _both_ways(relation: Relation) -> list[tuple[tuple[Node, ...], tuple[str, ...]]]:
    """A chain of comparisons from left to right and from right to left."""
    turned = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
    signs = tuple(turned.get(sign, sign) for sign in relation.signs[::-1])
    return [(relation.sides, relation.signs), (relation.sides[::-1], signs)]


def _same_equations(answer: Relation, gold: Relation) -> bool:
    """Two equations are the same if one is the other times a number: 2x = 4y and x - 2y = 0."""
    if len(answer.sides) != len(gold.sides):
        return False
    if len(gold.sides) > 2:
        return each(equality.same, answer.sides, gold.sides)
    a, b = (_difference(one.sides) for one in (answer, gold))
    names = sorted(symbols(a) | symbols(b))
    always = [_holds_always(node, names) for node in (a, b)]
    if any(always):  # x = x is a multiple of every equation
        return all(always)
    for point in equality.points(names, 0, 3):
        here = [Node("multiply", (side, _at(other, point))) for side, other in ((a, b), (b, a))]
        if not equality.same(*here):
            return _linear(a, b, names)
    return True


def _holds_always(difference: Node, names: Sequence[str]) -> bool:
    points = equality.points(names, 0, 3)
    return all(equality.same(_at(difference, point), number(0)) for point in points)


def _difference(sides: Sequence[Node]) -> Node:
    return Node("add", (sides[0], Node("negate", (sides[1],))))


def _at(node: Node, point: dict[str, Fraction]) -> Node:
    """A formula with numbers for its variables."""
    if node.op == "symbol":
        return number(point[node.name])
    args = tuple(_at(arg, point) for arg in node.args)
    return Node(node.op, args, node.value, node.name)


def _linear(a: Node, b: Node, names: Sequence[str]) -> bool:
    """False if two different equations are linear, and so have different solutions.

    Raises:
        Undecided: they are not: x^2 = 0 and x = 0 have the same solutions.
    """
    if all(_degree_one(node, names) for node in (a, b)):
        return False
    raise Undecided("the equations are no multiples of each other")


def _degree_one(node: Node, names: Sequence[str]) -> bool:
    """Whether a formula is linear: its middle value is that of the middle."""
    first, second = equality.points(names, 0, 2)
    middle = {name: (first[name] + second[name]) / 2 for name in names}
    half = Node("divide", (Node("add", (_at(node, first), _at(node, second))), number(2)))
    try:
        return equality.same(half, _at(node, middle))
    except Undecided:
        return False
