"""``star-mlx evaluate``: measure a run's model, or an adapter, and compare it with others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from star_mlx.cli.recipe_options import Given, recipe_options


@click.command()
@click.option(
    "--run",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder of a run or a baseline.",
)
@click.option(
    "--adapter",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Measure an adapter outside of a run, with the recipe options below, instead of --run.",
)
@recipe_options
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
    help="Compare problem by problem with a value of --iteration, direct or sft (the run's "
    "baselines), or another run's folder. With --adapter: with few-shot, zero-shot or another "
    "adapter's folder. May be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def evaluate(
    given: Given,
    run: Path | None,
    adapter: Path | None,
    iteration: str | None,
    split: Any,
    limit: int | None,
    samples: int,
    temperature: float | None,
    against: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure a model of a run on a split: accuracy with its 95% interval, overall and by class.

    The result is printed and saved in RUN/results/; with --adapter it is only printed. Earlier
    measurements are reused, and an interrupted one continues where it stopped.
    """
    _one_of(run, adapter, given)
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


def _one_of(run: Path | None, adapter: Path | None, given: Given) -> None:
    if (run is None) == (adapter is None):
        raise click.UsageError("give either --run or --adapter")
    told = (given.task, given.recipe, given.overrides or None, given.data, given.model, given.seed)
    if run is not None and any(value is not None for value in told):
        raise click.UsageError("a run has its own recipe: leave the recipe options out")


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise click.UsageError(f"--iteration {text} of an --adapter: give a number from 1 on")
    return int(text)
