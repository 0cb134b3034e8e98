"""``star-mlx loop``: run Algorithm 1, or resume a run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from star_mlx.cli import completion
from star_mlx.cli.recipe_help import RecipeCommand, help_all_option
from star_mlx.cli.recipe_options import Given, recipe_options
from star_mlx.cli.setting_options import LOOP
from star_mlx.formatting import program
from star_mlx.store import names

if TYPE_CHECKING:
    from star_mlx.settings import Recipe
    from star_mlx.tui import JsonScreen, LiveScreen, PlainScreen
    from star_mlx.tui.present.beside import PresentedScreen


def _trackers(
    context: click.Context, _: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """The trackers of --track, else of STAR_MLX_TRACK, else of the user's config file."""
    if context.resilient_parsing:
        return ()
    if not values:
        from star_mlx.cli import config

        return config.trackers()
    from star_mlx.trackers import chosen

    return chosen(values)


def track_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --track to a command; its value is checked to name trackers that can be used."""
    return click.option(
        "--track",
        multiple=True,
        metavar="NAME",
        envvar="STAR_MLX_TRACK",
        callback=_trackers,
        help="Log to wandb, trackio, tensorboard, mlflow or none.",
    )(command)


@click.command(
    cls=RecipeCommand,
    seldom=(
        "trust_remote_code",
        "dev_setting",
        "endpoint_setting",
        "measure",
        "present",
        "allow_sleep",
        "plain",
        "as_json",
    ),
)
@recipe_options(*LOOP)
@click.option(
    "--run",
    metavar="DIR",
    shell_complete=completion.runs,
    type=click.Path(path_type=Path),
    help="Run folder; an existing run is resumed.",
)
@track_option
@click.option(
    "--dry-run", is_flag=True, help="Print the recipe, its prompts and its plan, and exit."
)
@click.option("--measure", is_flag=True, help="With --dry-run: try the model to tell the time.")
@click.option("--smoke", is_flag=True, help="Rehearse the recipe in seconds; keep nothing.")
@click.option("--present", is_flag=True, help="Show the run to a class, slide by slide.")
@click.option("--allow-sleep", is_flag=True, help="On macOS, let the machine sleep during the run.")
@click.option("--plain", is_flag=True, help="Print plain lines, even on a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@help_all_option
def loop(
    given: Given,
    run: Path | None,
    track: Sequence[str],
    dry_run: bool,
    measure: bool,
    smoke: bool,
    present: bool,
    allow_sleep: bool,
    plain: bool,
    as_json: bool,
) -> None:
    """Run the STaR loop, or resume a stopped run.

    Anything not given comes from the recipe, or from the run that is resumed.
    """
    if measure and not dry_run:
        raise click.UsageError("--measure needs --dry-run")
    if smoke and dry_run:
        raise click.UsageError("--smoke and --dry-run exclude each other: give one")
    _check_present(present, dry_run=dry_run, smoke=smoke, plain=plain, as_json=as_json)
    try:
        settled = given.load(run)
        if dry_run:
            from star_mlx.cli.dry_run import dry_run as show

            show(settled, run, measure=measure, as_json=as_json)
        elif smoke:
            from star_mlx.cli.smoke import smoke as rehearse

            rehearse(settled, run, as_json=as_json)
        else:
            run_on_screen(
                settled, run, plain, as_json, track, allow_sleep=allow_sleep, present=present
            )
    except KeyboardInterrupt:
        _stopped(run)


def _check_present(present: bool, **others: bool) -> None:
    """Refuse --present beside an option that excludes it, or without a terminal."""
    for name, given in others.items():
        if present and given:
            option = name.removeprefix("as_").replace("_", "-")
            raise click.UsageError(f"--present and --{option} exclude each other: give one")
    if present:
        from star_mlx.tui.present import terminal

        terminal.refuse_without_terminal()


def run_on_screen(
    recipe: Recipe,
    run: Path | None,
    plain: bool,
    as_json: bool,
    track: Sequence[str],
    *,
    allow_sleep: bool = False,
    present: bool = False,
) -> None:
    """Run a recipe in a run folder, a new one by default; its events go to the screen and to the
    trackers. A Mac is kept awake unless it may sleep. With ``present`` the screen is slides."""
    from star_mlx import api
    from star_mlx.cli import config
    from star_mlx.recipe import opening
    from star_mlx.run.awake import awake

    task, _ = opening.open_task(recipe)  # reports its errors before anything is loaded
    folder = run or api.new_folder(task, config.read().runs)
    try:
        with awake(not allow_sleep), _screen(plain, as_json, present) as screen:
            api.train(recipe, out=folder, on_event=screen, track=track)
    except KeyboardInterrupt:
        _stopped(folder)


def _screen(
    plain: bool, as_json: bool, present: bool
) -> LiveScreen | PlainScreen | JsonScreen | PresentedScreen:
    from star_mlx import tui

    if not present:
        return tui.screen(json=as_json, plain=plain)
    from rich.console import Console

    from star_mlx.tui.present.beside import PresentedScreen

    return PresentedScreen(tui.themed(Console()))


def _stopped(run: Path | None) -> None:
    made = run is not None and (run / names.RECIPE).is_file()
    again = f"{program()} loop --run {shlex.quote(str(run))}"
    text = f"stopped; resume with: {again}" if made else "stopped"
    click.echo(text, err=True)
    sys.exit(130)
