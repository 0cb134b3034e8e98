"""Tokens in brackets: splitting outside them, and matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from star_mlx.answers.math.formula import formula
from star_mlx.answers.math.limits import MOST_ITEMS, Unreadable
from star_mlx.answers.math.tokens import Token
from star_mlx.answers.math.values import Matrix, Node

OPEN = {"(": ")", "[": "]", "{": "}", "\\{": "\\}", "langle": "rangle", "lfloor": "rfloor",
         "lceil": "rceil"}  # fmt: skip
_CLOSE = frozenset(OPEN.values())
_MATRICES = frozenset({"pmatrix", "bmatrix", "matrix", "Bmatrix", "smallmatrix", "array"})


def split(
    parts: Sequence[Token], separator: Callable[[Token], str]
) -> tuple[list[list[Token]], list[str]]:
    """Tokens cut at separators outside brackets, and the separators."""
    found: list[list[Token]] = [[]]
    between: list[str] = []
    depth = 0
    for token in parts:
        depth += _step(token)
        sign = separator(token) if depth == 0 else ""
        if sign:
            between.append(sign)
            found.append([])
        else:
            found[-1].append(token)
    return found, between


def any_of(*signs: str) -> Callable[[Token], str]:
    """A separator: any of these signs."""
    return lambda token: token.text if token.text in signs else ""


def _step(token: Token) -> int:
    """1 for an opening bracket, -1 for a closing one."""
    if token.kind in ("begin", "end"):
        return 1 if token.kind == "begin" else -1
    if token.kind not in ("sign", "command"):
        return 0
    return (token.text in OPEN) - (token.text in _CLOSE)


def enclosed(parts: Sequence[Token]) -> bool:
    """Whether the first and the last token are brackets of each other."""
    depth = 0
    for place, token in enumerate(parts):
        depth += _step(token)
        if depth <= 0:
            return place == len(parts) - 1 and len(parts) > 1
    return False


def matrix(parts: Sequence[Token], plus: bool) -> Matrix | None:
    """A matrix, perhaps with a factor before it; None if there is none.

    Raises:
        Unreadable: it is a determinant, or its rows are of different lengths.
    """
    begin = next((k for k, token in enumerate(parts) if token.kind == "begin"), None)
    if begin is None:
        return None
    if parts[-1].kind == "sign" and parts[-1].text in ")]" and begin:  # ( \begin{array} ... )
        if parts[begin - 1].text not in ("(", "["):
            raise Unreadable("its brackets do not match")
        parts = [*parts[: begin - 1], *parts[begin:-1]]
        begin -= 1
    if parts[begin].text not in _MATRICES or not enclosed(parts[begin:]):
        raise Unreadable(f"{parts[begin].text[:20]} has no reading")
    inside = list(parts[begin + 1 : -1])
    if parts[begin].text == "array" and inside and inside[0].text == "{":  # its columns
        end = next((k for k, token in enumerate(inside) if token.text == "}"), 0)
        inside = inside[end + 1 :]
    rows, _ = split(inside, any_of("\\\\"))
    cells = [split(row, any_of("&"))[0] for row in rows if row]
    if len({len(row) for row in cells}) != 1 or sum(map(len, cells)) > MOST_ITEMS:
        raise Unreadable("the rows of its matrix do not fit together")
    nodes = [[formula(cell, plus) for cell in row] for row in cells]
    if begin:
        factor = formula([t for t in parts[:begin] if t.text != "*"], plus)
        nodes = [[Node("multiply", (factor, node)) for node in row] for row in nodes]
    return Matrix(tuple(map(tuple, nodes)))
