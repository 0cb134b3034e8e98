"""Other checkers' verdicts on mathematical answers, to find mistakes in ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from star_mlx.answers.accepted import accepted
from star_mlx.answers.math import second_opinions
from star_mlx.errors import TaskError
from star_mlx.measure.grade import Graded
from star_mlx.types import Task


class SecondOpinions:
    """Asks math-verify and MetaMath's rules about graded rows, and counts their verdicts.

    Raises:
        TaskError: the task does not compare answers as mathematics.
    """

    def __init__(self, task: Task) -> None:
        if not getattr(task, "mathematical", False):
            raise TaskError(
                f"--second-opinion is for mathematical answers, but the task {task.name} compares "
                "answers in another way: give a recipe with read.kind math, or leave it out"
            )
        self._agree: dict[str, Counter[str]] = {}

    def __call__(self, result: Graded) -> Mapping[str, bool]:
        """The verdicts that differ from the row's own, by the checkers' names.

        An undecided row is not right, so only "right" differs from it.
        """
        if result.read is None:
            return {}
        differing = {}
        for name, right in _opinions(result.read, result.gold).items():
            counts = self._agree.setdefault(name, Counter())
            if right is None:
                counts["unread"] += 1
            elif right == (result.verdict == "correct"):
                counts["agree"] += 1
            else:
                counts["disagree"] += 1
                differing[name] = right
        return differing

    def counts(self) -> dict[str, Any]:
        """For each checker, the rows on which it agrees and disagrees, and that it cannot read."""
        keys = ("agree", "disagree", "unread")
        return {
            "second_opinion": {
                name: {key: counts[key] for key in keys} for name, counts in self._agree.items()
            }
        }


def _opinions(answer: str, gold: str) -> dict[str, bool | None]:
    """Each checker's verdict on an answer with several right ones: right if one is."""
    found: dict[str, bool | None] = {}
    for one in accepted(gold):
        for name, right in second_opinions(answer, one).items():
            before = found.get(name)
            found[name] = right if before is None else before or bool(right)
    return found
