"""The leaderboard of several runs in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from star_mlx.measure.leaderboard import Entry, Leaderboard


def show(board: Leaderboard, *, summaries: bool) -> None:
    """Print a leaderboard; ``summaries``: some runs were handed in as files."""
    from rich.console import Console
    from rich.text import Text

    from star_mlx.report.board import sentences
    from star_mlx.tui.tables import fits

    console = Console(highlight=False)
    console.print()
    table = _table(board, wide=True)
    console.print(table if fits(table, console.width) else _table(board, wide=False))
    console.print()
    for line in sentences(board, summaries=summaries):
        console.print(Text(line), soft_wrap=True)


def _table(board: Leaderboard, *, wide: bool) -> Table:
    """One row per run; if not ``wide``, without the base, and with the settings below the name."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from star_mlx.report.board import gain, listed, numbers
    from star_mlx.report.parts import label

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("no.", justify="right", style="bold")
    table.add_column("run", overflow="fold", ratio=None if wide else 1)
    for header in ("dev %\n[95%]", "n", "iter"):
        table.add_column(header, justify="right", no_wrap=True)
    if wide:
        table.add_column("points above\nits base", justify="right")
    table.add_column("significantly\nbetter than", overflow="fold")
    if wide:
        table.add_column("settings that differ", overflow="fold")
    for index, one in enumerate(board.entries):
        settings = label(listed(one.settings), 300)
        name = Text(label(one.name))
        cells = [Text(_share(one)), Text(str(one.n)), Text(f"{one.iteration}/{one.last}")]
        if wide:
            cells.append(Text(gain(one.gain)))
        cells.append(Text(numbers(board.beaten(index)) or "none"))
        if wide:
            cells.append(Text(settings or "none"))
        elif settings:
            name.append(f"\n{settings}", "dim")
        table.add_row(str(index + 1), name, *cells)
    return table


def _share(one: Entry) -> str:
    from star_mlx.formatting import interval, percent
    from star_mlx.measure.accuracy import wilson

    return f"{percent(one.right / one.n, 1)} [{interval(wilson(one.right, one.n))}]"
