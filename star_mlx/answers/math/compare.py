"""The rules by which an answer is compared with the right answer.

``docs/answers.md`` is the same table in words. Each type is compared with itself; two types are
compared only by a rule of ``_ACROSS``, and are different without one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

from star_mlx.answers.math import equality, measures, regions
from star_mlx.answers.math.limits import MOST_ITEMS, Undecided, Unreadable
from star_mlx.answers.math.parts import open_interval
from star_mlx.answers.math.values import (
    Formula,
    InBase,
    Label,
    Matrix,
    Measure,
    Named,
    Node,
    Phrase,
    Ratio,
    Region,
    Relation,
    Rounded,
    Several,
    Value,
    number,
    symbols,
)


def same(answer: Value, gold: Value) -> bool:
    """Whether an answer has the value of the right answer.

    Raises:
        Undecided: the rules do not say; the message is the reason.
    """
    if answer == gold:
        return True
    if isinstance(answer, Named) or isinstance(gold, Named):
        return _named(answer, gold)
    if type(answer) is type(gold):
        return bool(_WITHIN[type(gold)](answer, gold))
    rule = _ACROSS.get((type(answer), type(gold)))
    return bool(rule(answer, gold)) if rule else _single_member(answer, gold)


def all_of(verdicts: Iterable[Callable[[], bool]]) -> bool:
    """Whether every comparison says yes. One "no" is enough for a no, whatever is undecided.

    Raises:
        Undecided: none says no, and one is undecided.
    """
    undecided: Undecided | None = None
    for verdict in verdicts:
        try:
            if not verdict():
                return False
        except Undecided as error:
            undecided = undecided or error
    if undecided is not None:
        raise undecided
    return True


# --------------------------------------------------------------------------- names


def _named(answer: Value, gold: Value) -> bool:
    """A name may be left out; two different names are two different answers."""
    if isinstance(answer, Named) and isinstance(gold, Named):
        if answer.name == gold.name:
            return same(answer.value, gold.value)
        if (line := _line(answer)) and (other := _line(gold)):
            return _equations(line, other)
        return False
    one, other_value = (answer, gold) if isinstance(answer, Named) else (gold, answer)
    assert isinstance(one, Named)
    if isinstance(other_value, Relation):
        line = _line(one)
        return line is not None and _equations(line, other_value)
    return same(answer.value if answer is one else answer, gold.value if gold is one else gold)


def _line(named: Named) -> Relation | None:
    """``y = 2x`` as an equation."""
    if not isinstance(named.value, Formula):
        return None
    return Relation((Node("symbol", name=named.name), named.value.node), ("=",))


# --------------------------------------------------------------------------- within a type


def _formulas(answer: Formula, gold: Formula) -> bool:
    return equality.same(answer.node, gold.node)


def _rounded(answer: Rounded, gold: Rounded) -> bool:
    if answer.places >= gold.places:
        return abs(answer.value - gold.value) <= _half(gold)
    if abs(answer.value - gold.value) <= _half(answer):
        raise Undecided("the answer is rounded to fewer places")
    return False


def _half(rounded: Rounded) -> Fraction:
    """Half a unit of the last place."""
    return Fraction(1, 2 * 10**rounded.places)


def _in_base(answer: InBase, gold: InBase) -> bool:
    if answer.value == gold.value and answer.base != gold.base:
        raise Undecided("the same number in another base")
    return answer.value == gold.value


def _relations(answer: Relation, gold: Relation) -> bool:
    if set(answer.signs) | set(gold.signs) == {"="}:
        return _equations(answer, gold)
    return any(
        signs == gold.signs
        and len(sides) == len(gold.sides)
        and all_of(_each(equality.same, sides, gold.sides))
        for sides, signs in _both_ways(answer)
    )


def _both_ways(relation: Relation) -> list[tuple[tuple[Node, ...], tuple[str, ...]]]:
    """A chain of comparisons from left to right and from right to left."""
    turned = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
    signs = tuple(turned.get(sign, sign) for sign in relation.signs[::-1])
    return [(relation.sides, relation.signs), (relation.sides[::-1], signs)]


def _equations(answer: Relation, gold: Relation) -> bool:
    """Two equations are the same if one is the other times a number: 2x = 4y and x - 2y = 0."""
    if len(answer.sides) != len(gold.sides):
        return False
    if len(gold.sides) > 2:
        return all_of(_each(equality.same, answer.sides, gold.sides))
    a, b = (_difference(one.sides) for one in (answer, gold))
    names = sorted(symbols(a) | symbols(b))
    for point in equality.points(names, 0, 3):
        here = [Node("multiply", (side, _at(other, point))) for side, other in ((a, b), (b, a))]
        try:
            if not equality.same(*here):
                return _linear(a, b, names)
        except Undecided as error:
            if "positive values" not in str(error):
                raise
    return True


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


def _several(answer: Several, gold: Several) -> bool:
    if "tuple" not in (answer.kind, gold.kind):
        return _members(answer.items, gold.items)
    if answer.kind == gold.kind:
        if {answer.brackets, gold.brackets} == {"()", "[]"}:
            raise Undecided("the brackets are different")
        return len(answer.items) == len(gold.items) and all_of(
            _each(same, answer.items, gold.items)
        )
    # (1, 2) and 1, 2: an order, or any
    if len(answer.items) == len(gold.items) and all_of(_each(same, answer.items, gold.items)):
        raise Undecided("one has brackets around its parts and the other has none")
    return False


def _each(
    compare: Callable[[Any, Any], bool], a: Sequence[Any], b: Sequence[Any]
) -> list[Callable[[], bool]]:
    return [functools.partial(compare, x, y) for x, y in zip(a, b, strict=True)]


def _members(answer: Sequence[Value], gold: Sequence[Value]) -> bool:
    """Whether two sets have the same members, in any order."""
    if len(answer) * len(gold) > MOST_ITEMS**2 // 4:
        raise Undecided("they have too many members to be compared")
    table = [[_verdict(one, other) for other in gold] for one in answer]
    lines = [*table, *map(list, zip(*table, strict=True))]
    found = [max((v for v in line if v is not None), default=0) for line in lines]
    open_ = [None in line for line in lines]
    if any(not yes and not maybe for yes, maybe in zip(found, open_, strict=True)):
        return False
    if not all(found):
        raise Undecided("a member of the set is undecided")
    if len(answer) != len(gold) and not (_distinct(answer) and _distinct(gold)):
        raise Undecided("a member is written more than once")
    return True


def _verdict(answer: Value, gold: Value) -> bool | None:
    try:
        return same(answer, gold)
    except Undecided:
        return None


def _distinct(items: Sequence[Value]) -> bool:
    return len(set(items)) == len(items)


def _matrices(answer: Matrix, gold: Matrix) -> bool:
    shapes = [(len(m.rows), len(m.rows[0])) for m in (answer, gold)]
    cells = [[cell for row in m.rows for cell in row] for m in (answer, gold)]
    if shapes[0] != shapes[1]:
        if shapes[0] == shapes[1][::-1] and 1 in shapes[0] and all_of(_each(equality.same, *cells)):
            raise Undecided("one is a row and the other a column")
        return False
    return all_of(_each(equality.same, *cells))


def _ratios(answer: Ratio, gold: Ratio) -> bool:
    """3:2 is 6:4."""
    if len(answer.parts) != len(gold.parts):
        return False
    a, b = answer.parts, gold.parts
    crossed = [
        [Node("multiply", (first, part)) for part in parts[1:]]
        for first, parts in ((a[0], b), (b[0], a))
    ]
    return all_of(_each(equality.same, *crossed))


# --------------------------------------------------------------------------- across types


def _rounded_answer(answer: Rounded, gold: Formula) -> bool:
    if equality.same(number(answer.value), gold.node):
        return True
    if _near(gold.node, answer):
        raise Undecided("the answer is rounded and the right answer is not")
    return False


def _rounded_gold(answer: Formula, gold: Rounded) -> bool:
    return _near(answer.node, gold)


def _near(node: Node, rounded: Rounded) -> bool:
    """Whether a number rounds to a rounded one."""
    if symbols(node):
        return False
    away = Node("add", (node, number(-rounded.value)))
    half = _half(rounded)
    return (
        equality.sign(Node("add", (away, number(-half)))) <= 0
        and equality.sign(Node("add", (away, number(half)))) >= 0
    )


def _based_answer(answer: InBase, gold: Formula) -> bool:
    return answer.base == 10 and equality.same(number(answer.value), gold.node)


def _based_gold(answer: Formula, gold: InBase) -> bool:
    if not equality.same(answer.node, number(gold.value)):
        return False
    if gold.base != 10:
        raise Undecided("the same number in another base")
    return True


def _interval_of(pair: Several, region: Region) -> bool:
    try:
        found = open_interval(pair)
    except Unreadable as error:
        raise Undecided(str(error)) from None
    return found is not None and regions.same(found, region)


def _vector(parts: Several, matrix: Matrix) -> bool:
    """A point or vector and a matrix of one column or row."""
    cells = [cell for row in matrix.rows for cell in row]
    if parts.kind != "tuple" or 1 not in (len(matrix.rows), len(matrix.rows[0])):
        return False
    return len(cells) == len(parts.items) and all_of(
        _each(same, parts.items, [Formula(cell) for cell in cells])
    )


def _quotient(formula: Formula, ratio: Ratio) -> bool:
    return len(ratio.parts) == 2 and equality.same(formula.node, Node("divide", ratio.parts))


def _letter(label: Label, formula: Formula) -> bool:
    return formula.node.op == "symbol" and formula.node.name == label.letter


def _single_member(answer: Value, gold: Value) -> bool:
    """A set of one member is that member; nothing else is compared across types."""
    if isinstance(answer, Several) and answer.kind == "set" and len(answer.items) == 1:
        return same(answer.items[0], gold)
    if isinstance(gold, Several) and gold.kind == "set" and len(gold.items) == 1:
        return same(answer, gold.items[0])
    return False


_WITHIN: dict[type, Callable[[Any, Any], bool]] = {
    Formula: _formulas,
    Rounded: _rounded,
    Measure: measures.same,
    InBase: _in_base,
    Relation: _relations,
    Region: regions.same,
    Several: _several,
    Matrix: _matrices,
    Ratio: _ratios,
    Label: lambda answer, gold: False,  # equal ones are the same object's equals
    Phrase: lambda answer, gold: False,
}
_ACROSS: dict[tuple[type, type], Callable[[Any, Any], bool]] = {
    (Measure, Formula): lambda a, g: measures.same_bare(a, g.node, of_gold=False),
    (Formula, Measure): lambda a, g: measures.same_bare(g, a.node, of_gold=True),
    (Rounded, Formula): _rounded_answer,
    (Formula, Rounded): _rounded_gold,
    (InBase, Formula): _based_answer,
    (Formula, InBase): _based_gold,
    (Several, Region): lambda a, g: _interval_of(a, g),
    (Region, Several): lambda a, g: _interval_of(g, a),
    (Several, Matrix): lambda a, g: _vector(a, g),
    (Matrix, Several): lambda a, g: _vector(g, a),
    (Formula, Ratio): lambda a, g: _quotient(a, g),
    (Ratio, Formula): lambda a, g: _quotient(g, a),
    (Label, Formula): lambda a, g: _letter(a, g),
    (Formula, Label): lambda a, g: _letter(g, a),
}
