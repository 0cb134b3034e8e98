"""``star-mlx baseline``: measure a baseline to compare the loop with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from star_mlx.cli.loop import run_on_screen, track_option
from star_mlx.cli.recipe_options import Given, recipe_options
from star_mlx.store import names


@click.command()
@click.argument("run", required=False, type=click.Path(path_type=Path))
@recipe_options
@click.option(
    "--kind",
    required=True,
    type=click.Choice(["zero-shot", "few-shot", "direct", "sft"]),
    help="The base without examples (zero-shot) or with them (few-shot), or trained on answers "
    "alone (direct) or on the data's own rationales (sft).",
)
@click.option("--steps", type=click.IntRange(min=1), help="Optimizer steps (direct, sft).")
@click.option("--problems", type=click.IntRange(min=1), help="Training problems.")
@track_option
@click.option("--plain", is_flag=True, help="Print plain lines, even on a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def baseline(
    given: Given,
    run: Path | None,
    kind: str,
    steps: int | None,
    problems: int | None,
    track: Sequence[str],
    plain: bool,
    as_json: bool,
) -> None:
    """Measure a baseline of a RUN, with its task, model, prompts and settings, or of a recipe.

    The baseline gets its own run folder: RUN/baselines/KIND, or a new one in runs/. By default, a
    trained baseline of a RUN takes as many steps as the run's last iteration, on as many problems
    as an iteration of the run draws.
    """
    if run is None and given.task is None and given.recipe is None:
        raise click.UsageError("give a RUN, or --task or --recipe")
    from star_mlx.run import baseline as baselines
    from star_mlx.run import loop

    recipe = baselines.recipe(given.load(run), kind, run=run, steps=steps, problems=problems)
    name = f"{recipe.task.name}-{kind}"
    folder = names.baseline(run, kind) if run else loop.choose_run(Path("runs"), name)
    run_on_screen(recipe, folder, plain, as_json, track)
