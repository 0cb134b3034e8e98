"""Events -> what a person sees: a live screen, plain lines, or JSON lines.

Every screen is a context manager that is called with each event.
"""

from __future__ import annotations

import os
import sys

from rich.console import Console

from star_mlx.tui.live import LiveScreen
from star_mlx.tui.plain import JsonScreen, PlainScreen
from star_mlx.tui.progress import ProgressBar
from star_mlx.tui.tables import class_table, summary, summary_table

__all__ = [
    "JsonScreen",
    "LiveScreen",
    "PlainScreen",
    "ProgressBar",
    "class_table",
    "screen",
    "summary",
    "summary_table",
]


def screen(*, json: bool = False, plain: bool = False) -> LiveScreen | PlainScreen | JsonScreen:
    """The screen for standard output: JSON if asked for, live where a terminal can show it."""
    if json:
        return JsonScreen(sys.stdout)
    if plain or not sys.stdout.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        return PlainScreen(sys.stdout)
    return LiveScreen(Console())
