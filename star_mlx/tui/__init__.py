"""Display the events of a run: a live screen, plain lines, or JSON lines.

Every screen is a context manager that is called with each event.

May import ``progress``, ``measure`` and what is below them, and rich.
"""

from __future__ import annotations

import os
import sys

from rich.console import Console

from star_mlx.distributed.environment import TERMINAL
from star_mlx.progress.state import RunState
from star_mlx.tui.colours import themed
from star_mlx.tui.live_screen import LiveScreen
from star_mlx.tui.notebook import NotebookScreen, as_html, in_notebook
from star_mlx.tui.plain import JsonScreen, PlainScreen, as_text, once, plain_console
from star_mlx.tui.progress import ProgressBar
from star_mlx.tui.tables import class_table, summary, summary_table

__all__ = [
    "JsonScreen",
    "LiveScreen",
    "NotebookScreen",
    "PlainScreen",
    "ProgressBar",
    "as_html",
    "as_text",
    "class_table",
    "in_notebook",
    "screen",
    "show_once",
    "summary",
    "summary_table",
    "themed",
    "watching",
]


def screen(*, json: bool = False, plain: bool = False) -> LiveScreen | PlainScreen | JsonScreen:
    """The screen for standard output: JSON if requested, live if the terminal supports it."""
    if json:
        return JsonScreen(sys.stdout)
    return PlainScreen(sys.stdout) if plain or _bare() else LiveScreen(themed(Console()))


def watching(*, plain: bool = False) -> LiveScreen | PlainScreen:
    """The screen for watching a run with ``show``. It may use all the time for drawing."""
    if plain or _bare():
        return PlainScreen(sys.stdout)
    return LiveScreen(themed(Console()), share=1.0)


def show_once(state: RunState, *, plain: bool = False) -> None:
    """Print the current state of a run to standard output."""
    bare = plain or _bare()
    once(state, plain_console(sys.stdout) if bare else themed(Console(highlight=False)))


def _bare() -> bool:
    """Whether standard output is not a terminal that supports drawing, nor, of rank 0 of a launch,
    passed on to one."""
    terminal = sys.stdout.isatty() or TERMINAL in os.environ
    return not terminal or os.environ.get("TERM") in ("dumb", "unknown")
