"""The calculator steps of GSM8K rationales."""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from star_mlx.answers.steps import (
    DEEPEST,
    LARGEST_POWER,
    MOST_BITS,
    Calculation,
    evaluate,
    steps,
    valid,
)
from tests.data_files import data_file


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("16-3-4", 9),
        ("2+3*4", 14),
        ("(2+3)*4", 20),
        ("2(3+4)", 14),
        ("[2+3]*4", 20),
        ("10/4", Fraction(5, 2)),
        ("7//2", 3),
        ("12/2/3", 2),
        ("5x3", 15),
        ("5×3÷3", 5),
        ("$1,000*2", 2000),
        (".5*2", 1),
        ("20%", Fraction(1, 5)),
        ("50*20%", 10),
        ("-5+3", -2),
        ("--5", 5),
        ("5X3", 15),
        ("5·3", 15),
        ("9−2", 7),
        ("9–2", 7),
        ("$ 5 + € 3", 8),
        ("5.*2", 10),
        ("1,234.50", Fraction(2469, 2)),
        ("2*-3", -6),
        ("2*+3", 6),
        ("5-+3", 2),
        ("5--3", 8),
        ("-7//2", -4),
        ("7.5//2", 3),
        ("8/2(4)", 16),
        ("2(3)(4)", 24),
        ("2(3)^2", 18),
        ("10-2-3", 5),
        ("10-(2-3)", 11),
        ("[2+3)*4", 20),
        ("20%%", Fraction(1, 500)),
        ("50%^2", Fraction(1, 4)),
        ("50%+1", Fraction(3, 2)),
        ("0^0", 1),
        ("0^2", 0),
        ("2^-2", Fraction(1, 4)),
        ("(1/2)^3", Fraction(1, 8)),
        ("(2/3)^-2", Fraction(9, 4)),
        ("(1+1)^(1+2)", 8),
        ("0/5", 0),
        ("2^3^2", 512),
        ("2**-1", Fraction(1, 2)),
        ("-2^2", -4),
        ("1/0", None),
        ("1//0", None),
        ("0^-1", None),
        ("2^0.5", None),
        ("9^64^64", None),
        ("((9^64)^64)^64", None),
        ("9^(9^(9^9))", None),
        ("", None),
        ("5+", None),
        ("5 5", None),
        ("1 000", None),
        ("()", None),
        ("2()", None),
        (".", None),
        ("5..2", None),
        ("%", None),
        ("*5", None),
        ("5*/3", None),
        ("5^", None),
        ("5!", None),
        ("٣", None),
        ("5²", None),
        ("(2]*3+(", None),
        ("(5", None),
        ("5)", None),
        ("5 apples*2", None),
        ("__import__('os')", None),
        ("(" * 10_000, None),
        ("-" * 10_000, None),
        ("1" + "0" * 400 + "*2", None),
    ],
)
def test_expressions(expression, value):
    assert evaluate(expression) == value


