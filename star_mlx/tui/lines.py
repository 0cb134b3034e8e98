"""Lines that are drawn in Unicode, or in ASCII on a console without it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from star_mlx.tui.colours import GOOD, REST

FULL, EMPTY = ("━", "─"), ("#", "-")  # of a bar, in Unicode and in ASCII


class Lines:
    """The lines that a function returns, which is given whether they must be ASCII. Each is cut to
    the width."""

    def __init__(self, draw: Callable[[bool], Iterable[Text]], height: int = 1) -> None:
        self._draw, self.height = draw, height

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._draw(options.ascii_only):
            line.no_wrap = True
            line.truncate(options.max_width, overflow="crop" if options.ascii_only else "ellipsis")
            yield line


def bar(share: float, width: int, ascii_only: bool) -> Text:
    """A bar of which a share is full."""
    full, empty = EMPTY if ascii_only else FULL
    done = round(min(1.0, max(0.0, share)) * width)
    return Text.assemble((full * done, GOOD), (empty * (width - done), REST))
