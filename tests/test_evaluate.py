from __future__ import annotations

import pytest

from star_mlx.measure.accuracy import ci95, counted, evaluation, measured, tally, wilson
from star_mlx.store.metrics import ClassCounts, Measured
from star_mlx.types import Attempt, Evaluation, Problem, Question


@pytest.mark.parametrize(
    ("correct", "n", "interval"),
    [  # Newcombe 1998, table I (method 3): the score interval without continuity correction
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilson_against_published_values(correct, n, interval):
    assert wilson(correct, n) == pytest.approx(interval, abs=5e-5)


def test_wilson_is_never_outside_zero_and_one_and_knows_nothing_of_nothing():
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(5, 5)[1] == 1.0 and wilson(5, 5)[0] > 0.5


def test_wilson_holds_the_share_itself():
    for n in range(1, 200):
        assert wilson(0, n)[0] == 0.0 and wilson(n, n)[1] == 1.0, n


def test_tally_counts_by_class_and_survives_the_journey_through_a_metrics_line():
    problems = [Problem(str(i), Question(""), "", "odd" if i % 2 else "even") for i in range(5)]
    attempts = [Attempt(p.id, False, "", None, p.id in "014", "stop", ()) for p in problems]
    tallied = tally("dev", problems, attempts)
    assert tallied.by_class == {"even": (3, 2), "odd": (2, 1)}
    assert (tallied.n, tallied.correct) == (5, 3)
    entry = measured(tallied)
    assert entry.ci95 == tuple(round(x, 4) for x in wilson(3, 5))
    assert evaluation(entry, tallied.verdicts) == tallied


def test_every_problem_has_its_attempt():
    problems = [Problem(str(i), Question(""), "") for i in range(2)]
    with pytest.raises(ValueError, match="shorter"):
        tally("dev", problems, [Attempt("0", False, "", None, True, "stop", ())])


def test_a_measurement_in_a_metrics_line_has_its_share_and_interval_rounded():
    found = measured(Evaluation("test", 3, 1, {"a": (2, 1), "b": (1, 0)}, {}), "letters")
    assert found == Measured(
        "test", 3, 1, 0.333333, (0.0615, 0.7923), "letters",
        {"a": ClassCounts(2, 1), "b": ClassCounts(1, 0)},
    )  # fmt: skip
    assert measured(Evaluation("dev", 0, 0, {}, {})).classes == ""


def test_wilson_at_another_confidence():
    assert wilson(15, 148, 0.9) == pytest.approx((0.0676, 0.1493), abs=1e-3)
    assert wilson(15, 148, 0.95) == wilson(15, 148)


def test_counts_in_a_file_are_rounded_in_one_way():
    assert ci95(1, 3) == (0.0615, 0.7923)
    assert counted(1, 3) == {"n": 3, "correct": 1, "accuracy": 0.333333, "ci95": [0.0615, 0.7923]}
    assert counted(0, 0) == {"n": 0, "correct": 0, "accuracy": 0.0, "ci95": [0.0, 1.0]}
