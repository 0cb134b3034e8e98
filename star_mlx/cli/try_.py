"""``star-mlx try``: ask what a run has trained, or what was pulled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from star_mlx.cli.pulled_options import pulled_options


@click.command("try")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("question")
@click.option(
    "--iteration",
    default="last",
    show_default=True,
    metavar="N",
    help="Whose model to ask: an iteration's number (0 is the base), best or last.",
)
@pulled_options
@click.option("--json", "as_json", is_flag=True, help="Everything about the answer, as JSON.")
def try_(
    run: Path,
    question: str,
    iteration: str,
    model: str | None,
    trust_remote_code: bool,
    as_json: bool,
) -> None:
    """Ask a run's model a question, such as '7 8 + 4 5'; it shows its rationale and answer.

    RUN may also be a folder that `star-mlx pull` fetched.
    """
    asked = _ask(run, question, iteration, model, trust_remote_code)
    if as_json:
        import json

        click.echo(json.dumps(asked, default=str))
        return
    from star_mlx.formatting import harmless

    click.echo(harmless(asked["prompt"] + asked["completion"]).rstrip("\n"))
    click.echo()
    who = f"iteration {asked['iteration']}" if asked["iteration"] else "the base"
    answer, gold = asked["answer"], asked["gold"]
    if answer is None:
        click.echo(f"{who} gave no answer" + (f"; right is {harmless(gold)}" if gold else ""))
        return
    right = asked["correct"]
    verdict = "" if gold is None else ", right" if right else f", wrong: it is {harmless(gold)}"
    click.echo(f"{who} answers {harmless(answer)}{verdict}")


def _ask(
    run: Path, question: str, iteration: str, model: str | None, trust_remote_code: bool
) -> dict[str, Any]:
    from star_mlx.export import pulled
    from star_mlx.share import asked

    if pulled.is_pulled(run):
        return asked.ask(
            run, question, iteration=iteration, model=model, trust_remote_code=trust_remote_code
        )
    from star_mlx.run.loop import ask
    from star_mlx.store import reading, which

    number = which.number(reading.read(run), iteration)
    if model is not None or trust_remote_code:
        raise click.UsageError(
            "a run has its own base: --model and --trust-remote-code are for pulled folders"
        )
    return ask(run, question, iteration=number)
