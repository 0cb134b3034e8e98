"""Equations in prose and LaTeX: which are found, and which of them are certainly wrong."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from star_mlx.answers.prose import comes_to, equations, valid


def verdicts(text):
    return [one.right for one in equations(text)]


@pytest.mark.parametrize(
    "text",
    [
        "12 * 5 = 60",
        r"\( 56.5 \times 60 = 3390 \)",
        r"\[ \frac{48}{2} = 24 \]",
        r"\[ \frac{\frac{1}{2} \times 8}{2} = 2 \]",
        r"\[ \$240 - \$120 = \$120 \]",
        "3 boxes x 4 apples per box = 12 apples",
        r"30 \text{ hours/audiobook} \times 6 \text{ audiobooks} = 180 \text{ hours}",
        r"8 \text{ hours} \times \$7.50/\text{hour} = \$60",
        r"\frac{20,000 \text{ square meters}}{4} = 5,000 \text{ square meters}",
        "10% of $50 = $5",
        "100% - 20% = 80%",
        "5/20 = 25%",
        "5/20 * 100 = 25%",
        "20/3 = 6.67",
        "20/3 ≈ 7",
        "1 1/2 * 4 = 6",
        "(8 - 4) / 2 = 2",
        "He works 8 hours (5 + 3 = 8).",
        "- 5 * 3 = 15",
        "1. 5 * 3 = 15",
        "**5 * 3 = 15**",
        "5 times 3 = 15",
        "Natalia sold 48/2 = <<48/2=24>>24 clips in May.",
        "1,200 + 300 = 1,500",
        r"\(0.5 \cdot 12 = 6\)",
        "3^2 = 9",
        r"\frac{1}{2} \times \frac{1}{4} = \frac{1}{8} \text{ cm}^2",
        "6 feet * 7 feet = 42 feet^2",
        "3 hours (adult) + 2 hours (child) = 5 hours",
        "-284 + 324 = 40",
        "3 × 4 = 12!",
    ],
)
def test_right(text):
    assert verdicts(text) == [True]


@pytest.mark.parametrize(
    "text",
    [
        "12 * 5 = 50",
        r"\( 56.5 \times 60 = 3240 \)",
        r"\[ \frac{48}{2} = 25 \]",
        "275 + 220 = 595",
        r"\frac{250 \text{ grams}}{12 \text{ ounces}} = 21.67 \text{ grams}",
        r"\[ 40 \text{ basketball cards} - 58 \text{ cards} = 8 \text{ basketball cards} \]",
        r"8 \text{ hours/day} \times \$7.50/\text{hour} = \$50 \text{ per day}",
        "20% of 50 = 100",
        "- 5 * 3 = 16",
        "3 + 4 * 2 = 14",
        r"6 \text{ cm} \times 7 \text{ cm} = 43 \text{ cm}^{2}",
        "-284 + 324 = 140",
        "48/2 = <<48/2=25>>25",
    ],
)
def test_wrong(text):
    assert verdicts(text) == [False]


@pytest.mark.parametrize(
    "text",
    [
        "2x + 3 = 9",
        "12 + x = 20",
        "Total - 5 = 3 + 1",
        r"\text{Total} = 5 + 3",
        "twice 5 + 3 = 13",
        "half of 10 + 5 = 10",
        "2 feet + 16 inches = 40 inches",
        "15 minutes * 4 = 1 hour",
        "5 * 25 cents = $1.25",
        "1.5 million * 2 = 3,000,000",
        "9 / 4 = 3 buses",
        "0.33 * 300 = 100",
        r"2\frac{1}{2} \times 4 = 10",
        r"\sqrt{16} + 2 = 6",
        "the 3rd + 4 = 9",
        "D_5 = 2 + (5-1)",
        r"D_{5} = 2 + (5 - 1)",
        "D5 = 2 + 4 * 2",
        "The time for 5 graves = 1.5 * 5",
        r"\text{Time for 5 graves} = 1.5 \text{ hours} \times 5",
    ],
)
def test_what_may_be_meant_otherwise_is_unchecked(text):
    assert set(verdicts(text)) == {None}
    assert valid(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "H = 4",
        "1 hour = 60 minutes",
        "a ratio of 2:3 = 4:6",
        "It is 72.",
        "5! + 1 = 121",
        "```python\nx = 2 + 2 = 5\nprint(3 + 4 == 8)\n```",
        "2 + 2 != 5, 2 + 2 <= 5",
        "She has 5 apples.\n= 3",
        "",
    ],
)
def test_no_calculation_no_equation(text):
    assert equations(text) == []


def test_any_text_can_be_read():
    rng = random.Random(0)
    parts = ["1", "2.5", "1,000", "+", "-", "*", "/", "=", "(", ")", "%", "$", " ", " ", "x", "of",
             "apples", "per", r"\frac", "{", "}", r"\text{", "\n", ".", "**", "_", "≈", "<<1=1>>",
             "and", "5th", "^", r"\(", r"\)", "’", "1/2", "twice"]  # fmt: skip
    for _ in range(3000):
        for one in equations("".join(rng.choices(parts, k=rng.randrange(1, 16)))):
            assert one.right in (True, False, None)


def test_chains_are_judged_one_by_one():
    text = r"\[ 25 \times 85 = 25 \times (80 + 5) = 2000 + 125 = 2225 \]"
    assert verdicts(text) == [True, True, False]
    assert verdicts("Cost = 5 * 3 = 15") == [None, True]
    assert verdicts("5 + 3 = 8 * 2 = 16") == [True, True], "as people write"
    assert verdicts("5 + 3 = 8 * 2 = 17") == [True, False]
    assert verdicts(r"5 + 1 = 6 \Rightarrow 6 * 2 = 12") == [True, True]


def test_a_rationale_is_valid_if_no_equation_is_wrong():
    assert valid("3 * 4 = 12, and y = 12 + 2, so 12 + 2 = 14.") is True
    assert valid("3 * 4 = 12.\n12 + 2 = 15.") is False
    assert valid("It is 72.") is None


def test_the_value_a_rationale_comes_to():
    text = "3 * 4 = 12. 12 + 2 = 15."
    assert comes_to(text, Fraction(12))
    assert not comes_to(text, Fraction(15)), "by a wrong equation"
    assert not comes_to("The answer is 9.", Fraction(9))


@pytest.mark.parametrize(
    "text",
    ["=" * 50_000, "1 + " * 20_000 + "= 3", "(" * 20_000 + "1 = 1", r"\frac{" * 10_000,
     "a " * 30_000 + "= 1", "1 a " * 20_000, r"\text{" * 9_000, "9^9^9^9 = 1", "1 = " * 20_000],
)  # fmt: skip
def test_no_text_takes_long(text):
    equations(text)
