"""Paired comparison, pass@k and majority: against hand counts and published values."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, product
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_mlx.measure.paired import Paired, majority, mcnemar, p_cell, p_words, paired, pass_at_k

COUNT = st.integers(0, 60)


# --------------------------------------------------------------------------- McNemar


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    [
        (0, 0, 1),
        (1, 0, 1),
        (5, 0, Fraction(2, 32)),
        (6, 0, Fraction(2, 64)),
        (8, 2, Fraction(2 * (1 + 10 + 45), 1024)),
        (5, 5, 1),
        (3, 2, 1),
    ],
)
def test_mcnemar_by_hand(better, worse, p):
    assert mcnemar(better, worse) == mcnemar(worse, better) == float(p)


def test_mcnemar_is_twice_the_smaller_binomial_tail():
    tail = Fraction(sum(comb(236, i) for i in range(87)), 2**236)
    assert mcnemar(86, 150) == mcnemar(150, 86) == float(2 * tail)


@given(st.integers(0, 12), st.integers(0, 12))
def test_mcnemar_is_the_share_of_coin_tosses_as_uneven(better, worse):
    n = better + worse
    if n > 12:
        return
    uneven = sum(
        abs(2 * sum(tosses) - n) >= abs(better - worse) for tosses in product((0, 1), repeat=n)
    )
    assert mcnemar(better, worse) == pytest.approx(uneven / 2**n, abs=1e-15)


@given(COUNT, COUNT)
def test_mcnemar_is_a_probability(better, worse):
    assert 0 < mcnemar(better, worse) <= 1
    if better > worse:
        assert mcnemar(better + 1, worse) < mcnemar(better, worse) or worse == 0


def test_mcnemar_of_many_pairs():
    assert mcnemar(10_000, 10_000) == 1.0
    # by the normal approximation with continuity correction: z = (400 - 1) / sqrt(40,000)
    assert mcnemar(20_200, 19_800) == pytest.approx(0.0460, abs=2e-4)
    assert mcnemar(50_000, 0) == 0.0
    with pytest.raises(ValueError, match="negative"):
        mcnemar(-1, 3)


# --------------------------------------------------------------------------- Paired


def test_paired_counts_the_problems_both_have():
    old = {"a": True, "b": True, "c": False, "d": False, "only old": True}
    new = {"a": True, "b": False, "c": True, "d": False, "e": True}
    found = paired(old, new)
    assert (found.n, found.both, found.better, found.worse, found.neither) == (4, 1, 1, 1, 1)
    assert found.p == 1.0 and found.verdict == "not different"
    assert found.as_json() == {
        "n": 4, "both": 1, "better": 1, "worse": 1, "neither": 1, "p": 1.0,
        "verdict": "not different",
    }  # fmt: skip


def of(better: int, worse: int, n: int = 500) -> Paired:
    new = {str(i): i < better for i in range(n)}
    old = {str(i): better <= i < better + worse for i in range(n)}
    return paired(old, new)


def test_paired_in_words():
    assert of(41, 13).words("iteration 3", "few-shot") == (
        "iteration 3 is better than few-shot: 41 more right, 13 fewer, p = 0.00018 (n = 500)"
    )
    assert of(41, 2).words("iteration 3", "few-shot").endswith("p < 0.0001 (n = 500)")
    assert of(7, 5).words("iteration 3", "iteration 2") == (
        "iteration 3 is not different from iteration 2: 7 more right, 5 fewer, p = 0.77 (n = 500)"
    )
    assert of(2, 41).words("b", "a").startswith("b is worse than a: 2 more right, 41 fewer")
    assert of(5, 0).verdict == "not different" and of(6, 0).verdict == "better"
    assert paired({"a": True}, {"b": True}).words("x", "y") == "x and y have no problem in common"


def test_p_is_never_rounded_across_the_level():
    assert "p = 0.04999 " in Paired(9, 0, 9, 0, 0, 0.04999).words("x", "y")
    assert "not different from y: 9 more right, 0 fewer, p = 0.05 " in (
        Paired(9, 0, 9, 0, 0, 0.0501).words("x", "y")
    )


# --------------------------------------------------------------------------- samples


def test_pass_at_k_is_the_share_of_choices_with_a_right_one():
    for n in range(1, 7):
        for c in range(n + 1):
            for k in range(1, n + 1):
                choices = list(combinations([i < c for i in range(n)], k))
                share = sum(any(choice) for choice in choices) / len(choices)
                assert pass_at_k(n, c, k) == pytest.approx(share, abs=1e-15)


def test_pass_at_k_of_many_samples_and_of_nonsense():
    assert pass_at_k(200, 1, 100) == 0.5
    assert 0 < pass_at_k(100_000, 1, 1) < pass_at_k(100_000, 1, 100) < 1
    for n, c, k in ((3, 1, 4), (3, 1, 0), (0, 0, 1), (3, 4, 1), (3, -1, 1)):
        with pytest.raises(ValueError):
            pass_at_k(n, c, k)


def same_number(a: str, b: str) -> bool:
    return float(a) == float(b)


@pytest.mark.parametrize(
    ("answers", "winner"),
    [
        ([], None),
        ([None, None], None),
        (["7", None, None], "7"),
        (["1", "2", "2.0", "3"], "2"),
        (["5", "4", "4.0", "5.0"], "5"),
        (["1", "2", "3"], "1"),
    ],
)
def test_majority(answers, winner):
    assert majority(answers, same_number) == winner


@pytest.mark.parametrize(
    ("p", "text"),
    [(1.0, "1.0000"), (0.0312, "0.0312"), (0.049999, "0.049999"), (0.00001, "<0.0001")],
)
def test_a_p_value_never_looks_like_the_level_it_is_below(p, text):
    assert p_cell(p) == text


@pytest.mark.parametrize(
    ("p", "text"),
    [(1.0, "p = 1"), (0.774, "p = 0.77"), (0.05, "p = 0.05"), (0.0499, "p = 0.0499"),
     (0.0001, "p = 0.0001"), (0.00009, "p < 0.0001")],
)  # fmt: skip
def test_a_p_value_in_words(p, text):
    assert p_words(p) == text
