"""Markdown documents, in which foreign text can neither end its block nor become markup.

The documents are the templates of ``templates/``. A value is turned into plain words with
``inline``, unless it is ``Safe``; in code shown by a document, it is written as a Python literal or
as a shell word.
"""

from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from star_mlx.formatting import harmless, percent
from star_mlx.report.templating import Safe, environment

if TYPE_CHECKING:
    from jinja2 import Environment

_MARKS = re.compile(r"([\\`*_\[\]|~$#])")
_BAR = re.compile(r"(?<!\\)\|")


def document(template: str, **values: object) -> str:
    """The text of a document, from its template and the values in it."""
    return _templates().get_template(template).render(values)


@cache
def _templates() -> Environment:
    escapes = {"md": inline, "py": repr, "sh": lambda value: shlex.quote(str(value))}
    found = environment(Path(__file__).with_name("templates"), escapes)
    found.globals["table"] = table
    found.filters |= {
        "code": code,
        "fence": fence,
        "json": partial(json.dumps, ensure_ascii=False),
        "percent": percent,
    }
    return found


def inline(text: object) -> Safe:
    """A text as one line of plain words."""
    words = " ".join(harmless(str(text)).split())
    return Safe(_MARKS.sub(r"\\\1", html.escape(words, quote=False)))


def code(text: object) -> Safe:
    """A text as one line of inline code."""
    words = " ".join(harmless(str(text)).split())
    ticks = "`" * (_longest_run(words) + 1)
    pad = " " if words.startswith("`") or words.endswith("`") else ""
    return Safe(f"{ticks}{pad}{words}{pad}{ticks}" if words else "")


def fence(text: str, language: str = "text") -> Safe:
    """A text as a block of code, whose fence is longer than any in the text."""
    shown = harmless(text)
    ticks = "`" * max(3, _longest_run(shown) + 1)
    end = "" if shown.endswith("\n") else "\n"
    return Safe(f"{ticks}{language}\n{shown}{end}{ticks}")


def table(heads: Sequence[object], rows: Iterable[Sequence[object]]) -> Safe:
    """A table, whose cells are plain words unless they are ``Safe``."""
    lines = [heads, ["---"] * len(heads), *rows]
    return Safe("\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines))


def _cell(value: object) -> str:
    return _BAR.sub(r"\\|", value if isinstance(value, Safe) else inline(value))


def _longest_run(text: str) -> int:
    """The length of the longest run of backticks."""
    return max((len(run) for run in re.findall("`+", text)), default=0)
