"""Accuracy with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

from star_mlx.types import Attempt, Evaluation, Problem, Split


def wilson(correct: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a proportion (Wilson 1927), as fractions; (0, 1) where n is 0."""
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p, zz = correct / n, z * z
    middle = (p + zz / (2 * n)) / (1 + zz / n)
    half = z / (1 + zz / n) * math.sqrt(p * (1 - p) / n + zz / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def tally(split: Split, problems: Sequence[Problem], attempts: Sequence[Attempt]) -> Evaluation:
    """Count the right attempts, in all and by the problems' class."""
    by_class: dict[str, tuple[int, int]] = {}
    for problem, attempt in zip(problems, attempts, strict=True):
        n, correct = by_class.get(problem.group, (0, 0))
        by_class[problem.group] = (n + 1, correct + attempt.correct)
    verdicts = {a.id: a.correct for a in attempts}
    return Evaluation(split, len(attempts), sum(a.correct for a in attempts), by_class, verdicts)


def as_json(evaluation: Evaluation, classes: str = "") -> dict[str, Any]:
    """The ``eval`` entry of a metrics line; ``classes`` says what the classes are."""
    low, high = wilson(evaluation.correct, evaluation.n)
    return {
        "split": evaluation.split,
        "n": evaluation.n,
        "correct": evaluation.correct,
        "accuracy": round(evaluation.accuracy, 6),
        "ci95": [round(low, 4), round(high, 4)],
        "classes": classes,
        "by_class": {c: {"n": n, "correct": k} for c, (n, k) in evaluation.by_class.items()},
    }


def from_json(entry: dict[str, Any], verdicts: Mapping[str, bool]) -> Evaluation:
    """The evaluation of an ``eval`` entry with its verdicts."""
    by_class = {c: (v["n"], v["correct"]) for c, v in entry["by_class"].items()}
    return Evaluation(entry["split"], entry["n"], entry["correct"], by_class, verdicts)
