"""Write the questions of a task backwards, a number of each masked: without a model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from star_mlx.augment.backward import Backward, backward
from star_mlx.augment.overlap import HeldOut, Overlap, WordRun, words
from star_mlx.errors import NothingKept, RunError, TaskError
from star_mlx.steps import Summary, step_files
from star_mlx.types import Problem, Task

KINDS = ("fobar",)  # those that need no model
WITH_MODEL = ("ansaug", "rephrase", "sv")
_PREFIXES = {"gsm8k": "GSM", "math": "MATH"}  # of a row's type, as MetaMathQA names it


@dataclass(slots=True)
class _Counts:
    """What became of the numbers."""

    numbers: int = 0
    masked: int = 0
    not_masked: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    exact: int = 0
    near: int = 0
    rows: int = 0


def write(
    task: Task,
    out: Path,
    *,
    max_problems: int | None = None,
    decontaminate: bool = True,
    removed: Path | None = None,
    force: bool = False,
) -> Summary:
    """Write a question for every number of the training problems that can be masked.

    Args:
        task: the task. Its dev problems are left out, and its test problems only compared with.
        out: the JSONL file; written atomically.
        max_problems: use only the first problems.
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
    step_files.check(out, force)
    if removed is not None:
        if removed.resolve() == out.resolve():
            raise RunError(f"--removed {removed} is also --out: give another file")
        step_files.check(removed, force, "--removed")
    problems = task.problems("train")[:max_problems]
    tests = HeldOut.of(_test_problems(task) if decontaminate else ())
    latex = bool(getattr(task, "mathematical", False))
    counts, left_out = _Counts(), list[dict[str, Any]]()
    asked = (one for problem in problems for one in backward(problem, latex))
    rows = [_row(one, task.name) for one in _kept(_masked(asked, counts), tests, counts, left_out)]
    if not rows:
        raise NothingKept(_nothing(counts, len(problems)))
    step_files.write(out, rows)
    if removed is not None:
        step_files.write(removed, left_out)
    return _summary(task, counts, len(problems), out)


def _test_problems(task: Task) -> Sequence[Problem]:
    try:
        return task.problems("test")
    except TaskError as error:
        raise TaskError(f"{error}; --no-decontaminate leaves the test split unread") from None


def _masked(found: Iterator[Backward], counts: _Counts) -> Iterator[Backward]:
    """The questions; numbers that cannot be masked are counted."""
    for one in found:
        counts.numbers += 1
        if one.reason:
            counts.not_masked[one.reason] += 1
        else:
            counts.masked += 1
            yield one


def _kept(
    found: Iterator[Backward], tests: HeldOut, counts: _Counts, left_out: list[dict[str, Any]]
) -> Iterator[Backward]:
    """The questions that no other and no test problem asks; the others go to ``left_out``."""
    seen: dict[WordRun, str] = {}
    overlaps: dict[str, Overlap | None] = {}
    for one in found:
        original = one.problem.question.text
        if one.problem.id not in overlaps:
            overlaps[one.problem.id] = tests.overlap(original)
        overlap = overlaps[one.problem.id] or tests.overlap(one.query)
        normal = words(one.query)
        if overlap is not None:
            counts.exact += overlap.kind == "exact"
            counts.near += overlap.kind != "exact"
            why = {"why": overlap.kind, "of": overlap.problem, "shared": overlap.shared}
            left_out.append({"id": _id(one), "query": one.query, **why})
        elif normal in seen:
            counts.duplicates += 1
            why = {"why": "duplicate", "of": seen[normal], "shared": one.query}
            left_out.append({"id": _id(one), "query": one.query, **why})
        else:
            seen[normal] = _id(one)
            counts.rows += 1
            yield one


def _id(one: Backward) -> str:
    return f"{one.problem.id}/fobar-{one.place}"


def _row(one: Backward, task: str) -> dict[str, Any]:
    assert one.masked is not None
    prefix = _PREFIXES.get(task) or re.sub(r"\W+", "_", task).upper()
    return {
        "id": _id(one),
        "type": f"{prefix}_FOBAR",
        "query": one.query,
        "original_question": one.problem.question.text,
        "answer": one.answer,
        "masked": asdict(one.masked),
    }


def _summary(task: Task, counts: _Counts, problems: int, out: Path) -> Summary:
    return {
        "command": "augment",
        "task": task.name,
        "problems": problems,
        "numbers": counts.numbers,
        "masked": counts.masked,
        "not_masked": dict(counts.not_masked.most_common()),
        "duplicates": counts.duplicates,
        "test_exact": counts.exact,
        "test_13_gram": counts.near,
        "rows": counts.rows,
        "out": str(out),
    }


def _nothing(counts: _Counts, problems: int) -> str:
    if not counts.masked:
        most = counts.not_masked.most_common(1)
        why = f", most often because of {most[0][0]}" if most else ""
        return (
            f"{problems} problems have {counts.numbers} numbers, none of which can be masked{why}: "
            "give a task with numbers in its questions"
        )
    return (
        f"all {counts.masked} masked questions are duplicates or too near to test problems: "
        "--no-decontaminate keeps the latter"
    )


def check_kinds(kinds: Sequence[str]) -> None:
    """Check that every kind is one that needs no model.

    Raises:
        RunError: it is not.
    """
    for kind in kinds:
        if kind in WITH_MODEL:
            raise RunError(
                f"--kinds {kind} needs a model, and --questions-only uses none: give --kinds "
                f"{','.join(KINDS)}"
            )
        if kind not in KINDS:
            raise RunError(f"--kinds {kind}: there is only {', '.join(KINDS)}")
