"""A run in a notebook: one display that is updated in place, and a run's table as HTML.

It needs IPython, which is loaded in every notebook, and no widgets.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from html import escape
from types import TracebackType
from typing import Any

from rich.table import Table

from star_mlx.events import Event, Progress, RunStarted, Sampled
from star_mlx.formatting import duration, harmless
from star_mlx.progress.state import RunState
from star_mlx.store.metrics import Metrics
from star_mlx.tui.plain import as_text, progress_text, started
from star_mlx.tui.tables import class_table, classes_of, iteration_table, remarks

EVERY = 0.5  # seconds between two updates for progress alone
WIDTH = 160  # maximum width of a table, in characters
NOTICES = 3  # the latest ones are shown


def in_notebook() -> bool:
    """Whether the code runs in the kernel of a notebook, rather than in a terminal or a script."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class NotebookScreen:
    """A context manager that is called with each event and draws in the output of the cell."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._state = RunState()
        self._title = ""
        self._clock, self._next = clock, 0.0
        self._display: Any = None

    def __enter__(self) -> NotebookScreen:
        return self

    def __call__(self, event: Event) -> None:
        self._state.apply(event)
        if isinstance(event, RunStarted):
            self._title = started(event)[0]
        if self._clock() >= self._next or not isinstance(event, Progress | Sampled):
            self._draw()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._state.at = None
        if self._display is not None:
            self._draw()

    def _draw(self) -> None:
        from IPython.display import display

        lines = self._lines()
        data = {
            "text/html": as_html(self._title, self._state.metrics, lines),
            "text/plain": as_text(self._title, self._state.metrics, lines),
        }
        if self._display is None:
            self._display = display(data, raw=True, display_id=True)
        else:
            self._display.update(data, raw=True)
        self._next = self._clock() + EVERY

    def _lines(self) -> list[str]:
        state = self._state
        lines = [f"{notice.level}: {notice.text}" for notice in state.notices[-NOTICES:]]
        if state.at is not None:
            lines.append(progress_text(state, state.at))
        if done := state.finished:
            lines += [f"finished in {duration(done.seconds)}: {done.reason}", *done.verdict]
        return lines


def as_html(title: str, metrics: Sequence[Metrics], lines: Sequence[str] = ()) -> str:
    """A run as HTML: its title, the tables of yields and by class, the comparisons in
    words, and more lines."""
    parts = [f"<p><strong>{_safe(title)}</strong></p>"] if title else []
    if metrics:
        parts.append(_table(iteration_table(metrics, WIDTH)))
    if classes_of(metrics):
        table = class_table(metrics, WIDTH)
        parts += [f"<p>{_safe(str(table.title))}</p>", _table(table)]
    parts += [f"<p>{_safe(line)}</p>" for line in (*remarks(metrics), *lines)]
    return f'<div class="star-mlx">{"".join(parts)}</div>'


def _table(table: Table) -> str:
    """A table of plain cells."""
    style = ' style="text-align: right"'
    heads = "".join(f"<th{style}>{_safe(str(column.header))}</th>" for column in table.columns)
    rows = zip(*(column.cells for column in table.columns), strict=True)
    body = "".join(
        "<tr>" + "".join(f"<td{style}>{_safe(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _safe(text: str) -> str:
    return escape(harmless(text)).replace("\n", "<br>")
