"""Intervals and their unions: making them from ends and inequalities, and comparing them."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Sequence
from functools import cmp_to_key

from star_mlx.answers.math import equality
from star_mlx.answers.math.limits import Undecided, Unreadable
from star_mlx.answers.math.values import (
    Formula,
    Node,
    Piece,
    Region,
    Relation,
    Several,
    Value,
    symbols,
)

LINE = Region((Piece(None, None, (False, False)),))
EMPTY = Region(())
_TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!=", "=": "="}


def one_piece(low: Node, high: Node, closed: tuple[bool, bool]) -> Region:
    """An interval from its ends, either of which may be infinite.

    Raises:
        Unreadable: an infinite end is closed, or on the wrong side.
    """
    if infinite(low) > 0 or infinite(high) < 0:
        raise Unreadable("its infinite end is on the wrong side")
    ends = [None if infinite(end) else end for end in (low, high)]
    if any(end is None and shut for end, shut in zip(ends, closed, strict=True)):
        raise Unreadable("its infinite end is closed")
    return Region((Piece(ends[0], ends[1], closed),))


def infinite(node: Node) -> int:
    """1 or -1 for infinity and its negative, 0 for anything else."""
    if node.op == "constant" and node.name == "infinity":
        return 1
    return -infinite(node.args[0]) if node.op == "negate" else 0


def point(node: Node) -> Region:
    """The region of one number."""
    return Region((Piece(node, node, (True, True)),))


def without(nodes: Iterable[Node]) -> Region:
    """All real numbers but a few, given in ascending order."""
    ends: list[Node | None] = [None, *nodes, None]
    open_ = (False, False)
    return Region(tuple(Piece(a, b, open_) for a, b in itertools.pairwise(ends)))


def joined(regions: Iterable[Region]) -> Region:
    """The union of regions."""
    return Region(tuple(piece for region in regions for piece in region.pieces))


def of_relation(relation: Relation) -> Region | None:
    """The numbers for which an inequality holds, if it has a lone variable: 2 < x, x != 3."""
    sides, signs = relation.sides, relation.signs
    if not all(sign in _TURNED for sign in signs) or signs == ("=",):
        return None
    if len(sides) == 2:
        left, right = sides
        if right.op == "symbol" and left.op != "symbol":
            left, right, signs = right, left, (_TURNED[signs[0]],)
        if left.op != "symbol" or symbols(right):
            return None
        if signs[0] == "!=":
            return without([right])
        closed = signs[0].endswith("=")
        endless = Node("constant", name="infinity")
        if signs[0] in ("<", "<="):
            return one_piece(Node("negate", (endless,)), right, (False, closed))
        return one_piece(right, endless, (closed, False))
    if len(sides) != 3 or sides[1].op != "symbol" or symbols(sides[0]) or symbols(sides[2]):
        return None
    if signs[0] in (">", ">=") and signs[1] in (">", ">="):
        sides, signs = sides[::-1], tuple(_TURNED[sign] for sign in signs[::-1])
    if not all(sign in ("<", "<=") for sign in signs):
        return None
    return one_piece(sides[0], sides[2], (signs[0] == "<=", signs[1] == "<="))


def of_value(value: Value) -> Region:
    """A value as a part of a union.

    Raises:
        Unreadable: it is neither an interval nor a set of numbers.
    """
    if isinstance(value, Region):
        return value
    if isinstance(value, Several) and value.kind == "set":
        nodes = [item.node for item in value.items if isinstance(item, Formula)]
        if len(nodes) == len(value.items):
            return joined(point(node) for node in nodes)
    found = open_interval(value)
    if found is None:
        raise Unreadable("a part of the union is no interval")
    return found


def open_interval(value: Value) -> Region | None:
    """The open interval that a pair in round brackets may be; None if it can only be a point.

    Raises:
        Unreadable: its infinite end is on the wrong side.
    """
    if isinstance(value, Several) and value.brackets == "()" and len(value.items) == 2:
        low, high = value.items
        if isinstance(low, Formula) and isinstance(high, Formula):
            with contextlib.suppress(Undecided):  # of ends with variables
                finite = not (infinite(low.node) or infinite(high.node))
                if finite and _compare(low.node, high.node) >= 0:
                    return None
            return one_piece(low.node, high.node, (False, False))
    return None


# --------------------------------------------------------------------------- comparing


def same(a: Region, b: Region) -> bool:
    """Whether two regions are the same set.

    Raises:
        Undecided: their ends cannot be compared.
    """
    if any(symbols(end) for region in (a, b) for end in _ends(region)):
        return _same_pieces(a.pieces, b.pieces)
    return _same_pieces(_merged(a), _merged(b))


def _ends(region: Region) -> list[Node]:
    return [end for piece in region.pieces for end in (piece.low, piece.high) if end is not None]


def _same_pieces(a: Sequence[Piece], b: Sequence[Piece]) -> bool:
    return len(a) == len(b) and all(
        one.closed == other.closed
        and _same_end(one.low, other.low)
        and _same_end(one.high, other.high)
        for one, other in zip(a, b, strict=True)
    )


def _same_end(a: Node | None, b: Node | None) -> bool:
    if a is None or b is None:
        return a is b
    return equality.same(a, b)


def _merged(region: Region) -> list[Piece]:
    """The pieces in order, those that touch as one."""
    found: list[Piece] = []
    for piece in sorted(region.pieces, key=cmp_to_key(_order)):
        if piece.low is not None and piece.high is not None:
            size = _compare(piece.high, piece.low)
            if size < 0:
                raise Undecided("an interval's ends are in the wrong order")
            if size == 0 and piece.closed != (True, True):
                continue
        if found and _touch(found[-1], piece):
            found[-1] = _union(found[-1], piece)
        else:
            found.append(piece)
    return found


def _order(a: Piece, b: Piece) -> int:
    if a.low is None or b.low is None:
        return (a.low is not None) - (b.low is not None)
    return _compare(a.low, b.low) or b.closed[0] - a.closed[0]


def _compare(a: Node, b: Node) -> int:
    return equality.sign(Node("add", (a, Node("negate", (b,)))))


def _touch(a: Piece, b: Piece) -> bool:
    if a.high is None or b.low is None:
        return True
    order = _compare(b.low, a.high)
    return order < 0 or (order == 0 and (a.closed[1] or b.closed[0]))


def _union(a: Piece, b: Piece) -> Piece:
    """Of two pieces that touch, of which a begins first."""
    if a.high is None or b.high is None:
        return Piece(a.low, None, (a.closed[0], False))
    order = _compare(a.high, b.high)
    high, closed = (b.high, b.closed[1]) if order < 0 else (a.high, a.closed[1])
    if order == 0:
        closed = a.closed[1] or b.closed[1]
    return Piece(a.low, high, (a.closed[0], closed))
