"""How long a run still takes, on numbers that can be done in the head."""

from __future__ import annotations

import pytest

from star_mlx.events import IterationFinished, PhaseStarted, Progress, RunFinished, RunStarted
from star_mlx.measure.accuracy import ci95
from star_mlx.progress.state import RunState
from star_mlx.progress.time_left import about, phase_left, seconds_left
from star_mlx.recipe.loading import load, resolved
from star_mlx.store.metrics import of

SETTINGS = [
    "star.iterations=3",
    "star.problems=100",
    "star.schedule.kind=linear",
    "star.schedule.start=10",
    "star.schedule.add=10",
    "evaluate.dev=50",
    "generate.batch_size=1",
]


def dev(correct):
    low, high = ci95(correct, 50)
    return {
        "split": "dev",
        "n": 50,
        "correct": correct,
        "accuracy": correct / 50,
        "ci95": (low, high),
    }


BASE = {
    "iteration": 0,
    "eval": dev(5),
    "zero_shot": dev(2),
    "seconds": {"evaluate": 20.0},  # 0.2 s a problem
}
FIRST = {
    "iteration": 1,
    "problems": 100,
    "solved": 40,
    "rationalized": 40,
    "examples": 80,
    "train": {"steps": 10},
    "eval": dev(25),
    "seconds": {"generate": 50.0, "rationalize": 30.0, "train": 20.0, "evaluate": 10.0},
}


def state(*events, settings=()):
    recipe = resolved(load(None, task="arithmetic", overrides=[*SETTINGS, *settings]))
    folded = RunState()
    folded.apply(RunStarted("r", recipe, {}))
    for event in events:
        folded.apply(event)
    return folded


def phase(n, name, done, total, seconds):
    return PhaseStarted(n, name, total), Progress(n, name, done, total, 0, seconds)


DONE = (IterationFinished(of(BASE)), IterationFinished(of(FIRST)))


def test_what_is_to_come_costs_what_the_last_iteration_cost_and_steps_follow_the_schedule():
    now = state(*DONE, *phase(2, "generate", 20, 100, 8.0))
    this = 80 * 0.4 + 60 * 0.5 + 20 * 2.0 + 50 * 0.2
    third = 100 * 0.5 + 60 * 0.5 + 30 * 2.0 + 50 * 0.2
    assert seconds_left(now) == pytest.approx(this + third)


def test_the_phases_of_this_iteration_that_are_over_are_newer_than_the_last_ones():
    over = phase(2, "generate", 100, 100, 40.0)
    now = state(*DONE, *over, *phase(2, "rationalize", 10, 30, 10.0))
    this = 20 * 1.0 + 20 * 2.0 + 50 * 0.2
    third = 100 * 0.4 + 30 * 0.5 + 30 * 2.0 + 50 * 0.2
    assert seconds_left(now) == pytest.approx(this + third)


def test_between_two_iterations_all_phases_are_to_come():
    second = 100 * 0.5 + 60 * 0.5 + 20 * 2.0 + 50 * 0.2
    third = second + 10 * 2.0
    assert seconds_left(state(*DONE)) == pytest.approx(second + third)


def test_nothing_is_said_until_a_step_has_been_timed():
    assert seconds_left(state()) is None
    assert seconds_left(state(*phase(0, "evaluate", 25, 50, 5.0))) is None
    assert seconds_left(state(DONE[0], *phase(1, "generate", 50, 100, 25.0))) is None
    assert seconds_left(RunState()) is None


def test_the_first_training_makes_an_estimate_possible():
    before = (*phase(1, "generate", 100, 100, 50.0), *phase(1, "rationalize", 60, 60, 30.0))
    now = state(DONE[0], *before, *phase(1, "train", 5, 10, 5.0))
    later = 2 * (100 * 0.5 + 60 * 0.5 + 50 * 0.2) + (20 + 30) * 1.0
    assert seconds_left(now) == pytest.approx(5 * 1.0 + 50 * 0.2 + later)


def test_before_the_first_problem_of_a_phase_the_last_rate_holds():
    now = state(*DONE, PhaseStarted(2, "generate", 100))
    assert seconds_left(now) == pytest.approx(seconds_left(state(*DONE)))


