"""``star-mlx evaluate``: measure a model of a run, and compare it with others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command()
@click.option(
    "--run",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The run folder, or that of a baseline.",
)
@click.option(
    "--iteration",
    default="best",
    metavar="N",
    show_default=True,
    help="Whose model: a number, best, last, few-shot (the base), or zero-shot.",
)
@click.option(
    "--split",
    type=click.Choice(["dev", "test", "train"]),
    default="dev",
    show_default=True,
    help="Which problems. Read the test split once, when all is decided.",
)
@click.option("--max-samples", "limit", type=click.IntRange(min=1), help="The first so many.")
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Attempts at each problem, for pass@k and maj@k; needs --temperature.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0),
    help="By default the recipe's for measuring.",
)
@click.option(
    "--against",
    multiple=True,
    metavar="WHAT",
    help="Compare, problem by problem, with: what --iteration takes, the run's baselines direct "
    "and sft, or another run's folder. May be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
def evaluate(
    run: Path,
    iteration: str,
    split: Any,
    limit: int | None,
    samples: int,
    temperature: float | None,
    against: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure a model of a run on a split: accuracy with its 95% interval, by class.

    The result is also a file in the run's folder results/. What was measured before is not made
    again, and an interrupted measurement goes on where it stopped.
    """
    if samples > 1 and not temperature:
        raise click.UsageError(
            f"{samples} samples at temperature 0 are all the same: give --temperature 0.7"
        )
    from star_mlx import measure, tui

    how = measure.How(split, samples, temperature, limit)
    with tui.ProgressBar() as emit:
        result = measure.evaluate_run(run, iteration, how=how, against=against, emit=emit)
    if as_json:
        import json

        click.echo(json.dumps(result))
        return
    click.echo(tui.harmless("\n".join(measure.report(result))))
