"""``star-mlx try``: ask the model of a run, or a pulled one, a question."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from star_mlx.cli import completion
from star_mlx.cli.pulled_options import pulled_options

if TYPE_CHECKING:
    from star_mlx.api import Answer


@click.command("try")
@click.argument("run", type=click.Path(path_type=Path), shell_complete=completion.runs)
@click.argument("question")
@click.option(
    "--iteration",
    default="last",
    show_default=True,
    metavar="N",
    help="The model to ask: an iteration's number (0 is the base), best or last.",
)
@pulled_options
@click.option("--json", "as_json", is_flag=True, help="Print the answer in full, as JSON.")
def try_(
    run: Path,
    question: str,
    iteration: str,
    model: str | None,
    trust_remote_code: bool,
    as_json: bool,
) -> None:
    """Ask a run's model a question, such as '7 8 + 4 5'.

    Shows its rationale and its answer, and says so if the model was trained on no question of
    that kind, such as sums so long. RUN may also be a folder fetched by `star-mlx pull`.
    """
    asked = _ask(run, question, iteration, model, trust_remote_code)
    if as_json:
        import json

        click.echo(json.dumps(asdict(asked), default=str))
        return
    click.echo(repr(asked))


def _ask(
    run: Path, question: str, iteration: str, model: str | None, trust_remote_code: bool
) -> Answer:
    from star_mlx import api
    from star_mlx.export import pulled
    from star_mlx.share import asked

    if pulled.is_pulled(run):
        found = asked.ask(
            run, question, iteration=iteration, model=model, trust_remote_code=trust_remote_code
        )
        return api.Answer(**found)
    opened = api.open_run(run)
    number = opened.number(iteration)
    if model is not None or trust_remote_code:
        raise click.UsageError(
            "a run has its own base: --model and --trust-remote-code are for pulled folders"
        )
    return opened.ask(question, iteration=number)
