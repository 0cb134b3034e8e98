"""Mathematical answers in the texts of data and completions: finding them, and comparing them."""

from __future__ import annotations

import re

from star_mlx import answers
from star_mlx.answers.math import Judged, judge, unreadable
from star_mlx.errors import TaskError

_BOX = re.compile(r"\\(?:boxed|fbox) ?(?=\{)")


def boxed(text: str) -> str | None:
    r"""The content of the last ``\boxed{...}`` of a text, which may hold braces itself."""
    boxes = [*_BOX.finditer(text)]
    end = _closed(text, boxes[-1].end()) if boxes else None
    return text[boxes[-1].end() + 1 : end].strip() or None if end else None


def unboxed(text: str) -> str:
    r"""A text with the content of each ``\boxed{...}`` in its place."""
    while (box := _BOX.search(text)) and (end := _closed(text, box.end())):
        text = f"{text[: box.start()]}{text[box.end() + 1 : end]}{text[end + 1 :]}"
    return text


def _closed(text: str, opening: int) -> int | None:
    """The place of the brace that closes one; None if there is none."""
    depth = 0
    for place in range(opening, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return place
    return None


def expression(text: str) -> str:
    """A mathematical answer without the delimiters around it."""
    return (boxed(text) or text).strip().removesuffix(".").strip(" $")


def concluded(completion: str, marker: str = answers.MARKER) -> str | None:
    r"""The answer of a completion: in its last ``\boxed{}``, else after the marker."""
    found = boxed(completion) or answers.stated(completion, marker)
    return expression(answers.brief(found)) or None if found else None


def gold(text: str) -> str:
    """A right answer in the form in which it is compared and shown.

    Raises:
        TaskError: it cannot be read.
    """
    found = expression(text)
    if why := unreadable(found):
        raise TaskError(f"its answer {found[:60]!r} cannot be read as mathematics: {why}")
    return found


def judged(answer: str, gold: str) -> Judged:
    """The decision on a statement, or on what it says before a reason or another sentence."""
    found = judge(answer, gold)
    brief = answers.brief(answer)
    if found.decision == "right" or brief in ("", answer):
        return found
    return judge(brief, gold)
