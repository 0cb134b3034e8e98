"""Reading and comparing answers."""

from __future__ import annotations

import json
import random
import threading
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from star_mlx.answers import (
    Notation,
    YesNo,
    after,
    choice,
    final_number,
    final_quantity,
    final_several,
    gold_number,
    last_number,
    normalized,
    number,
    same_math,
    same_number,
    same_set,
    same_statement,
    same_text,
    stated,
    steps,
)
from star_mlx.errors import TaskError
from tests.data_files import data_file
from tests.gsm8k_outputs import ALL

LABELS = "ABCDE"
TEXTS = ["dog", "river", "bank", "river bank", "cat food"]


# ------------------------------------------------------------------ numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18", 18),
        ("1,234", 1234),
        ("$1,234.00", 1234),
        ("1,00,000", 100000),
        ("1 000", 1000),
        ("-5", -5),
        ("−5", -5),
        ("-$5", -5),
        ("$-5", -5),
        ("+3", 3),
        ("3.5", Fraction(7, 2)),
        (".5", Fraction(1, 2)),
        ("1/2", Fraction(1, 2)),
        ("3 1/2", Fraction(7, 2)),
        ("-3 1/2", Fraction(-7, 2)),
        ("2½", Fraction(5, 2)),
        (r"\frac{1}{2}", Fraction(1, 2)),
        (r"3\dfrac{1}{2}", Fraction(7, 2)),
        ("50%", 50),
        (r"50\%", 50),
        ("1e3", 1000),
        ("1.5 * 10^3", 1500),
        ("18 dollars", 18),
        ("18 cm^2", 18),
        ("18 miles/hour", 18),
        ("€5", 5),
        ("(5)", 5),
        ("**18**", 18),
        ("$18$", 18),
        (" 18.\n", 18),
        ("１８", 18),
        ("2 million", 2_000_000),
        ("5 dollars and 20 cents", Fraction(26, 5)),
        ("", None),
        ("x", None),
        ("18 20", None),
        ("1,2,3", None),
        ("5/0", None),
        ("--5", None),
        ("1e999999999", None),
        ("1e999", None),
        ("9" * 100_000, None),
        ("٣", None),
        ("²", None),
    ],
)
def test_the_value_of_a_number(text, value):
    assert number(text) == value


@given(st.integers(-(10**30), 10**30), st.sampled_from(["{}", "${:,}", "{:,}", "{}.00", "{} eggs"]))
def test_every_integer_is_read_however_it_is_written(value, form):
    assert number(form.format(value)) == value
    assert same_number(final_number(f"2 * 3 = 6\n#### {form.format(value)}"), str(value))
    assert same_number(final_number(f"The answer is {form.format(value)}."), str(value))


def test_the_same_number():
    for answer in ("18", "18.0", "18.00", "$18", " 18 ", "18 dollars", "36/2"):
        assert same_number(answer, "18")
    assert same_number("4 million", "4000000") and same_number("4 million", "4")
    assert not same_number("4", "4000000")
    assert same_number("1/2", "0.5") and same_number("1/3", "1/3")
    assert same_number("9" * 5000, "9" * 5000) and not same_number("9" * 5000, "9" * 4999)
    for answer, gold in (("25", "5"), ("5", "25"), ("5", "-5"), ("", ""), ("x", "x"), ("5", "x")):
        assert not same_number(answer, gold)


def test_the_last_number():
    assert last_number("He has 1,200 apples and $3.50.") == "3.5"
    assert last_number("10 - 5") == "5" and last_number("it is -5") == "-5"
    assert last_number("no number") is None
    assert last_number("7 apples " + "and more " * 50_000) == "7"
    assert last_number("12,345" + " " * 994) == "12345"


def test_a_gsm8k_gold():
    assert gold_number("9 * 2 = <<9*2=18>>18\n#### 1,800") == "1800"
    assert gold_number("-7") == "-7"
    for text in ("", "####", "none", "#### 1 or 2"):
        with pytest.raises(TaskError, match="is no number"):
            gold_number(text)


# ------------------------------------------------------------------ completions


