"""``star-mlx init-task``: write a recipe for your own data."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("init-task", short_help="Write a recipe for your own questions and answers.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("task.yaml"),
    show_default=True,
    help="The recipe to write.",
)
@click.option("--model", help="The base: a folder, or owner/name[@revision] on the Hub.")
@click.option("--question", metavar="FIELD", help="The field of the question [default: guessed].")
@click.option("--answer", metavar="FIELD", help="The field of the right answer [default: guessed].")
@click.option(
    "--choices",
    metavar="FIELD",
    help="The field of the choices, or FIELD,FIELD,... with one choice each.",
)
@click.option("--force", is_flag=True, help="Overwrite existing files.")
def init_task(
    file: Path,
    out: Path,
    model: str | None,
    question: str | None,
    answer: str | None,
    choices: str | None,
    force: bool,
) -> None:
    """Write a recipe for your own data: questions with answers in a JSONL, JSON, CSV, TSV or
    Parquet file. The meaning of each field is guessed, and the recipe explains every guess.
    """
    from star_mlx.formatting import harmless
    from star_mlx.init_task import init_task as write

    names = [name.strip() for name in choices.split(",") if name.strip()] if choices else []
    made = write(
        file, out, model=model, question=question, answer=answer, choices=names, force=force
    )
    click.echo(f"wrote {harmless(str(made.recipe))}: {made.problems} problems")
    if made.skipped:
        click.echo(f"rows that cannot be used: {len(made.skipped)}, the first: ", nl=False)
        click.echo(harmless(made.skipped[0]))
    if made.prompts is not None:
        click.echo(f"wrote {harmless(str(made.prompts))}: write the rationales in it first")
    click.echo("\nthe first problem, as a model sees it:\n")
    click.echo(harmless(made.prompt))
    click.echo(f"\nits answer: {harmless(made.answer)}")
    click.echo(f"next: {harmless(made.command)}")
