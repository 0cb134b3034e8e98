"""``star-mlx grade``: grade existing completions."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Grade completions that another program generated.")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE")
@click.option(
    "--task",
    "name",
    required=True,
    metavar="NAME",
    help="A task's name, or a recipe file that names the task.",
)
@click.option(
    "--disagreements",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OUT.jsonl",
    help="Write the rows whose own 'correct' differs from the verdict to this file.",
)
@click.option("--data", metavar="PATH", help="The task's data, if it needs any.")
def grade(file: Path, name: str, disagreements: Path | None, data: str | None) -> None:
    """Grade the completions of a JSONL file and print the counts as one JSON object.

    A row has a 'completion', and a 'gold' answer or the fields of the task's own data. If it has
    a boolean 'correct', that is compared with the verdict. Use - as FILE for standard input.
    """
    import json
    import sys

    from star_mlx.api import load_task
    from star_mlx.measure.grade import grade_file, grade_lines

    task = load_task(name, data=data)
    if str(file) == "-":
        found = grade_lines(task, sys.stdin.buffer, "standard input", disagreements)
    else:
        found = grade_file(task, file, disagreements)
    click.echo(json.dumps(found))
