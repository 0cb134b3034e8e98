"""``star-mlx evaluate``: measure a run's model, or an adapter, and compare it with others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from star_mlx.cli import completion
from star_mlx.cli.recipe_help import RecipeCommand
from star_mlx.cli.recipe_options import Given, recipe_options


@click.command(cls=RecipeCommand)
@click.argument(
    "run", required=False, type=click.Path(path_type=Path), shell_complete=completion.runs
)
@click.option(
    "--run",
    "named",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Another way to give RUN.",
)
@click.option(
    "--adapter",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Measure an adapter outside of a run, with the recipe options below, instead of a RUN.",
)
@recipe_options()
@click.option(
    "--iteration",
    metavar="N",
    help="The model to measure: a number, best, last, few-shot (the base) or zero-shot "
    "[default: best]. With --adapter: the iteration it was trained as [default: 1].",
)
@click.option(
    "--split",
    type=click.Choice(["dev", "test", "train"]),
    default="dev",
    show_default=True,
    help="The problems to measure on. Use the test split once, after all choices are made.",
)
@click.option(
    "--max-samples", "limit", type=click.IntRange(min=1), help="Use only the first problems."
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Attempts per problem, for pass@k and maj@k; more than 1 needs --temperature.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0),
    help="Sampling temperature [default: the recipe's evaluate.temperature].",
)
@click.option(
    "--against",
    multiple=True,
    metavar="WHAT",
    help="Compare problem by problem with a value of --iteration, direct, sft or rft (the run's "
    "baselines), or another run's folder. With --adapter: with few-shot, zero-shot or another "
    "adapter's folder. May be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def evaluate(
    given: Given,
    run: Path | None,
    named: Path | None,
    adapter: Path | None,
    iteration: str | None,
    split: Any,
    limit: int | None,
    samples: int,
    temperature: float | None,
    against: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure a model of a run on a split.

    RUN is the folder of a run or of a baseline. Prints accuracy with its 95% interval, overall and
    by class. The result is printed and saved in RUN/results/; with --adapter it is only printed.
    Earlier measurements are reused, and an interrupted one continues where it stopped.
    """
    run = _one_of(run, named, adapter, given)
    if samples > 1 and not temperature:
        raise click.UsageError(
            f"{samples} samples at temperature 0 are all the same: give --temperature 0.7"
        )
    from star_mlx import api, steps, tui
    from star_mlx.formatting import harmless
    from star_mlx.measure import findings
    from star_mlx.run import evaluate as measure
    from star_mlx.store import results

    with tui.ProgressBar() as emit:
        if run is not None:
            measured = api.open_run(run).evaluate(
                iteration or "best", split=split, against=against, samples=samples,
                temperature=temperature, limit=limit, on_event=emit,
            )  # fmt: skip
            plain, words = measured.as_json(), repr(measured)
        elif adapter is not None:
            how = measure.How(split, samples, temperature, limit)
            number = _number(iteration or "1")
            result = steps.evaluate(
                given.load(), adapter, iteration=number, how=how, against=against, emit=emit
            )
            plain, words = results.as_json(result), "\n".join(findings.report(result))
    if as_json:
        import json

        click.echo(json.dumps(plain))
        return
    click.echo(harmless(words))


def _one_of(
    run: Path | None, named: Path | None, adapter: Path | None, given: Given
) -> Path | None:
    """The run, None if there is an adapter instead."""
    if (run is not None) + (named is not None) + (adapter is not None) != 1:
        raise click.UsageError("give either a RUN or --adapter")
    if adapter is None and given.any():
        raise click.UsageError("a run has its own recipe: leave the recipe options out")
    return named if run is None else run


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise click.UsageError(f"--iteration {text} of an --adapter: give a number from 1 on")
    return int(text)
