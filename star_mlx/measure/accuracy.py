"""Accuracy with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

from star_mlx.store.metrics import ClassCounts, Measured
from star_mlx.store.results import Result
from star_mlx.types import Attempt, Evaluation, Problem, Split


def wilson(correct: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a proportion (Wilson 1927), as fractions; (0, 1) if n is 0."""
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p, zz = correct / n, z * z
    middle = (p + zz / (2 * n)) / (1 + zz / n)
    half = z / (1 + zz / n) * math.sqrt(p * (1 - p) / n + zz / (4 * n * n))
    return max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half))  # p is never outside


def ci95(correct: float, n: float) -> tuple[float, float]:
    """Wilson's 95% interval as the files have it."""
    low, high = wilson(correct, n)
    return round(low, 4), round(high, 4)


def ends(entry: Measured | Result) -> tuple[float, float]:
    """The 95% interval of an entry to be shown: from its counts if it has them, since the interval
    in the files is rounded, and rounding twice may give another number."""
    return entry.ci95 if entry.correct is None else wilson(entry.correct, entry.n)


def counted(correct: int, n: int) -> dict[str, Any]:
    """The counts with the accuracy and its interval, in the form used in files."""
    accuracy = round(correct / n, 6) if n else 0.0
    return {"n": n, "correct": correct, "accuracy": accuracy, "ci95": list(ci95(correct, n))}


def tally(split: Split, problems: Sequence[Problem], attempts: Sequence[Attempt]) -> Evaluation:
    """Count the right attempts, overall and by the problems' class."""
    by_class: dict[str, tuple[int, int]] = {}
    for problem, attempt in zip(problems, attempts, strict=True):
        n, correct = by_class.get(problem.group, (0, 0))
        by_class[problem.group] = (n + 1, correct + attempt.correct)
    verdicts = {a.id: a.correct for a in attempts}
    return Evaluation(split, len(attempts), sum(a.correct for a in attempts), by_class, verdicts)


def measured(evaluation: Evaluation, classes: str = "") -> Measured:
    """An evaluation as in a metrics line; ``classes`` is the meaning of the classes."""
    n, correct = evaluation.n, evaluation.correct
    by_class = {name: ClassCounts(*counts) for name, counts in evaluation.by_class.items()}
    share = round(evaluation.accuracy, 6)
    return Measured(evaluation.split, n, correct, share, ci95(correct, n), classes, by_class)


def evaluation(entry: Measured, verdicts: Mapping[str, bool]) -> Evaluation:
    """The evaluation of a metrics line, with its verdicts."""
    by_class = {name: (counts.n, counts.correct) for name, counts in entry.by_class.items()}
    return Evaluation(entry.split, entry.n, entry.correct, by_class, verdicts)
