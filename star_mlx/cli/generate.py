"""``star-mlx generate``: the first step of an iteration by hand."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from star_mlx.cli.recipe_options import Given, recipe_options
from star_mlx.cli.step_options import (
    adapter_option,
    again,
    force_option,
    iteration_option,
    json_option,
    out_option,
    settled,
    tell,
)


@click.command()
@recipe_options
@iteration_option
@adapter_option
@out_option("The JSONL file of attempts.")
@click.option(
    "--max-samples",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many problems to draw (star.problems).",
)
@click.option(
    "--k",
    type=click.IntRange(min=1),
    help="Attempts per problem (generate.samples); more than 1 needs --temperature.",
)
@click.option(
    "--temperature", type=click.FloatRange(min=0), help="0 is greedy (generate.temperature)."
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    help="Completions decoded at once (generate.batch_size).",
)
@force_option
@json_option
def generate(
    given: Given,
    iteration: int,
    adapter: Path | None,
    out: Path,
    max_samples: int | None,
    k: int | None,
    temperature: float | None,
    batch_size: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Attempt the problems that an iteration draws, and write the attempts to a file.

    If it is interrupted, run the same command again to continue.
    """
    from star_mlx import steps, tui

    short = {
        "star.problems": max_samples,
        "generate.samples": k,
        "generate.temperature": temperature,
        "generate.batch_size": batch_size,
    }
    recipe = settled(given, short)
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
        f"rationalize {shlex.quote(str(out))} {again(given, short)} --iteration {iteration} {used} "
        "--out hinted.jsonl"
    )
    tell(done, line, following, as_json)
