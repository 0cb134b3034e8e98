"""``star-mlx baseline``: measure a baseline to compare the loop with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from star_mlx.cli import completion
from star_mlx.cli.loop import run_on_screen, track_option
from star_mlx.cli.recipe_help import RecipeCommand
from star_mlx.cli.recipe_options import Given, recipe_options
from star_mlx.cli.setting_options import (
    BATCH_SIZE,
    DEV,
    LEARNING_RATE,
    MAX_TOKENS,
    PROBLEMS,
    RANK,
    TEMPERATURE,
)
from star_mlx.store import names


@click.command(cls=RecipeCommand)
@click.argument(
    "run", required=False, type=click.Path(path_type=Path), shell_complete=completion.runs
)
@recipe_options(PROBLEMS, LEARNING_RATE, BATCH_SIZE, RANK, MAX_TOKENS, TEMPERATURE, DEV)
@click.option(
    "--kind",
    required=True,
    type=click.Choice(["zero-shot", "few-shot", "direct", "sft", "rft"]),
    help="The base without examples (zero-shot) or with them (few-shot), or trained on answers "
    "alone (direct), on the data's own rationales (sft) or on its own right ones of one round of "
    "samples (rft).",
)
@click.option("--steps", type=click.IntRange(min=1), help="Optimizer steps (direct, sft, rft).")
@click.option(
    "--samples",
    type=click.IntRange(min=2),
    help="Attempts per problem (rft); by default those of the recipe, or 8 if it has one.",
)
@track_option
@click.option("--plain", is_flag=True, help="Print plain lines, even on a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def baseline(
    given: Given,
    run: Path | None,
    kind: str,
    steps: int | None,
    samples: int | None,
    track: Sequence[str],
    plain: bool,
    as_json: bool,
) -> None:
    """Measure a baseline to compare the loop with.

    It is that of a RUN, with its task, model, prompts and settings, or of a recipe. It gets its own
    run folder: RUN/baselines/KIND, or a new one in runs/. By default, a trained baseline of a RUN
    takes as many steps as the run's last iteration, on as many problems as an iteration of the run
    draws.
    """
    if run is None and given.task is None and given.recipe is None:
        raise click.UsageError("give a RUN, or --task or --recipe")
    if samples is not None and kind != "rft":
        raise click.UsageError(f"--samples is for --kind rft, not {kind}")
    from star_mlx.cli import config
    from star_mlx.run import baseline as baselines
    from star_mlx.run import loop

    recipe = baselines.recipe(given.load(run), kind, run=run, steps=steps, samples=samples)
    name = f"{recipe.task.name}-{kind}"
    folder = names.baseline(run, kind) if run else loop.choose_run(config.read().runs, name)
    run_on_screen(recipe, folder, plain, as_json, track)
