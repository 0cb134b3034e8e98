"""``star-mlx watch``: follow a run that another process drives."""

from __future__ import annotations

from pathlib import Path

import click

from star_mlx.cli import completion


@click.command()
@click.argument("run", type=click.Path(path_type=Path), shell_complete=completion.runs)
@click.option("--once", is_flag=True, help="Print the current state of the run, and exit.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two reads of the run's files.",
)
@click.option("--plain", is_flag=True, help="Print plain lines, even on a terminal.")
def watch(run: Path, once: bool, interval: float, plain: bool) -> None:
    """Follow a run that another process drives, until it finishes.

    Reads the run's files. Ctrl-C stops watching, not the run.
    """
    from star_mlx import tui
    from star_mlx.progress import watch as watching

    states = watching.states(run, interval)
    if once:
        tui.show_once(next(states), plain=plain)
        return
    first = next(states)  # raises for a folder that is no run before anything is drawn
    try:
        with tui.watching(plain=plain) as screen:
            screen.show(first)
            for state in states:
                screen.show(state)
    except KeyboardInterrupt:
        return
