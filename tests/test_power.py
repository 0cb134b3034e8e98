"""The power of the paired test, against counting and simulating."""

from __future__ import annotations

import math
import random

import pytest

from star_mlx.measure import power as powers
from star_mlx.measure.paired import mcnemar
from star_mlx.measure.power import power, sentence


def counted(n, won, lost):
    """The power by going through every outcome: the multinomial of won, lost and the rest."""
    total = 0.0
    for a in range(n + 1):
        for b in range(n + 1 - a):
            if mcnemar(a, b) < 0.05:
                ways = math.comb(n, a) * math.comb(n - a, b)
                total += ways * won**a * lost**b * (1 - won - lost) ** (n - a - b)
    return total


@pytest.mark.parametrize(
    ("n", "difference", "lost"), [(6, 0.5, 0.05), (12, 0.3, 0.1), (40, 0.2, 0.05), (30, 0.0, 0.2)]
)
def test_it_is_the_probability_of_a_significant_result(n, difference, lost):
    assert power(n, difference, lost) == pytest.approx(counted(n, lost + difference, lost))


def test_no_difference_is_found_at_most_as_often_as_the_level():
    assert power(200, 0.0) < 0.05


def test_the_approximation_for_many_problems_agrees_with_the_exact_value(monkeypatch):
    for n in (200, 500):
        exact = [power(n, d / 100) for d in (2, 3, 5, 10)]
        monkeypatch.setattr(powers, "EXACT", 0)
        assert [power(n, d / 100) for d in (2, 3, 5, 10)] == pytest.approx(exact, abs=0.03)
        monkeypatch.undo()


def test_it_agrees_with_drawn_experiments():
    rng, found = random.Random(1), 0
    for _ in range(1000):
        better = worse = 0
        for _ in range(150):
            u = rng.random()
            better += u < 0.15
            worse += 0.15 <= u < 0.2
        found += mcnemar(better, worse) < 0.05
    assert found / 1000 == pytest.approx(power(150, 0.1), abs=0.05)


def test_more_problems_and_greater_differences_are_seen_better():
    assert power(50, 0.1) < power(100, 0.1) < power(400, 0.1) < power(600, 0.1)
    assert power(100, 0.05) < power(100, 0.1) < power(100, 0.2)


def test_nothing_is_seen_without_problems_or_differences():
    assert power(0, 0.5) == 0 == power(100, 0.0, 0.0)


@pytest.mark.parametrize("wrong", [(-1, 0.1, 0.1), (10, -0.1, 0.1), (10, 0.9, 0.1)])
def test_shares_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="no such comparison"):
        power(*wrong)


def test_the_sentence_names_a_difference_that_is_not_seen_and_one_that_is():
    assert sentence(200) == (
        "With 200 dev problems a difference of 5 points will mostly not be seen (power 37%); "
        "10 points will (88%)."
    )
    assert power(200, 0.05) == pytest.approx(0.37, abs=0.005)


@pytest.mark.parametrize("n", [0, 1, 2, 5, 6, 7, 12, 33, 100, 501, 10_000, 1_000_000])
def test_there_is_a_sentence_for_any_number_in_one_line(n):
    text = sentence(n)
    assert text.endswith(".") and "\n" not in text and len(text) < 120
    assert "100%" not in text, "never certain"


def test_the_sentence_of_extremes():
    assert sentence(1).startswith("With 1 dev problem no difference can be significant")
    assert "no difference can" in sentence(5), "five more right and none fewer: p = 0.0625"
    assert sentence(6).startswith("With 6 dev problems even a difference of 50 points")
    assert "1 point will be seen" in sentence(1_000_000).replace("difference of ", "")
