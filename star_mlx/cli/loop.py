"""``star-mlx loop``: run Algorithm 1, or go on with a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from star_mlx.cli.settings import WithSettings
from star_mlx.types import RunError

if TYPE_CHECKING:
    from star_mlx.recipe import Recipe


@click.command(cls=WithSettings)
@click.option("--task", help="What to learn; `star-mlx tasks` lists the tasks.")
@click.option("--recipe", metavar="FILE", help="A recipe file, or the name of a shipped recipe.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set one setting of the recipe; may be given several times.",
)
@click.option("--model", help="The base: a folder, or owner/name[@revision] on the Hub.")
@click.option(
    "--run",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The run folder; one that exists is gone on with. By default a new one in runs/.",
)
@click.option("--seed", type=int, help="What every random choice follows from.")
@click.option(
    "--rationalize/--no-rationalize",
    default=None,
    help="Whether failures are tried again with the answer as a hint.",
)
@click.option("--dry-run", is_flag=True, help="Print the whole recipe and its schedule, and exit.")
@click.option("--plain", is_flag=True, help="Plain lines, even on a terminal.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def loop(
    task: str | None,
    recipe: str | None,
    overrides: tuple[str, ...],
    model: str | None,
    run: Path | None,
    seed: int | None,
    rationalize: bool | None,
    dry_run: bool,
    plain: bool,
    as_json: bool,
) -> None:
    """Run the STaR loop, or go on with a run that was stopped.

    What the options leave out is as the recipe has it: that of --recipe, else of the run, else the
    shipped one with the task's name.
    """
    try:
        settled = _settled(task, recipe, overrides, model, run, seed, rationalize)
        if dry_run:
            _show(settled, as_json)
        else:
            _run(settled, run, plain, as_json)
    except KeyboardInterrupt:
        _stopped(run)


def _settled(
    task: str | None,
    recipe: str | None,
    overrides: tuple[str, ...],
    model: str | None,
    run: Path | None,
    seed: int | None,
    rationalize: bool | None,
) -> Recipe:
    from star_mlx import recipe as recipes

    base = None
    if task is None and recipe is None and run is not None:
        if not (run / "recipe.yaml").is_file():
            raise RunError(f"{run} is no run to go on with: give --task or --recipe to begin one")
        from star_mlx.loop import resume_recipe

        base = recipes.resolved(resume_recipe(run))
    return recipes.load(
        recipe,
        task=task,
        model=model,
        seed=seed,
        rationalize=rationalize,
        overrides=overrides,
        base=base,
    )


def _run(recipe: Recipe, run: Path | None, plain: bool, as_json: bool) -> None:
    from star_mlx import loop as loops
    from star_mlx import tui

    loops.open_task(recipe)  # what is wrong with it is said before anything is loaded
    folder = run or loops.choose_run(Path("runs"), recipe.task.name)
    try:
        with tui.screen(json=as_json, plain=plain) as screen:
            loops.run(recipe, folder, screen)
    except KeyboardInterrupt:
        _stopped(folder)


def _stopped(run: Path | None) -> None:
    made = run is not None and (run / "recipe.yaml").is_file()
    text = f"stopped; go on with: star-mlx loop --run {run}" if made else "stopped"
    click.echo(text, err=True)
    sys.exit(130)


def _show(recipe: Recipe, as_json: bool) -> None:
    """The resolved recipe, as YAML that is a recipe again, and how long each iteration trains."""
    import json

    import yaml

    from star_mlx.loop import open_task, settled

    values = settled(recipe, open_task(recipe)[0])
    star = recipe.star
    numbers = range(star.start_iteration, star.iterations + 1)
    amounts = {n: star.options().schedule.amount(n) for n in numbers}
    if as_json:
        schedule = [
            {"iteration": n, "steps": a.steps, "epochs": a.epochs} for n, a in amounts.items()
        ]
        click.echo(json.dumps({"recipe": values, "schedule": schedule}))
        return
    click.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    for n, amount in amounts.items():
        much = f"{amount.epochs:g} epochs" if amount.steps is None else f"{amount.steps} steps"
        click.echo(f"# iteration {n}: {much}")
