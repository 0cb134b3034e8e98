"""The templates of the task ``jsonl``, and the forms in which its data writes answers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from star_mlx.errors import TaskError

PLACE = re.compile(r"\{(question|choices|answer|rationale)\}")


def filled(template: str, **parts: str) -> str:
    """Fill the placeholders of a template, all at once: those inside a part are left alone."""
    return PLACE.sub(lambda m: parts.get(m[1], m[0]), template)


def counted(answer: str, first: int, choices: Sequence[tuple[str, str]]) -> str:
    """The label of the choice at a position, counted from ``first``."""
    place = int(answer) - first if re.fullmatch(r"[0-9]{1,3}", answer) else -1
    if not 0 <= place < len(choices):
        last = len(choices) - 1 + first
        raise TaskError(f"its answer {answer[:60]!r} is not a whole number from {first} to {last}")
    return choices[place][0]


def boxed(text: str) -> str | None:
    r"""The content of the last ``\boxed{...}`` of a text."""
    begin = text.rfind("\\boxed{")
    depth = 0
    for place in range(begin + 6, len(text)) if begin >= 0 else ():
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[begin + 7 : place].strip() or None
    return None


def expression(text: str) -> str:
    """A mathematical answer without the delimiters around it."""
    return (boxed(text) or text).strip().removesuffix(".").strip(" $")
