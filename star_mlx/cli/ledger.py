"""``star-mlx ledger``: show which problems a run has solved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from star_mlx.cli import completion

if TYPE_CHECKING:
    from star_mlx.store.ledger import Ledger


@click.command()
@click.argument("run", type=click.Path(path_type=Path), shell_complete=completion.runs)
@click.option(
    "--never-solved",
    is_flag=True,
    help="Print only the ids of problems never solved, directly or with hint, one per line.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the iterations of every problem as JSON."
)
def ledger(run: Path, never_solved: bool, as_json: bool) -> None:
    """Show which problems a run has solved, and which never.

    A problem is solved directly, only with hint, or never. Each iteration is listed with the
    problems that it newly solved or forgot.
    """
    if never_solved and as_json:
        raise click.UsageError("give --never-solved or --json, not both")
    from star_mlx.store import ledger as ledgers

    found = ledgers.read(run)
    if as_json:
        import json

        click.echo(json.dumps(found.as_json()))
    elif never_solved:
        from star_mlx.formatting import harmless

        for id in found.of("never"):
            click.echo(harmless(id).replace("\n", "\u240a"))
    else:
        _show(found)


def _show(found: Ledger) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not found.iterations:
        console.print("no iteration is finished yet")
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("iter", justify="right", style="bold")
    for header in ("attempted", "solved\ndirectly", "with\nhint", "newly\nsolved", "forgotten"):
        table.add_column(header, justify="right")
    for t in found.iterations:
        numbers = (t.iteration, t.attempted, t.direct, t.hinted, t.newly_solved, t.forgotten)
        table.add_row(*map(str, numbers))
    console.print(table)
    totals = found.totals()
    console.print(
        f"\n{totals['problems']} problems seen: {totals['direct']} ever solved directly, "
        f"{totals['hinted_only']} only ever with hint, {totals['never']} never",
        soft_wrap=True,
    )
