"""Foreign text in Markdown: it can neither end the block it stands in nor become markup."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from star_mlx.formatting import harmless

_MARKS = re.compile(r"([\\`*_\[\]|~$#])")
_BAR = re.compile(r"(?<!\\)\|")


def inline(text: object) -> str:
    """A text as one line of plain words."""
    words = " ".join(harmless(str(text)).split())
    return _MARKS.sub(r"\\\1", html.escape(words, quote=False))


def code(text: object) -> str:
    """A text as one line of inline code."""
    words = " ".join(harmless(str(text)).split())
    ticks = "`" * (_longest_run(words) + 1)
    pad = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{ticks}{pad}{words}{pad}{ticks}" if words else ""


def fence(text: str, language: str = "text") -> str:
    """A text as a block of code, whose fence is longer than any in the text."""
    shown = harmless(text)
    ticks = "`" * max(3, _longest_run(shown) + 1)
    end = "" if shown.endswith("\n") else "\n"
    return f"{ticks}{language}\n{shown}{end}{ticks}"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; its cells are made with ``inline`` or ``code`` where their text is foreign."""
    lines = [heads, ["---"] * len(heads), *rows]
    cells = [[_BAR.sub(r"\\|", str(cell)) for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def _longest_run(text: str) -> int:
    """Of backticks one after the other."""
    return max((len(run) for run in re.findall("`+", text)), default=0)
