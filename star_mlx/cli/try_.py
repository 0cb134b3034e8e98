"""``star-mlx try``: ask what a run has trained."""

from __future__ import annotations

from pathlib import Path

import click


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
@click.option("--json", "as_json", is_flag=True, help="Everything about the answer, as JSON.")
def try_(run: Path, question: str, iteration: str, as_json: bool) -> None:
    """Ask a run's model a question, such as '7 8 + 4 5'; it shows its rationale and answer."""
    from star_mlx import measure, store
    from star_mlx.loop import ask

    number = measure.which(store.read(run), iteration).number
    asked = ask(run, question, iteration=number)
    if as_json:
        import json

        click.echo(json.dumps(asked, default=str))
        return
    from star_mlx.text import harmless

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
