"""The regression guard: what is best, what got worse, and what follows."""

from __future__ import annotations

from pathlib import Path

import pytest

from star_mlx.run import guard
from star_mlx.store.metrics import Compared, Metrics
from star_mlx.types import Done, Evaluation


def done(number, right, n=20):
    verdicts = {str(i): i < right for i in range(n)}
    adapter = Path(f"M{number}") if number else None
    return Done(number, adapter, (), Evaluation("dev", n, right, {}, verdicts))


def test_the_best_is_the_most_accurate_the_earliest_of_equals_and_may_be_the_base():
    assert guard.best([done(0, 5), done(1, 9), done(2, 9), done(3, 7)]).number == 1
    assert guard.best([done(0, 5), done(1, 4)]).number == 0
    bare = [Done(0, None), Done(1, Path("M1"))]
    assert guard.best(bare).number == 1


def test_an_iteration_is_compared_with_the_base_and_with_the_best_before():
    entry = guard.beside_others(Metrics(2), [done(0, 5), done(1, 12), done(2, 10)])
    assert (entry.iteration, entry.best) == (2, 1)
    base = entry.compared["base"]
    assert (base.iteration, base.better, base.worse) == (0, 5, 0)
    assert entry.compared["best"] == Compared(
        iteration=1, n=20, both=10, better=0, worse=2, neither=8, p=0.5, verdict="not different"
    )
    assert guard.beside_others(Metrics(1), [Done(0, None), Done(1, Path("M1"))]).compared == {}


@pytest.mark.parametrize(("right", "worse"), [(12, False), (7, False), (6, True), (0, True)])
def test_a_regression_is_a_significant_one(right, worse):
    # 12 -> 7 is 5 pairs of 5 against it, p = 0.0625; 12 -> 6 is 6 of 6, p = 0.03125
    history = [done(0, 5), done(1, 12), done(2, right)]
    assert (guard.regressed(history) is not None) == worse
    assert (guard.warning(history, "warn") is not None) == worse


def test_what_follows_a_regression_is_the_recipes_choice():
    history = [done(0, 5), done(1, 12), done(2, 2)]
    assert guard.teacher("warn", None)(history).number == 2
    assert guard.teacher("stop", None)(history) is None
    assert guard.teacher("rollback", None)(history).number == 1
    assert "iteration 1 generates next" in guard.warning(history, "rollback")
    assert "0 more right, 10 fewer" in guard.warning(history, "warn")


def test_without_a_regression_the_last_one_goes_on():
    for policy in ("warn", "stop", "rollback"):
        assert guard.teacher(policy, None)([done(0, 12), done(1, 10)]).number == 1
        assert guard.teacher(policy, None)([Done(0, None)]).number == 0


def test_falling_below_the_base_is_a_regression_from_the_first_iteration_on():
    history = [done(0, 12), done(1, 2)]
    assert guard.teacher("rollback", None)(history).number == 0
    assert "the base generates next" in guard.warning(history, "rollback")
