"""Write the questions of a task backwards, a number of each masked: without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from star_mlx.augment import kinds
from star_mlx.augment.kinds import NewQuestion
from star_mlx.augment.overlap import HeldOut
from star_mlx.augment.sieve import Sieve
from star_mlx.augment.yields import Yield
from star_mlx.errors import NothingKept, RunError, TaskError
from star_mlx.steps import Summary, step_files
from star_mlx.types import Problem, Task

KINDS = ("fobar",)  # those that need no model


def write(
    task: Task,
    out: Path,
    *,
    max_problems: int | None = None,
    part: tuple[int, int] | None = None,
    decontaminate: bool = True,
    removed: Path | None = None,
    force: bool = False,
) -> Summary:
    """Write a question for every number of the training problems that can be masked.

    Args:
        task: the task. Its dev problems are left out, and its test problems only compared with.
        out: the JSONL file; written atomically.
        max_problems: use only the first problems.
        part: i and n: use the i-th of n shares of them.
        decontaminate: leave out questions that are a test problem, or share 13 words in a row with
            one.
        removed: a JSONL file for the questions that were left out for that or as duplicates.
        force: whether the files may be overwritten.

    Returns:
        The counts.

    Raises:
        NothingKept: no question is left.
        StarError: any other error that the user can fix.
    """
    check_files(out, removed, force)
    problems = share(task.problems("train")[:max_problems], part)
    sieve, counts, latex = Sieve(held_out(task, decontaminate)), Yield(), kinds.is_latex(task)
    masked = [one for problem in problems for one in kinds.masked(problem, latex, counts.refuse)]
    rows = [
        _row(one, task.name)
        for one in masked
        if not sieve.refuses(one.problem.id, one.problem.question.text, one.original)
    ]
    if not rows:
        raise NothingKept(_nothing(counts, len(masked), len(problems)))
    step_files.write(out, rows)
    if removed is not None:
        step_files.write(removed, sieve.left_out)
    return {
        "command": "augment",
        "task": task.name,
        "problems": len(problems),
        "numbers": len(masked) + counts.not_asked.total(),
        "masked": len(masked),
        "not_masked": dict(counts.not_asked.most_common()),
        **left_out(sieve),
        "rows": len(rows),
        "out": str(out),
    }


def check_files(out: Path, removed: Path | None, force: bool) -> None:
    """Check that the files of ``--out`` and ``--removed`` may be written.

    Raises:
        RunError: one may not, or both are the same.
    """
    step_files.check(out, force)
    if removed is not None:
        if removed.resolve() == out.resolve():
            raise RunError(f"--removed {removed} is also --out: give another file")
        step_files.check(removed, force, "--removed")


def share(problems: Sequence[Problem], part: tuple[int, int] | None) -> Sequence[Problem]:
    """The i-th of n shares of the problems; all of them if there is no part."""
    i, n = part or (1, 1)
    return problems[len(problems) * (i - 1) // n : len(problems) * i // n]


def left_out(sieve: Sieve) -> Summary:
    """How many questions were left out, by reason."""
    return {
        "duplicates": sieve.duplicates,
        "test_exact": sieve.exact,
        "test_13_gram": sieve.near,
    }


def held_out(task: Task, decontaminate: bool) -> HeldOut:
    """The questions of the test split; none if questions are not compared with them.

    Raises:
        TaskError: they cannot be read.
    """
    try:
        return HeldOut.of(task.problems("test") if decontaminate else ())
    except TaskError as error:
        raise TaskError(f"{error}; --no-decontaminate leaves the test split unread") from None


def _row(one: NewQuestion, task: str) -> dict[str, Any]:
    assert one.masked is not None
    return {
        "id": one.problem.id,
        "type": kinds.type_of(task, one.kind),
        "query": one.problem.question.text,
        "original_question": one.original.question.text,
        "answer": one.problem.answer,
        "masked": asdict(one.masked),
    }


def _nothing(counts: Yield, masked: int, problems: int) -> str:
    if not masked:
        most = counts.not_asked.most_common(1)
        why = f", most often because of {most[0][0]}" if most else ""
        return (
            f"{problems} problems have {counts.not_asked.total()} numbers, none of which can be "
            f"masked{why}: give a task with numbers in its questions"
        )
    return (
        f"all {masked} masked questions are duplicates or too near to test problems: "
        "--no-decontaminate keeps the latter"
    )


def check_kinds(given: Sequence[str]) -> None:
    """Check that every kind is one that needs no model.

    Raises:
        RunError: it is not.
    """
    for kind in given:
        if kind in kinds.KINDS and kind not in KINDS:
            raise RunError(
                f"--kinds {kind} needs a model, and --questions-only uses none: give --kinds "
                f"{','.join(KINDS)}"
            )
        if kind not in KINDS:
            raise RunError(f"--kinds {kind}: there is only {', '.join(KINDS)}")