def test_a_number_of_problems_that_changed_scales_what_is_to_come():
    now = state(*DONE, *phase(2, "generate", 0, 50, 0.0))
    this = 50 * 0.5 + 30 * 0.5 + 20 * 2.0 + 50 * 0.2
    assert seconds_left(now) == pytest.approx(this + this + 10 * 2.0)


def test_several_samples_are_so_many_attempts_but_one_rationalization():
    settings = ["generate.samples=2", "generate.temperature=0.7", "star.iterations=2"]
    now = state(*DONE, PhaseStarted(2, "generate", 200), settings=settings)
    assert seconds_left(now) == pytest.approx(200 * 0.25 + 60 * 0.5 + 20 * 2.0 + 50 * 0.2)


@pytest.mark.parametrize(
    ("settings", "less"),
    [
        (["star.rationalize=false"], 30.0),
        (["star.direct=true"], 30.0),
        (["star.evaluate=false"], 10.0),
    ],
)
def test_a_phase_that_the_recipe_leaves_out_takes_no_time(settings, less):
    whole = seconds_left(state(*DONE, settings=["star.iterations=2"]))
    assert seconds_left(state(*DONE, settings=["star.iterations=2", *settings])) == (
        pytest.approx(whole - less)
    )


def test_passes_over_the_examples_are_counted_as_steps():
    epochs = ["star.schedule.kind=epochs", "star.schedule.add_epochs=0", "train.batch_size=32"]
    now = state(*DONE, settings=[*epochs, "star.iterations=2"])
    assert seconds_left(now) == pytest.approx(50 + 30 + 3 * 2.0 + 10)  # 80 examples: 3 batches


def test_of_a_batch_under_way_a_half_counts_as_done():
    wide = ["generate.batch_size=65"]
    now = state(*DONE, *phase(2, "generate", 20, 100, 26.0), settings=wide)
    assert phase_left(now) == pytest.approx((100 - 52) * 26.0 / 52)
    last = state(*DONE, *phase(2, "generate", 98, 100, 99.0), settings=wide)
    assert phase_left(last) == pytest.approx(1.0)


def test_until_a_quarter_of_a_batch_is_done_the_last_rate_holds():
    wide = ["generate.batch_size=64"]
    few = phase(2, "generate", 15, 100, 1.0)
    assert phase_left(state(*DONE, *few, settings=wide)) == pytest.approx(85 * 0.5)
    first = phase(0, "evaluate", 1, 50, 4.0)  # nothing else is known
    assert phase_left(state(*first, settings=wide)) == pytest.approx(49 / 2 * 4.0 / (1 + 49 / 2))
    assert phase_left(state(PhaseStarted(0, "evaluate", 50))) is None
    assert phase_left(RunState()) == 0.0


def test_the_end_is_near():
    over = [p for name in ("generate", "rationalize") for p in phase(3, name, 9, 9, 1.0)]
    second = {**FIRST, "iteration": 2}
    now = (*DONE, IterationFinished(of(second)), *over, *phase(3, "train", 30, 30, 60.0))
    assert seconds_left(state(*now, *phase(3, "evaluate", 40, 50, 4.0))) == pytest.approx(1.0)
    assert seconds_left(state(*now, *phase(3, "evaluate", 50, 50, 5.0))) == 0
    assert seconds_left(state(*now, RunFinished("r", "done", 1.0))) is None


def test_what_is_measured_after_the_loop_takes_its_own_time_only():
    lines = [IterationFinished(of({**FIRST, "iteration": n})) for n in (1, 2, 3)]
    now = state(DONE[0], *lines, *phase(2, "evaluate", 100, 400, 20.0))
    assert seconds_left(now) == pytest.approx(60.0)


def test_a_baseline_that_only_measures_ends_with_its_measurement():
    now = state(*phase(0, "evaluate", 10, 50, 2.0))
    bare = {**now.recipe, "baseline": "few-shot", "evaluate": {"zero_shot": False, "dev": 50}}
    now.recipe = bare
    assert seconds_left(now) == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "~5 s"),
        (41.0, "~40 s"),
        (58.0, "~1 min"),
        (200.0, "~3 min"),
        (3599.0, "~1 h"),
        (7700.0, "~2 h 10 min"),
    ],
)
def test_an_estimate_is_not_told_more_exactly_than_it_is(seconds, words):
    assert about(seconds) == words
