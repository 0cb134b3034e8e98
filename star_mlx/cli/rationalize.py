"""``star-mlx rationalize``: the second step of an iteration by hand."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from star_mlx.cli.recipe_help import RecipeCommand
from star_mlx.cli.recipe_options import Given, recipe_options
from star_mlx.cli.setting_options import DECODED, ENDPOINT, MAX_TOKENS, TEMPERATURE
from star_mlx.cli.step_options import (
    adapter_option,
    again,
    force_option,
    iteration_option,
    json_option,
    out_option,
    tell,
)


@click.command(cls=RecipeCommand)
@click.argument("attempts", type=click.Path(path_type=Path))
@recipe_options(TEMPERATURE, MAX_TOKENS, DECODED, ENDPOINT)
@iteration_option
@adapter_option
@out_option("The JSONL file of the attempts with hint.")
@force_option
@json_option
def rationalize(
    given: Given,
    attempts: Path,
    iteration: int,
    adapter: Path | None,
    out: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Try the failures again, with the answer as a hint.

    ATTEMPTS is a file of star-mlx generate. If it is interrupted, run the same command again to
    continue.
    """
    from star_mlx import steps, tui

    recipe = given.load()
    with tui.ProgressBar() as emit:
        done = steps.rationalize(
            recipe, attempts, out, iteration=iteration, adapter=adapter, force=force, emit=emit
        )
    line = (
        f"iteration {iteration}: {done['failed']} of {done['problems']} problems tried with "
        f"hint, {done['correct']} right, {done['truncated']} cut off; written to {out}"
    )
    files = shlex.join([str(attempts), str(out)])
    following = f"export-data {files} {again(given)} --iteration {iteration} --out examples.jsonl"
    tell(done, line, following, as_json)
