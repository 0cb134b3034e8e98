"""``star-mlx grade``: grade existing completions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from star_mlx.measure.grade import Graded

LONGEST = 1200  # characters of a completion that are shown, at its end


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
@click.option(
    "--show",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Also print N graded rows to standard error: completion, what was read, right answer and "
    "verdict. Rows in which no answer was found come first, then wrong ones, then right ones.",
)
@click.option(
    "--undecided",
    "list_undecided",
    is_flag=True,
    help="List the rows whose answer is neither right nor wrong, with the reason.",
)
@click.option(
    "--second-opinion",
    "ask_others",
    is_flag=True,
    help="List the rows that math-verify or MetaMath's rules judge differently (mathematical "
    "answers only).",
)
def grade(
    file: Path,
    name: str,
    disagreements: Path | None,
    data: str | None,
    show: int,
    list_undecided: bool,
    ask_others: bool,
) -> None:
    """Grade the completions of a JSONL file and print the counts as one JSON object.

    A row has a 'completion', and a 'gold' answer or the fields of the task's own data. If it has
    a boolean 'correct', that is compared with the verdict. Use - as FILE for standard input.
    """
    import json
    import sys

    from star_mlx.api import load_task
    from star_mlx.measure.grade import RowsToShow, grade_file, grade_lines
    from star_mlx.measure.second_opinion import SecondOpinions

    task, shown = load_task(name, data=data), RowsToShow(show)
    others = SecondOpinions(task) if ask_others else None

    def see(result: Graded) -> None:
        shown(result)
        if list_undecided and result.verdict == "undecided":
            click.echo(_as_text(result), err=True)
        if others is not None and (said := others(result)):
            click.echo(_as_text(result, said), err=True)

    if str(file) == "-":
        found = grade_lines(task, sys.stdin.buffer, "standard input", disagreements, see)
    else:
        found = grade_file(task, file, disagreements, see)
    for result in shown.rows:
        click.echo(_as_text(result), err=True)
    click.echo(json.dumps(found | (others.counts() if others else {})))


def _as_text(result: Graded, others: Mapping[str, bool] = {}) -> str:
    """A graded row for people, with nothing in it that a terminal would obey; ``others`` are the
    verdicts of other checkers."""
    from star_mlx.formatting import harmless

    said = str(result.row["completion"]).strip()
    said = said if len(said) <= LONGEST else "... " + said[-LONGEST:]
    labelled = {None: "", True: ", labelled correct", False: ", labelled wrong"}[result.labelled]
    parts = [
        f"{result.place}: {result.verdict.replace('_', ' ')}{labelled}",
        "  completion: " + said.replace("\n", "\n    "),
        f"  read:       {'nothing' if result.read is None else result.read}",
        f"  right:      {result.gold}",
    ]
    if result.reason:
        parts.append(f"  reason:     {result.reason}")
    parts += [
        f"  {name + ':':11} {'right' if right else 'wrong'}" for name, right in others.items()
    ]
    return harmless("\n".join(parts)) + "\n"