MOST = "(2^63)^64*2^63"  # the largest power of two: it has MOST_BITS bits


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1+" * 249 + "1", 250),  # 500 characters are read
        ("1+" * 250 + "1", None),
        ("(" * DEEPEST + "1" + ")" * DEEPEST, 1),
        ("(" * (DEEPEST + 1) + "1" + ")" * (DEEPEST + 1), None),
        ("-" * DEEPEST + "1", 1),
        ("-" * (DEEPEST + 1) + "1", None),
        ("1" + "^1" * DEEPEST, 1),
        ("1" + "^1" * (DEEPEST + 1), None),
        ("(1)" * (DEEPEST + 1), 1),  # side by side is not deeper
        (f"2^{LARGEST_POWER}", 2**LARGEST_POWER),
        (f"1^{LARGEST_POWER + 1}", None),
        (f"2^-{LARGEST_POWER}", Fraction(1, 2**LARGEST_POWER)),
        (f"1^-{LARGEST_POWER + 1}", None),
        ("(2^63)^64", Fraction(2**4032)),  # 64 bits, 64 times
        ("(2^64)^64", None),
        ("(1/2^63)^64", Fraction(1, 2**4032)),
        ("(1/2^64)^64", None),
        (MOST, Fraction(2 ** (MOST_BITS - 1))),
        (f"{MOST}*2", None),
        (f"{MOST}+{MOST}", None),
        (f"-{MOST}-{MOST}", None),
        (f"1/({MOST})", Fraction(1, 2 ** (MOST_BITS - 1))),
        (f"1/({MOST})/2", None),
        (f"(1/({MOST}))%", None),
    ],
)
def test_the_limits_of_an_expression(expression, value):
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("<<9*2=18>>18", True),
        ("<<9*2=18>>", True),
        ("<<9*2=18>> dollars", True),
        ("<<9*2=18>>18.", True),
        ("<<9*2=18>>$18", True),
        ("<<80000+50000=130000>>130,000", True),
        ("<<9*2=19>>19", False),
        ("<<9*2=18>>19", False),
        ("<<10/3=3.33>>3.33", True),
        ("<<10/3=3.3>>3.33", True),
        ("<<10/3=3.34>>3.34", False),
        ("<<20/100=20%>>20%", True),
        ("<<10+10=20%>>20%", True),
        ("<<1/2=.5>>.5", True),
        ("<<5-8=-3>>-3", True),
        ("<<2+2=4=4>>4", True),
        ("<<2+2=5=5>>5", False),
        ("<<9*2=18>>€18", True),
        ("<<9*2=18>> 18", True),
        ("<<9*2=18>>$ 18", True),
        ("<<9*2=18>>$ 19", False),
        ("<<9*2=18>>$19", False),
        ("<<9*2=18>>€19", False),
        ("<<9*2=18>>£19", False),
        ("<<9*2=18>>18, and 5", True),
        ("<<9*2=18>>18/day", True),
        ("<<9*2=18>>19/day", False),
        ("<<9*2=1800>>1800", False),
        ("<<1/8=12%>>12%", True),
        ("<<1-5/3=−0.67>>", True),
        ("<<9*2=18>>  19", True),  # too far away to be the result
        ("<<9*2=18>>.", True),
        ("<<9*2= 18 >>18", True),
        ("<<9*2=$18>>18", True),
        ("<<9*2=18.>>18", True),
        ("<<9*2=18.0>>18", True),
        ("<<1000*2=2,000>>2000", True),
        ("<<1000*2=2,000>>2,001", False),
        ("<<5-8=−3>>-3", True),
        ("<<5-8=-$3>>-$3", True),
        ("<<5-8=$-3>>$-3", True),
        ("<<5-8=-3>>3", False),
        ("<<5-8=-3>>-4", False),
        ("<<5-8=-3>>-€4", False),
        ("<<5-8=-3>>-£4", False),
        ("<<5-8=-3>>$-4", False),
        ("<<1/2=.5>>.6", False),
        ("<<10/3=$3.33>>", True),
        ("<<10/3=€3.33>>", True),
        ("<<10/3=£ 3.33>>", True),
        ("<<-10/3=-$3.33>>", True),
        ("<<-10/3=$-3.33>>", True),
        ("<<10/3=3.33.>>", True),
        ("<<5-8=3>>3", False),
        ("<<8-5=-3>>-3", False),
        ("<<1/2=1/2>>1/2", True),
        ("<<1/2=2/4>>", True),
        ("<<1/2=1/3>>", False),
        ("<<1/2=0.5>>1/2", True),
        ("<<1/2=0.5>>1/2 of it", True),
        ("<<3/2=1.5>>1.5.", True),
        ("<<3/2=1.5>>1.6.", False),
        ("<<1/5=20%>>0.2", True),
        ("<<1/5=0.2>>20%", True),
        ("<<1/5=0.2>>30%", False),
        ("<<1/3=33.3%>>33.3%", True),
        ("<<1/3=33.4%>>33.4%", False),
        ("<<1/3=.33>>.33", True),
        ("<<1/8=0.13>>0.13", True),  # half of the last place is still rounding
        ("<<1/8=0.12>>0.12", True),
        ("<<1/8=0.14>>0.14", False),
        ("<<1/8=0.125>>0.13", True),
        ("<<1/8=0.125>>0.14", False),
        ("<<1/8=0.1>>0.125", True),
        ("<<10/4=3>>3", True),
        ("<<10/4=4>>4", False),
        ("<<1+1=2=2>>2", True),
        ("<<1+2=2=2>>2", False),
        ("<<1+2=2=2=2=2>>2", False),
        ("<<9=1+1=2=2=2=2>>2", True),  # four sides before the value are read
        ("<<x=1/2>>", None),
        ("<<1/2=x/2>>", None),
        ("<<1/0=5>>", None),
        ("<<2=2=x=2>>", None),
        ("<<5=%>>", None),
        ("<<5=.>>", None),
        ("<<5=$>>", None),
        ("<<x=18>>19", None),
        ("<<x+2=5>>5", None),
        ("<<2+3=y>>", None),
        ("<<5>>", None),
        ("<<=>>", None),
        ("<<>>", None),
    ],
)
def test_whether_a_step_is_right(text, right):
    assert [step.right for step in steps(text)] == [right]


