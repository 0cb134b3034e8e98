"""``star-mlx runs``: list the runs in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from star_mlx.formatting import program

if TYPE_CHECKING:
    from rich.table import Table

    from star_mlx.progress.runs import ListedRun


@click.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the runs as JSON.")
def runs(folder: Path | None, as_json: bool) -> None:
    """List runs: how far each is, and how good.

    DIR is a folder of runs [default: runs/, or that of your config file]. The run with the latest
    sign of life comes last. Accuracy is that of the best iteration on the dev problems, in per cent
    with its 95% interval.
    """
    from star_mlx.cli import config
    from star_mlx.progress.runs import listed

    place = folder or config.read().runs
    found = listed(place) if folder or place.exists() else []
    if as_json:
        import json

        click.echo(json.dumps([_plain(run) for run in found]))
        return
    if not found:
        click.echo(f"there are no runs in {place}: {program()} loop --task arithmetic makes one")
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(_table(found, console.width))


def _plain(run: ListedRun) -> dict[str, Any]:
    from star_mlx.store.metrics import as_json

    return {
        "run": str(run.path),
        "state": run.state,
        "task": run.task,
        "model": run.model,
        "baseline": run.baseline,
        "iterations": run.done,
        "planned": run.planned,
        "best": run.best,
        "dev": as_json(run.dev) if run.dev else None,
        "when": run.when.isoformat(timespec="seconds") if run.when else None,
        "fault": run.fault,
    }


def _table(found: Sequence[ListedRun], width: int) -> Table:
    """One row per run; a damaged one has its fault in place of what could not be read. If it does
    not fit, the model is left out."""
    from star_mlx.tui.tables import fits

    table = _made(found, model=True)
    return table if fits(table, width) else _made(found, model=False)


def _made(found: Sequence[ListedRun], *, model: bool) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from star_mlx.formatting import harmless

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("run", overflow="fold", style="bold")
    table.add_column("task", overflow="fold")
    if model:
        table.add_column("model", overflow="fold")
    for header in ("iter", "state", "dev %\n[95%]", "n", "when"):
        table.add_column(header, justify="left" if header in ("state", "when") else "right")
    for run in found:
        name, what = Text(harmless(run.path.name)), run.fault
        if not what:
            what = run.task if run.baseline is None else f"{run.task} ({run.baseline})"
        cells = [Text(_line(what))] + ([Text(_line(run.model))] if model else [])
        table.add_row(name, *cells, *_cells(run))
    return table


def _line(text: str) -> str:
    """Foreign text on one line, without control characters."""
    from star_mlx.formatting import harmless

    return harmless(text).replace("\n", " ")


def _cells(run: ListedRun) -> list[str]:
    from star_mlx.tui.tables import measured

    far = "" if run.done is None else f"{run.done}/{run.planned}" if run.planned else str(run.done)
    n = str(run.dev.n) if run.dev else ""
    return [far, run.state, measured(run.dev), n, _when(run.when)]


def _when(then: datetime | None) -> str:
    """The date, or the time if that is today's."""
    if then is None:
        return ""
    local = then.astimezone()
    return f"{local:%H:%M}" if local.date() == datetime.now().date() else f"{local:%F}"
