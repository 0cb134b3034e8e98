"""The regression guard: whose adapter generates next, and whether the loop should go on.

An iteration is compared on the dev problems, pair by pair, with the best before it and with
iteration 0 (the base with its few-shot prompt). ``history`` begins with iteration 0 throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from star_mlx.measure.paired import Paired, paired
from star_mlx.settings import OnRegression
from star_mlx.store.metrics import Compared, Metrics
from star_mlx.store.which import most_accurate
from star_mlx.types import Done


def best(history: Sequence[Done]) -> Done:
    """The iteration with the highest dev accuracy, the earliest of equals; the last if none has
    one.

    Iteration 0 is included: if nothing beats the base, the base is the best.
    """
    accuracies = {done.number: done.evaluation.accuracy for done in history if done.evaluation}
    number = most_accurate(accuracies)
    return next((done for done in history if done.number == number), history[-1])


def compare(old: Done, new: Done) -> Paired | None:
    """Their dev verdicts, paired; None if one of them was not evaluated."""
    if not (old.evaluation and new.evaluation):
        return None
    return paired(old.evaluation.verdicts, new.evaluation.verdicts)


def compared(history: Sequence[Done]) -> dict[str, Compared]:
    """Compare the last iteration with iteration 0 and the best before, for its metrics line.

    Each has the ``iteration`` compared with, ``n``, how many answers got ``better`` and ``worse``,
    ``p`` (exact McNemar, two-sided) and the ``verdict``.
    """
    *before, last = history
    entry: dict[str, Compared] = {}
    for name, other in (("base", before[0]), ("best", best(before))):
        if other.evaluation and (pair := compare(other, last)):
            entry[name] = Compared(other.number, **pair.as_json())
    return entry


def beside_others(metrics: Metrics, history: Sequence[Done]) -> Metrics:
    """Add the comparisons to the last iteration's metrics line: ``best`` so far, ``compared``."""
    return msgspec.structs.replace(metrics, best=best(history).number, compared=compared(history))


def warning(history: Sequence[Done], policy: OnRegression) -> str | None:
    """A warning if the last iteration got significantly worse: by how much, and what follows."""
    pair = regressed(history)
    if pair is None:
        return None
    *before, last = history
    other = best(before)
    name = f"iteration {other.number}" if other.number else "the base"
    follows = {
        "warn": "the loop goes on (star.on_regression=warn)",
        "stop": "the loop ends (star.on_regression=stop)",
        "rollback": f"{name} generates next (star.on_regression=rollback)",
    }
    return f"{pair.words(f'iteration {last.number}', name)}: {follows[policy]}"


def regressed(history: Sequence[Done]) -> Paired | None:
    """The comparison with the best before, if the last iteration is significantly worse.

    The best is never below the base, so this includes iteration 0.
    """
    *before, last = history
    pair = compare(best(before), last) if before else None
    return pair if pair and pair.verdict == "worse" else None


def plateaued(history: Sequence[Done], patience: int | None) -> bool:
    """Whether none of the last ``patience`` iterations beat the best dev accuracy before them."""
    scores = [done.evaluation.accuracy for done in history if done.number and done.evaluation]
    if patience is None or len(scores) <= patience:
        return False
    return max(scores[-patience:]) <= max(scores[:-patience])


def teacher(policy: OnRegression, patience: int | None) -> Callable[[Sequence[Done]], Done | None]:
    """The ``teacher`` of ``star``: it chooses whose adapter generates next, or None to end."""

    def choose(history: Sequence[Done]) -> Done | None:
        worse = regressed(history)
        if plateaued(history, patience) or (worse and policy == "stop"):
            return None
        return best(history) if worse and policy == "rollback" else history[-1]

    return choose
