"""``star-mlx watch``: look on at a run that another process drives."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--once", is_flag=True, help="Print how the run stands now, and exit.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often the run's files are read.",
)
@click.option("--plain", is_flag=True, help="Plain lines, even on a terminal.")
def watch(run: Path, once: bool, interval: float, plain: bool) -> None:
    """Show a run that another process drives, from its files alone, until it is finished; Ctrl-C
    ends the watching and not the run."""
    from star_mlx import tui
    from star_mlx.progress import watch as watching

    states = watching.states(run, interval)
    if once:
        tui.show_once(next(states), plain=plain)
        return
    first = next(states)  # what is no run is said before anything is drawn
    try:
        with tui.watching(plain=plain) as screen:
            screen.show(first)
            for state in states:
                screen.show(state)
    except KeyboardInterrupt:
        return
