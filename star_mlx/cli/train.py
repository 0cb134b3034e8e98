"""``star-mlx train``: the last step of an iteration by hand, also on rows from elsewhere."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from star_mlx.cli.recipe_help import RecipeCommand
from star_mlx.cli.recipe_options import Given, recipe_options
from star_mlx.cli.setting_options import BATCH_SIZE, LEARNING_RATE, RANK, SAMPLE, TYPES
from star_mlx.cli.step_options import again, json_option, out_option, tell


@click.command(cls=RecipeCommand)
@click.argument("examples", required=False, type=click.Path(path_type=Path))
@recipe_options(TYPES, SAMPLE, LEARNING_RATE, BATCH_SIZE, RANK)
@click.option(
    "--iteration",
    type=click.IntRange(min=1),
    metavar="N",
    help="Sets the seed and how long to train [default: that of the examples, or 1].",
)
@out_option("The folder of the adapter, which must be new.")
@click.option("--steps", type=click.IntRange(min=1), help="Optimizer steps.")
@click.option("--epochs", type=click.FloatRange(min=0, min_open=True), help="Passes over the rows.")
@click.option(
    "--on-bad-row",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="What to do with a row that cannot be used.",
)
@json_option
def train(
    given: Given,
    examples: Path | None,
    iteration: int | None,
    out: Path,
    steps: int | None,
    epochs: float | None,
    on_bad_row: Any,
    as_json: bool,
) -> None:
    """Train a fresh adapter on the base, on rows from a file.

    EXAMPLES is a JSONL, JSON, CSV or Parquet file, which may also be given as --data. A row has the
    fields of star-mlx export-data, or messages (the last one, the assistant's, is learned), query
    and response, instruction (with or without input) and output, or prompt and completion. Without
    --steps and --epochs, the recipe's schedule for the iteration applies.
    """
    if examples is None:
        if given.data is None:
            raise click.UsageError("give a file of EXAMPLES, or --data FILE")
        examples, given = Path(given.data), replace(given, data=None)
    if steps is not None and epochs is not None:
        raise click.UsageError("--steps and --epochs exclude each other: give one")
    from star_mlx import steps as by_hand
    from star_mlx import tui
    from star_mlx.types import Amount

    untold: dict[str, Any] = (
        {"task": "jsonl"} if given.task is None and given.recipe is None else {}
    )
    recipe = given.load(**untold)
    amount = None if steps is None and epochs is None else Amount(steps, epochs)
    with tui.ProgressBar() as emit:
        done = by_hand.train(
            recipe, examples, out, iteration=iteration, amount=amount, on_bad_row=on_bad_row,
            emit=emit,
        )  # fmt: skip
    left = [f"{len(done['too_long'])} too long"] if done["too_long"] else []
    left += [f"{len(done['skipped'])} rows left out"] if done["skipped"] else []
    line = (
        f"iteration {done['iteration']}: {done['used']} examples"
        f"{' (' + ', '.join(left) + ')' if left else ''}, {done['steps']} steps, "
        f"{done['epochs']:.2f} epochs, loss {done['first_loss']:.3f} to {done['last_loss']:.3f}; "
        f"written to {out}"
    )
    options = again(given) if not untold else f"{again(given)} --task TASK"
    following = (
        f"evaluate --adapter {shlex.quote(str(out))} {options} --iteration {done['iteration']}"
    )
    tell(done, line, following, as_json)
