"""Whether a question is of a kind that a run's model was never trained on."""

from __future__ import annotations

from collections.abc import Iterable

from star_mlx.measure import accuracy
from star_mlx.store.reading import RunRecord
from star_mlx.types import Problem, Task


def in_run(task: Task, record: RunRecord, iteration: int, problem: Problem) -> str:
    """The remark on a question to an iteration's model, see ``remark``; empty for the base."""
    lines = [line for line in record.metrics if line.iteration < iteration]
    if not lines or not task.classes or not problem.group:
        return ""
    seen = [accuracy.evaluation(line.dev, {}) if line.dev else None for line in lines]
    return remark(task, problem, task.training(seen))


def remark(task: Task, problem: Problem, trained: Iterable[Problem]) -> str:
    """A sentence that says so if no problem of ``trained`` is of the question's class, else empty.

    A question without a class, or of a task without classes, gets none.
    """
    if not task.classes or not problem.group:
        return ""
    groups = dict.fromkeys(p.group for p in trained)
    if not groups or problem.group in groups:
        return ""
    return (
        f"outside what it was trained on: the {task.classes} is {problem.group}, "
        f"and was {_listed(list(groups))} in training"
    )


def _listed(groups: list[str]) -> str:
    if len(groups) > 2 and all(group.isdecimal() for group in groups):
        numbers = sorted(map(int, groups))
        if numbers == list(range(numbers[0], numbers[-1] + 1)):
            return f"{numbers[0]} to {numbers[-1]}"
    return " or ".join(groups)
