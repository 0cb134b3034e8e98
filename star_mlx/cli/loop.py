"""``star-mlx loop``: run Algorithm 1, or resume a run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from star_mlx.cli.recipe_options import Given, recipe_options
from star_mlx.cli.settings import WithSettings
from star_mlx.store import names

if TYPE_CHECKING:
    from star_mlx.settings import Recipe


def _trackers(
    context: click.Context, _: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    from star_mlx.trackers import chosen

    return () if context.resilient_parsing or not values else chosen(values)


def track_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --track to a command; its value is checked to name trackers that can be used."""
    return click.option(
        "--track",
        multiple=True,
        metavar="TRACKER",
        envvar="STAR_MLX_TRACK",
        show_envvar=True,
        callback=_trackers,
        help="Log the run to experiment trackers, separated by commas: wandb, trackio, "
        "tensorboard, mlflow or none.",
    )(command)


@click.command(cls=WithSettings)
@recipe_options
@click.option(
    "--run",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Run folder. An existing run is resumed [default: a new one in runs/].",
)
@click.option(
    "--rationalize/--no-rationalize",
    default=None,
    help="Try failures again with the answer as a hint.",
)
@track_option
@click.option("--dry-run", is_flag=True, help="Print the full recipe and its schedule, and exit.")
@click.option("--plain", is_flag=True, help="Print plain lines, even on a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def loop(
    given: Given,
    run: Path | None,
    rationalize: bool | None,
    track: Sequence[str],
    dry_run: bool,
    plain: bool,
    as_json: bool,
) -> None:
    """Run the STaR loop, or resume a stopped run.

    Settings not given as options come from the recipe: that of --recipe, else of the run, else the
    shipped one with the task's name.
    """
    try:
        settled = given.load(run, rationalize=rationalize)
        if dry_run:
            _show(settled, as_json)
        else:
            run_on_screen(settled, run, plain, as_json, track)
    except KeyboardInterrupt:
        _stopped(run)


def run_on_screen(
    recipe: Recipe, run: Path | None, plain: bool, as_json: bool, track: Sequence[str]
) -> None:
    """Run a recipe in a run folder, a new one by default; its events go to the screen and to the
    trackers."""
    from star_mlx import api, tui
    from star_mlx.recipe import opening

    task, _ = opening.open_task(recipe)  # reports its errors before anything is loaded
    folder = run or api.new_folder(task)
    try:
        with tui.screen(json=as_json, plain=plain) as screen:
            api.train(recipe, out=folder, on_event=screen, track=track)
    except KeyboardInterrupt:
        _stopped(folder)


def _stopped(run: Path | None) -> None:
    made = run is not None and (run / names.RECIPE).is_file()
    text = f"stopped; resume with: star-mlx loop --run {run}" if made else "stopped"
    click.echo(text, err=True)
    sys.exit(130)


def _show(recipe: Recipe, as_json: bool) -> None:
    """Print the resolved recipe as YAML, usable as a recipe, and how long each iteration trains."""
    import json

    import yaml

    from star_mlx.recipe.opening import open_task, settled

    task, _ = open_task(recipe)
    values = settled(recipe, task)
    options = values["task"]["options"]
    if options.get("data") or options.get("path"):
        task.problems("train")  # checks local files too
    from star_mlx.star import amount

    star = recipe.star
    numbers = range(star.start_iteration, star.iterations + 1)
    amounts = {n: amount(star.schedule, n) for n in numbers}
    if as_json:
        schedule = [
            {"iteration": n, "steps": a.steps, "epochs": a.epochs} for n, a in amounts.items()
        ]
        click.echo(json.dumps({"recipe": values, "schedule": schedule}))
        return
    click.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    for n, long in amounts.items():
        much = f"{long.epochs:g} epochs" if long.steps is None else f"{long.steps} steps"
        click.echo(f"# iteration {n}: {much}")
