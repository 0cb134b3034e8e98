"""``star-mlx trace``: follow one problem through an iteration of a run."""

from __future__ import annotations

from pathlib import Path

import click

from star_mlx.cli import completion


@click.command()
@click.argument("run", type=click.Path(path_type=Path), shell_complete=completion.runs)
@click.argument("id", required=False)
@click.option(
    "--iteration",
    metavar="N",
    help="The iteration: a number, best or last [default: the most telling one].",
)
@click.option("--json", "as_json", is_flag=True, help="Print the trace as JSON.")
def trace(run: Path, id: str | None, iteration: str | None, as_json: bool) -> None:
    """Follow one problem through an iteration of a RUN.

    It shows how the problem was asked, what the model answered, without hint and with it, whether
    that was kept and why, what was trained on, and what a later iteration answered.

    ID is the problem's id, as in attempts.jsonl and star-mlx ledger --json. Without it, a telling
    problem is chosen: wrong at first, kept with hint, and right when it was asked again.
    """
    from star_mlx.measure import tracing
    from star_mlx.store import reading

    found = tracing.trace(reading.read(run), id, iteration)
    if as_json:
        import json

        click.echo(json.dumps(found.as_json()))
    else:
        click.echo(found.text())
