"""``star-mlx present``: show a run to a class, slide by slide."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import click

from star_mlx.cli import completion


@click.command()
@click.argument("run", type=click.Path(path_type=Path), shell_complete=completion.runs)
@click.option("--replay", is_flag=True, help="Play each phase again in seconds before its result.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    metavar="TIMES",
    help="With --replay: how many times as fast as the run was [default: so that the longest phase "
    "takes 3 seconds].",
)
@click.option(
    "--problem",
    metavar="ID",
    help="The problem whose way is shown [default: the most telling one].",
)
def present(run: Path, replay: bool, speed: float | None, problem: str | None) -> None:
    """Show a RUN to a class, slide by slide, on a projector.

    The space bar goes on, the left arrow back, q leaves. Before each dev accuracy the class guesses
    it. A run that another process drives is shown as far as it has come, and goes on meanwhile.
    """
    if speed is not None and not replay:
        raise click.UsageError("--speed needs --replay")
    from star_mlx.tui.present import terminal

    terminal.refuse_without_terminal()
    from rich.console import Console

    from star_mlx import tui
    from star_mlx.slides.following import FollowedSlides
    from star_mlx.tui.present.presenter import Presenter, speed_of

    try:
        source = FollowedSlides(run, problem)
        if source.state.finished is None:
            with suppress(OSError, AttributeError):
                os.nice(5)  # the run that goes on has precedence
        console = tui.themed(Console(highlight=False))
        if replay:
            speed = speed or speed_of(source.slides)
        terminal.show(source, console, Presenter(source, speed or 0.0))
    except KeyboardInterrupt:
        return