@pytest.mark.parametrize(("completion", "right"), ALL)
def test_a_completion_is_read_as_a_person_reads_it(completion, right):
    read = final_number(completion)
    assert read == right or (read and right and same_number(read, right))


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "test"])
def test_every_human_solution_reads_as_its_gold(split):
    with open(data_file(f"gsm8k/{split}.jsonl"), encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    wrong = []
    for row in rows:
        steps, _, gold = row["answer"].rpartition("#### ")
        for text in (row["answer"], f"{steps}The answer is ${gold}.", f"{steps}\\boxed{{{gold}}}"):
            read = final_number(text)
            if read is None or not same_number(read, gold_number(row["answer"])):
                wrong.append((text, read))
    assert not wrong
    assert len(rows) == {"train": 7473, "test": 1319}[split]


# ------------------------------------------------------------------ any text


FRAGMENTS = [
    "#### ", "18", "1,234", "$", ".", ",", "-", "/", "%", "<<9*2=18>>", "<<", ">>", "=", "\\boxed{",
    "}", "{", "(", ")", "**", "the answer is ", "Answer: ", "\n", "\n\nQ: ", "Question: ",
    "<|im_end|>", "\\frac{1}{2}", " ", "x ", "eighteen ", "1e9", "1e999", "½", "１", "😊", "٣",
    "(A)", "B. ", "Step 1: ", "10:30", "a dog", "river", "1 000", "\\text{",
    "\\,", "\u202f", "</think>", "'", '"', "million", " dollars",
    " and 20 cents", "because ", "which is ", "\x00", "\ud800",
]  # fmt: skip


def read_all(text):
    for function in (final_number, last_number, number, normalized, gold_or_none, steps.steps):
        function(text)
    same_number(text, "18"), same_text(text, "18"), after(text, "answer")
    choice(text, LABELS, TEXTS)


def gold_or_none(text):
    try:
        return gold_number(text)
    except TaskError:
        return None


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.lists(st.sampled_from(FRAGMENTS)).map("".join)))
def test_no_text_raises(text):
    read_all(text)


def test_what_was_read_is_read_again_however_it_is_stated():
    rng = random.Random(0)
    for _ in range(1000):
        text = "".join(rng.choices(FRAGMENTS, k=rng.randrange(1, 9)))
        read = final_number(text)
        if read is None:
            continue
        assert last_number(read) == read
        for form in (
            "{}",
            "#### {}",
            "\\boxed{{{}}}",
            "The answer is {}.",
            "So it is **{}**, I hope",
        ):
            assert final_number(form.format(read)) == read, (text, form)


def takes_time_in_proportion(read, text):
    def seconds(text):
        start = time.process_time()
        read(text)
        return time.process_time() - start

    took = seconds(text)
    if took > 0.5:  # eight times the text: 8 times the time, and 64 where that is its square
        assert took < 24 * seconds(text[: len(text) // 8])


REPEATED = [
    "1,", "$", "(", "\\boxed{", " ", "#", "<<", "1", "111,", "1/", "1.", "**1", "\n1. ", "=1",
    "1 = 1 * ", "½", "\\frac{", "\\frac{1}{", "answer is ", "#### ", "\nQ:", "<<1=1>>", "</think>",
    "(A) ", "answer: A or ",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("fragment", REPEATED)
def test_reading_takes_time_in_proportion_to_the_length(fragment):
    text = fragment * (1_000_000 // len(fragment))
    for read in (
        final_number,
        last_number,
        number,
        steps.steps,
        lambda t: choice(t, LABELS, TEXTS),
    ):
        takes_time_in_proportion(read, text)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fragment",
    [*REPEATED, "yes or ", "not ", "because ", "1.111.", "1 111 ", "6 km/", "{", "- 1\n",
     "The answer is: ", "Yes. It ", "**"],
)  # fmt: skip
def test_words_units_and_parts_take_time_in_proportion_to_the_length(fragment):
    text = fragment * (80_000 // len(fragment))
    for read in (
        YesNo().read,
        final_quantity,
        final_several,
        stated,
        lambda t: same_statement(t, "18"),
        lambda t: same_set(t, "18"),
        Notation(",").standard,
        Notation(",", " ").standard,
    ):
        takes_time_in_proportion(read, text)


def test_the_answer_of_a_very_long_completion_is_read_at_either_end():
    filler = "So 2 + 2 = 4 eggs.\n" * 50_000
    assert final_number("#### 18\n" + filler) == "18"
    assert final_number(filler + "The answer is 18.") == "18"


# ------------------------------------------------------------------ texts


def test_what_stands_after_a_marker():
    assert after("The answer is 5.\nThe Answer Is river.\nBye", "the answer is") == "river"
    assert after("The answer is", "the answer is") is None
    assert after("no", "the answer is") is None


def test_texts_are_compared_without_what_does_not_matter():
    assert same_text(' "The  River." ', "the river") and same_text("ＡＢ", "ab")
    assert not same_text("river", "rivers")
    assert normalized("  A \n B. ") == "a b"


# ------------------------------------------------------------------ expressions


def test_expressions_are_compared_in_threads_too():
    assert same_math(r"\frac{\sqrt{8}}{2}", r"\sqrt{2}") and not same_math("x + 1", "x")
    assert not same_math("5x", "5") and not same_math("5\u00b2", "52")
    found = []
    thread = threading.Thread(target=lambda: found.append(same_math("2x + x", "3x")))
    thread.start()
    thread.join()
    assert found == [True]
