"""The rules by which an answer is compared with the right answer.

``docs/answers.md`` is the same table in words. Each type is compared with itself; two types are
compared only by a rule of ``_ACROSS``, and are different without one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from star_mlx.answers.math import equality, equations, measures, ratios, regions
from star_mlx.answers.math.limits import MOST_PAIRS, Undecided, Unreadable
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
)
from star_mlx.answers.math.verdicts import each


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


# --------------------------------------------------------------------------- names


def _named(answer: Value, gold: Value) -> bool:
    """A name may be left out; two different names are two different answers."""
    if isinstance(answer, Named) and isinstance(gold, Named):
        if answer.name == gold.name:
            return same(answer.value, gold.value)
        if (line := _line(answer)) and (other := _line(gold)):
            return equations.same(line, other)
        return False
    one, other_value = (answer, gold) if isinstance(answer, Named) else (gold, answer)
    assert isinstance(one, Named)
    if isinstance(other_value, Relation):
        if isinstance(one.value, Region):
            return _unsolved(one.value, other_value)
        line = _line(one)
        return line is not None and equations.same(line, other_value)
    return same(answer.value if answer is one else answer, gold.value if gold is one else gold)


def _line(named: Named) -> Relation | None:
    """``y = 2x`` as an equation."""
    if not isinstance(named.value, Formula):
        return None
    return Relation((Node("symbol", name=named.name), named.value.node), ("=",))


# --------------------------------------------------------------------------- within a type


def _formulas(answer: Formula, gold: Formula) -> bool:
    infinite = [regions.infinite(one.node) for one in (answer, gold)]
    if any(infinite) and (
        all(infinite) or any(equality.rational(one.node) is not None for one in (answer, gold))
    ):
        return infinite[0] == infinite[1]
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


def _several(answer: Several, gold: Several) -> bool:
    if "tuple" not in (answer.kind, gold.kind):
        return _members(answer.items, gold.items) and _in_order_of_names(answer, gold)
    if len(answer.items) != len(gold.items) or not each(same, answer.items, gold.items):
        return False
    if answer.kind != gold.kind:  # (1, 2) and 1, 2: an order, or any
        raise Undecided("one has brackets around its parts and the other has none")
    if {answer.brackets, gold.brackets} == {"()", "[]"}:
        raise Undecided("the brackets are different")
    return True


def _in_order_of_names(answer: Several, gold: Several) -> bool:
    """True, unless 2, 1 is taken for x = 1, y = 2.

    Raises:
        Undecided: it is.
    """
    names = [{i.name if isinstance(i, Named) else "" for i in s.items} for s in (answer, gold)]
    if {""} in names and max(map(len, names)) > 1 and not each(same, answer.items, gold.items):
        raise Undecided("only one of them names its members, in another order")
    return True


def _members(answer: Sequence[Value], gold: Sequence[Value]) -> bool:
    """Whether two sets have the same members, in any order."""
    if len(answer) * len(gold) > MOST_PAIRS:
        raise Undecided("they have too many members to be compared")
    table = [tuple(_verdict(one, other) for other in gold) for one in answer]
    lines = [*table, *zip(*table, strict=True)]
    if any(not any(verdict is not False for verdict in line) for line in lines):
        return False
    if not all(True in line for line in lines):
        raise Undecided("a member of the set is undecided")
    # Members that are equal to the same ones are one member, written as often as there are lines.
    if any(times != line.count(True) for line, times in Counter(table).items()):
        raise Undecided("a member is written more than once")
    return True


def _verdict(answer: Value, gold: Value) -> bool | None:
    try:
        return same(answer, gold)
    except Undecided:
        return None


def _matrices(answer: Matrix, gold: Matrix) -> bool:
    shapes = [(len(m.rows), len(m.rows[0])) for m in (answer, gold)]
    cells = [[cell for row in m.rows for cell in row] for m in (answer, gold)]
    if shapes[0] != shapes[1]:
        if shapes[0] == shapes[1][::-1] and 1 in shapes[0] and each(equality.same, *cells):
            raise Undecided("one is a row and the other a column")
        return False
    return each(equality.same, *cells)


def _phrases(answer: Phrase, gold: Phrase) -> bool:
    if answer.text.casefold() == gold.text.casefold():
        raise Undecided("only their capitals are different")
    return False


# --------------------------------------------------------------------------- across types


def _rounded_answer(answer: Rounded, gold: Formula) -> bool:
    if equality.same(number(answer.value), gold.node):
        return True
    if equality.near(gold.node, answer.value, _half(answer)):
        raise Undecided("the answer is rounded and the right answer is not")
    return False


def _rounded_gold(answer: Formula, gold: Rounded) -> bool:
    return equality.near(answer.node, gold.value, _half(gold))


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
        found = regions.open_interval(pair)
    except Unreadable as error:
        raise Undecided(str(error)) from None
    return found is not None and regions.same(found, region)


def _vector(parts: Several, matrix: Matrix) -> bool:
    """A point or vector and a matrix of one column or row."""
    cells = [Formula(cell) for row in matrix.rows for cell in row]
    if parts.kind != "tuple" or 1 not in (len(matrix.rows), len(matrix.rows[0])):
        return False
    return len(cells) == len(parts.items) and each(same, parts.items, cells)


def _unsolved(region: Region, relation: Relation) -> bool:
    """False for an equation.

    Raises:
        Undecided: the relation is an inequality, and may be true in the same region.
    """
    if set(relation.signs) == {"="}:
        return False
    raise Undecided("one of them is an inequality that is not solved")


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
    Relation: equations.same,
    Region: regions.same,
    Several: _several,
    Matrix: _matrices,
    Ratio: ratios.same,
    Label: lambda answer, gold: False,  # equal values do not come here
    Phrase: _phrases,
}
_ACROSS: dict[tuple[type, type], Callable[[Any, Any], bool]] = {
    (Measure, Formula): lambda a, g: measures.same_bare(a, g.node, of_gold=False),
    (Formula, Measure): lambda a, g: measures.same_bare(g, a.node, of_gold=True),
    (Rounded, Formula): _rounded_answer,
    (Formula, Rounded): _rounded_gold,
    (InBase, Formula): _based_answer,
    (Formula, InBase): _based_gold,
    (Several, Region): _interval_of,
    (Region, Several): lambda a, g: _interval_of(g, a),
    (Region, Relation): _unsolved,
    (Relation, Region): lambda a, g: _unsolved(g, a),
    (Several, Matrix): _vector,
    (Matrix, Several): lambda a, g: _vector(g, a),
    (Formula, Ratio): lambda a, g: ratios.same_quotient(g, a.node, of_gold=True),
    (Ratio, Formula): lambda a, g: ratios.same_quotient(a, g.node, of_gold=False),
    (Label, Formula): _letter,
    (Formula, Label): lambda a, g: _letter(g, a),
}
