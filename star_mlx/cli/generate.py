"""``star-mlx generate``: the first step of an iteration by hand."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from star_mlx.cli.recipe_help import RecipeCommand
from star_mlx.cli.recipe_options import Given, recipe_options
from star_mlx.cli.setting_options import (
    DECODED,
    DRAWN,
    ENDPOINT,
    MAX_TOKENS,
    SAMPLES,
    TEMPERATURE,
)
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
@recipe_options(DRAWN, SAMPLES, TEMPERATURE, MAX_TOKENS, DECODED, ENDPOINT)
@iteration_option
@adapter_option
@out_option("The JSONL file of attempts.")
@force_option
@json_option
def generate(
    given: Given,
    iteration: int,
    adapter: Path | None,
    out: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Attempt the problems that an iteration draws.

    Writes the attempts to a file. If it is interrupted, run the same command again to continue.
    """
    from star_mlx import steps, tui

    recipe = given.load()
    with tui.ProgressBar() as emit:
        done = steps.generate(
            recipe, out, iteration=iteration, adapter=adapter, force=force, emit=emit
        )
    line = (
        f"iteration {iteration}: {done['problems']} problems, {done['attempts']} attempts, "
        f"{done['correct']} right, {done['parse_failures']} without a readable answer, "
        f"{done['truncated']} cut off; written to {out}"
    )
    used = f"--adapter {shlex.quote(str(adapter))}" if adapter else ""
    following = (
        f"rationalize {shlex.quote(str(out))} {again(given)} --iteration {iteration} {used} "
        "--out hinted.jsonl"
    )
    tell(done, line, following, as_json)
