"""``star-mlx init-task``: write a recipe for your own data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from star_mlx.init_task import NewRecipe

LONGEST = 1200  # characters of a problem that are shown


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
@click.option(
    "--question",
    metavar="FIELD",
    help='The field of the question, FIELD,FIELD,... or "{FIELD} {FIELD}" [default: guessed].',
)
@click.option("--answer", metavar="FIELD", help="The field of the right answer [default: guessed].")
@click.option(
    "--choices",
    metavar="FIELD",
    help="The field of the choices, or FIELD,FIELD,... with one choice each.",
)
@click.option(
    "--read",
    metavar="KIND",
    help="How answers are read: last-number, number, yes-no, set, list, marker, choice, exact or "
    "math [default: guessed].",
)
@click.option(
    "--delimiter",
    metavar="SIGN",
    help='Between the cells of a CSV file, such as ";" [default: found].',
)
@click.option("--encoding", help="Of the text, such as cp1252 or utf-16 [default: UTF-8].")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
def init_task(
    file: Path,
    out: Path,
    model: str | None,
    question: str | None,
    answer: str | None,
    choices: str | None,
    read: str | None,
    delimiter: str | None,
    encoding: str | None,
    force: bool,
) -> None:
    """Write a recipe for your own data: questions with answers in a JSONL, JSON, CSV, TSV or
    Parquet file, or a folder of such files. The meaning of each field is guessed, and the recipe
    explains every guess. A fifth of the problems, at most 500, is held out as the test split.
    """
    from star_mlx.cli import config
    from star_mlx.formatting import harmless
    from star_mlx.init_task import init_task as write

    names = [name.strip() for name in choices.split(",") if name.strip()] if choices else []
    if delimiter is not None:
        delimiter = {"\\t": "\t", "tab": "\t"}.get(delimiter, delimiter)
        if len(delimiter) != 1:
            raise click.BadParameter("give one sign, or tab", param_hint="--delimiter")
    made = write(
        file,
        out,
        model=model or config.read().values.model,
        question=question,
        answer=answer,
        choices=names,
        read=read,
        delimiter=delimiter,
        encoding=encoding,
        force=force,
    )
    for line in _written(made, file):
        click.echo(harmless(line))
    for problem in made.shown:
        size = f"{len(problem.prompt)} characters"
        size += "" if problem.tokens is None else f", {problem.tokens} tokens"
        click.echo(f"\nthe {problem.which} problem as a model sees it ({size}):\n")
        click.echo(harmless(_shortened(problem.prompt)))
        click.echo(f"\nits answer: {harmless(problem.answer)}")
    click.echo(f"next: {harmless(made.command)}")


def _written(made: NewRecipe, file: Path) -> list[str]:
    """The lines on the files and the data."""
    splits = ", ".join(f"{n} {split}" for split, n in made.splits.items())
    same = (
        "all questions are" if made.distinct == made.problems else f"{made.distinct} questions are"
    )
    lines = [
        f"wrote {made.recipe}: {made.problems} problems ({same} distinct): {splits}",
        *([f"read: {made.path}"] if file.is_dir() else []),
        f"test split: {_test(made)}",
    ]
    if made.unused:
        lines.append(f"fields that are not used: {', '.join(made.unused)}")
    if 10 * made.distinct < 9 * made.problems:
        lines.append(
            "questions repeat: if a part of them is in another field, give it with --question "
            '"{FIELD} {FIELD}"'
        )
    if made.skipped:
        lines.append(f"rows that cannot be used: {len(made.skipped)}, the first: {made.skipped[0]}")
    lines += [f"note: {note}" for note in made.notes]
    if made.prompts is not None:
        lines.append(f"wrote {made.prompts}: write the rationales in it first")
    return lines


def _test(made: NewRecipe) -> str:
    if "test" not in made.splits:
        return "none, since there are too few questions: give a file as task.options.test"
    if made.test is not None:
        return str(made.test)
    return (
        f"{made.splits['test']} problems held out of {made.path.name} (a fifth, at most 500); "
        "changing it later makes another recipe"
    )


def _shortened(text: str) -> str:
    """A long text without its middle."""
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters ...]\n{text[-half:]}"
