"""A row of small bars, one for each iteration."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from star_mlx.formatting import percent
from star_mlx.tui.colours import GOOD

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-=+*%#"  # for a console without UTF-8


def bars(values: Sequence[float | None], levels: str = BLOCKS) -> str:
    """One character per value, on a scale from 0 to 1, or to the largest; a blank for None."""
    most = max([1.0, *(value for value in values if value is not None)])
    top = len(levels) - 1
    return "".join(" " if v is None else levels[round(top * max(0.0, v) / most)] for v in values)


class Spark:
    """``"dev    ▂▅██  44.8% -> 99.6%"``: the latest values that fit."""

    def __init__(self, name: str, values: Sequence[float | None], of: str, digits: int) -> None:
        self._name, self._values = name, values
        known = [value for value in values if value is not None]
        ends = " -> ".join(f"{percent(v, digits)}%" for v in (known[0], known[-1]))
        self._words = f"{of}, {ends}" if of else ends

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        levels = ASCII if options.ascii_only else BLOCKS
        room = max(1, options.max_width - len(self._name) - len(self._words) - 2)
        line = Text.assemble(
            (self._name, "bold"), (bars(self._values[-room:], levels), GOOD), f"  {self._words}"
        )
        line.no_wrap = True
        line.truncate(options.max_width)
        yield line