def test_steps_come_in_order():
    text = "16 - 3 = <<16-3=13>>13, 13 * 2 = $<<13*2=27>>27"
    assert steps(text) == [Calculation("16-3", "13", True), Calculation("13*2", "27", False)]
    assert steps("<< 1 + 1 = 2 = 2 >>") == [Calculation("1 + 1 = 2", "2", True)]
    assert steps(f"<<{'1+' * 247}1=0248>>") == [Calculation("1+" * 247 + "1", "0248", True)]
    assert steps(f"<<{'1+' * 247}1=00248>>") == []  # more than 500 characters are no annotation


def test_a_rationale_is_valid_if_all_its_steps_are_right():
    assert valid("<<9*2=18>>18 <<1+1=2>>2") is True
    assert valid("<<9*2=18>>18 <<1+1=3>>3") is False
    assert valid("<<9*2=18>>18 <<x=3>>3") is False
    assert valid("9 * 2 = 18") is None


@pytest.mark.slow
def test_nearly_all_human_steps_are_right():
    found = Counter()
    with open(data_file("gsm8k/train.jsonl"), encoding="utf-8") as file:
        for line in file:
            found.update(step.right for step in steps(json.loads(line)["answer"]))
    assert found.total() > 20_000
    assert found[True] / found.total() > 0.999


@given(st.integers(-999, 999), st.integers(-999, 999), st.integers(1, 999), st.integers(0, 4))
def test_a_rounded_value_is_right_and_a_unit_off_is_wrong(a, b, c, places):
    value = Fraction(a * b, c)
    stated = f"{float(round(value, places)):.{places}f}"
    off = f"{float(round(value, places)) + 2 * 10**-places:.{places}f}"
    assert steps(f"<<{a}*{b}/{c}={stated}>>")[0].right is True
    assert steps(f"<<{a}*{b}/{c}={off}>>")[0].right is False


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.text(alphabet="0123456789+-*/^()%.,x=<> $ \n", max_size=200)))
def test_no_text_raises(text):
    evaluate(text)
    steps(f"<<{text}>>{text}")
    valid(text)


@pytest.mark.parametrize("fragment", ["<<", "<<1=", "<<1=1>>", "(", "9^", "1,", "9*", "$"])
def test_long_repeats_are_quick(fragment):
    text = fragment * (1_000_000 // len(fragment))
    steps(text)
    steps(f"<<{text}=1>>")
    evaluate(text)
