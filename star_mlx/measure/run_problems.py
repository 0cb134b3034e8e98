"""The problems of a run, from its recipe and data, and one to ask its model. Opens no model."""

from __future__ import annotations

import shlex
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from star_mlx.data.stored import by_id
from star_mlx.errors import StarError, TaskError
from star_mlx.formatting import program
from star_mlx.recipe import opening, provenance
from star_mlx.store.reading import RunRecord
from star_mlx.store.rows import AddedQuestion
from star_mlx.types import Problem, Question, Task

LOOKED_AT = 200  # dev problems among which one to ask is chosen
SHORT = 80  # characters of a question that is short


@dataclass(frozen=True, slots=True)
class Known:
    """The known problems of a run: its task, and the train and dev problems by id. The questions
    that its iterations added are among the train problems; ``kinds`` has the kind of each.

    If they cannot be loaded, because the data is gone or has changed, ``task`` is None, there are
    no problems, and ``why_not`` says why.
    """

    task: Task | None = None
    train: Mapping[str, Problem] = field(default_factory=dict)
    dev: Mapping[str, Problem] = field(default_factory=dict)
    why_not: str = ""
    kinds: Mapping[str, str] = field(default_factory=dict)


def of_run(record: RunRecord) -> Known:
    """Load the problems that a run was made with, from its recipe."""
    try:
        task, _ = opening.open_task(opening.recipe_of(record))
        found = provenance.data_sha256(task)
    except StarError as error:
        return Known(why_not=" ".join(str(error).split()))
    if data_hash(record) not in (None, found):
        return Known(why_not="the data has changed since the run was made")
    train, dev = by_id(task.problems("train")), by_id(task.problems("dev"))
    added = added_questions(record)
    if added:
        new = {id: one.problem for id, one in added.items()}
        train = ChainMap(new, train)  # type: ignore[arg-type]  # nothing is written to it
    return Known(task, train, dev, kinds={id: one.kind for id, one in added.items()})


def added_questions(record: RunRecord) -> dict[str, AddedQuestion]:
    """The questions that the finished iterations of a run added to its problems, by id.

    Raises:
        RunError: a file of them is damaged.
    """
    return {one.id: one for line in record.metrics for one in record.questions(line.iteration)}


def data_hash(record: RunRecord) -> str | None:
    """The hash of the train and dev problems that the run was made with."""
    found = record.provenance.get("data_sha256")
    return None if found is None else str(found)


def try_command(run: Path) -> str:
    """The command that asks a run's model one of its dev questions, fit to be pasted into a shell;
    with ``QUESTION`` if none of them can be typed in a line."""
    asked = dev_question(run)
    words = shlex.quote(asked) if asked else "QUESTION"
    return f"{program()} try {shlex.quote(str(run))} {words}"


def dev_question(run: Path) -> str | None:
    """A dev question of a run as a user types it, of middling length if some are short; None if
    there is none, or if the task cannot be opened."""
    try:
        task, _ = opening.open_task(opening.resume_recipe(run))
        typed = [_typed(task, problem.question) for problem in task.problems("dev")[:LOOKED_AT]]
    except StarError:
        return None
    found = sorted(filter(None, typed), key=len)
    short = [text for text in found if len(text) <= SHORT]
    return short[len(short) // 2] if short else found[0] if found else None


def _typed(task: Task, question: Question) -> str | None:
    """A question in one line from which the task makes the same question again."""
    text = question.as_text(" ")
    if not text.isprintable():
        return None
    try:
        return text if task.pose(text).question == question else None
    except TaskError:
        return None
