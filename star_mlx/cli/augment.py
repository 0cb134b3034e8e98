"""``star-mlx augment``: more questions from the problems of a task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from star_mlx.cli import completion
from star_mlx.cli.step_options import force_option, json_option, out_option


@click.command()
@click.option(
    "--task",
    "name",
    required=True,
    metavar="NAME",
    shell_complete=completion.tasks,
    help="A task's name, or a recipe file that names the task.",
)
@click.option("--data", metavar="PATH", help="The task's data [default: from the Hub].")
@click.option(
    "--questions-only",
    is_flag=True,
    help="Required: write questions without answers to them, which needs no model.",
)
@click.option(
    "--kinds",
    default="fobar",
    show_default=True,
    metavar="KINDS",
    help="Kinds of questions, with commas between them. fobar: a number of the question becomes x, "
    "the answer is given, and x is asked for.",
)
@click.option(
    "--max-problems",
    "--max-samples",
    "max_problems",
    type=click.IntRange(min=1),
    help="Use only the first problems.",
)
@out_option("The JSONL file of questions.")
@click.option(
    "--decontaminate/--no-decontaminate",
    default=True,
    show_default=True,
    help="Leave out questions that are those of a test problem, or share 13 words in a row with "
    "one.",
)
@click.option(
    "--removed",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the questions that were left out, with the reason, to this JSONL file.",
)
@force_option
@json_option
def augment(
    name: str,
    data: str | None,
    questions_only: bool,
    kinds: str,
    max_problems: int | None,
    out: Path,
    decontaminate: bool,
    removed: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make more questions from the training problems of a task.

    Every number of a question that can be masked gives one question. Prints how many numbers there
    are, and why the others are not masked.
    """
    if not questions_only:
        raise click.UsageError("give --questions-only: this command writes questions alone")
    from star_mlx.api import load_task
    from star_mlx.steps import masked_questions

    masked_questions.check_kinds([kind.strip() for kind in kinds.split(",")])
    done = masked_questions.write(
        load_task(name, data=data),
        out,
        max_problems=max_problems,
        decontaminate=decontaminate,
        removed=removed,
        force=force,
    )
    click.echo(json.dumps(done) if as_json else _as_text(done, decontaminate))


def _as_text(done: dict[str, Any], decontaminate: bool) -> str:
    """The counts for people."""
    from star_mlx.formatting import harmless

    reasons = done["not_masked"]
    lines = [
        f"{done['problems']} problems, {done['numbers']} numbers: {done['masked']} masked, "
        f"{sum(reasons.values())} not",
        *(f"  {count:5} {reason}" for reason, count in reasons.items()),
        f"left out: {done['duplicates']} duplicates"
        + (
            f", {done['test_exact']} of a test problem, {done['test_13_gram']} that share 13 words "
            "in a row with one"
            if decontaminate
            else "; not compared with the test problems"
        ),
        f"{done['rows']} questions written to {done['out']}",
    ]
    return harmless("\n".join(lines))
