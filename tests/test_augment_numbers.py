"""Finding the numbers of a text, and masking one of them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_mlx.augment import masking
from star_mlx.augment import written_number as why
from star_mlx.augment.masking import Masked
from star_mlx.augment.number_words import cardinal
from star_mlx.augment.numbers import find
from star_mlx.errors import TaskError

_PIECES = (
    "one two twenty five twenty-five hundred a thousand million and half third thirds dozen of "
    "twice the as second 1 2 0 1/2 2 1/0 1,000 1,00 3.5 .5 5kg $ % ½ 2½ - – / : 9:30 am 5th x "
    "X \\frac {2} {3} \\sqrt ^ _ $5$ \\text{ } [asy] [/asy] \\hspace{2mm} ٣ ² é . , ? ' \n"
)
PIECES = st.sampled_from(_PIECES.split(" "))
TEXTS = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=14).map(" ".join))
GLUED = st.lists(PIECES, max_size=14).map("".join)


def only(text, latex=False):
    """The single number of a text: its characters, its value, the masked text or why not."""
    (number,) = find(text, latex)
    shown = number.reason or masking.mask(text, number, "x")[0]
    value = None if number.value is None else str(number.value)
    return number.text, value, shown


@pytest.mark.parametrize(
    ("text", "found", "value", "masked"),
    [
        ("He has 48 clips.", "48", "48", "He has x clips."),
        ("It weighs 5kg.", "5", "5", "It weighs x kg."),
        ("an area of 5cm²", "5", "5", "an area of x cm²"),
        ("at 10am,", "10", "10", "at x am,"),
        ("It costs $3.50, he", "3.50", "7/2", "It costs $x, he"),
        ("It costs 3$.", "3", "3", "It costs x$."),
        ("a 3-page letter", "3", "3", "a x-page letter"),
        ("a buy-2-get-some offer", "2", "2", "a buy-x-get-some offer"),
        ("about 20% of", "20", "20", "about x% of"),
        ("it fell to -5 degrees", "5", "5", "it fell to -x degrees"),
        ("1,250,000 people", "1,250,000", "1250000", "x people"),
        ("12 000 people", "12 000", "12000", "x people"),
        ("1 250 000 000 people", "1 250 000 000", "1250000000", "x people"),
        ("one-and-a-half hours", "one-and-a-half", "3/2", "x hours"),
        ("2 and three quarters", "2 and three quarters", "11/4", "x"),
        ("two and two-thirds cups", "two and two-thirds", "8/3", "x cups"),
        ("half-a-dozen eggs", "half-a-dozen", "6", "x eggs"),
        ("12,50,000 rupees", "12,50,000", "1250000", "x rupees"),
        ("0.25 or", "0.25", "1/4", "x or"),
        ("drops .1 degree", ".1", "1/10", "drops x degree"),
        ("1/2 cup", "1/2", "1/2", "x cup"),
        ("1/3rd of it", "1/3rd", "1/3", "x of it"),
        ("1/4 as many", "1/4", "1/4", "x times as many"),
        ("2 1/2 cups", "2 1/2", "5/2", "x cups"),
        ("1 and 1/4 cups", "1 and 1/4", "5/4", "x cups"),
        ("2½ cups", "2½", "5/2", "x cups"),
        ("½ cup", "½", "1/2", "x cup"),
        ("2 and a half hours", "2 and a half", "5/2", "x hours"),
        ("3 million people", "3", "3", "x million people"),
        ("2 dozen eggs", "2", "2", "x dozen eggs"),
        ("twenty-five eggs", "twenty-five", "25", "x eggs"),
        ("Two hundred and five eggs", "Two hundred and five", "205", "x eggs"),
        ("a hundred forty-four", "a hundred forty-four", "144", "x"),
        ("twenty one-dollar bills", None, None, None),
        ("a dozen eggs", "a dozen", "12", "x eggs"),
        ("half a dozen eggs", "half a dozen", "6", "x eggs"),
        ("another dozen eggs", "dozen", "12", "another x eggs"),
        ("one and a half omelets", "one and a half", "3/2", "x omelets"),
        ("half of them", "half", "1/2", "x of them"),
        ("half as many", "half", "1/2", "x times as many"),
        ("half the cake", "half", "1/2", "x of the cake"),
        ("half the price", "half", "1/2", "x times the price"),
        ("half an hour", "half", "1/2", "x of an hour"),
        ("one-third of it", "one-third", "1/3", "x of it"),
        ("a third of it", "a third", "1/3", "x of it"),
        ("two thirds of it", "two thirds", "2/3", "x of it"),
        ("three quarters of it", "three quarters", "3/4", "x of it"),
        ("three quarters and a dime", "three", "3", "x quarters and a dime"),
        ("twice as many", "twice", "2", "x times as many"),
        ("once a week", "once", "1", "x times a week"),
        ("at least one apple", "one", "1", "at least x apple"),
        ("in one day", "one", "1", "in x day"),
        ("a 30-second break", "30", "30", "a x-second break"),
    ],
)  # fmt: skip
def test_a_number_is_found_and_masked(text, found, value, masked):
    if found is None:
        assert [number.text for number in find(text)] == ["twenty", "one"]
    else:
        assert only(text) == (found, value, masked)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("on the 5th day", why.ORDINAL),
        ("the second box", why.ORDINAL),
        ("the twenty-first box", why.ORDINAL),
        ("a third box", why.ORDINAL_OR_PART),
        ("an hour and a half later", why.ADDED),
        ("a million and a half people", why.ADDED),
        ("the other half of it", why.PART),
        ("cut in half", why.PART),
        ("dollars a dozen", why.AMOUNT),
        ("hundreds of people", why.INEXACT),
        ("this one", why.PRONOUN),
        ("the red one is", why.PRONOUN),
        ("one day, he", why.PRONOUN),
        ("no one came", why.PRONOUN),
        ("once he left", why.ONCE),
        ("they doubled it", why.MULTIPLE),
        ("at 10:30 am", why.TIME),
        ("on 5/12/2010", why.DATE),
        ("open 24/7", why.CODE),
        ("an mp3 player", why.CODE),
        ("COVID-19", why.CODE),
        ("his 20s", why.CODE),
        ("divided by 1/0", why.ZERO),
        ("٣ apples", why.FORM),
        ("9" * 700, why.LONG),
    ],
)  # fmt: skip
def test_a_number_that_is_not_masked_has_a_reason(text, reason):
    reasons = [number.reason for number in find(text)]
    assert reasons == [reason]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ages 3-12", [("3", why.RANGE), ("12", why.RANGE)]),
        ("at $5-$10", [("5", why.RANGE), ("10", why.RANGE)]),
        ("in the ratio 7:11", [("7", ""), ("11", "")]),
        ("in 2010 1/2 of it", [("2010", ""), ("1/2", "")]),
        ("2 3/2", [("2", ""), ("3/2", "")]),
        ("test them one by one", [("one", why.PRONOUN), ("one", why.PRONOUN)]),
        ("5 feet per second", [("5", "")]),
        ("ten feet a second later", [("ten", ""), ("second", why.ORDINAL)]),
        ("two third-graders", [("two", ""), ("third", why.ORDINAL)]),
        ("several, few, both and a pair", []),
    ],
)
def test_several_numbers(text, found):
    assert [(number.text, number.reason) for number in find(text)] == found


@pytest.mark.parametrize(
    ("text", "found", "value", "masked"),
    [
        (r"What is $50\%$?", "50", "50", r"What is $x\%$?"),
        (r"It costs $\$5$.", "5", "5", r"It costs $\$x$."),
        (r"$\frac{23}{7}$", r"\frac{23}{7}", "23/7", "$x$"),
        (r"$2\frac12$", r"2\frac12", "5/2", "$x$"),
        (r"$a\leq\frac{3}{4}$", r"\frac{3}{4}", "3/4", r"$a\leq x$"),
        (r"$\sqrt2$", "2", "2", r"$\sqrt x$"),
        (r"$\sqrt{2}$", "2", "2", r"$\sqrt{x}$"),
        (r"$15{,}600$", "15{,}600", "15600", "$x$"),
        (r"$a^{16}$", "16", "16", "$a^{x}$"),
        (r"$a_{12}$", "12", "12", why.INDEX),
        (r"$a^23$", "23", "23", why.INDEX),
        (r"$f^{-1}$", "1", "1", why.INDEX),
        (r"$162\text{ cm}^2$", None, None, None),
        (r"the $5^{\text{th}}$", "5", "5", why.ORDINAL),
        (r"$0.\overline{6}$", None, None, None),
        (r"\hspace{2mm}", "2", "2", why.LAYOUT),
        ("[asy] draw(3); [/asy]", "3", "3", why.FIGURE),
    ],
)
def test_numbers_in_latex(text, found, value, masked):
    if found is None:
        assert find(text, latex=True)[-1].reason in (why.UNIT, why.REPEATING)
    else:
        assert only(text, latex=True) == (found, value, masked)


def test_in_a_formula_a_comma_or_a_dash_may_be_between_two_numbers():
    texts = [r"$(2,125)$", r"$30-60-90$", r"$3-1/3$", r"$3:15$", r"$\log_5\frac{1}{25}$"]
    found = [[number.text for number in find(text, latex=True)] for text in texts]
    assert found == [
        ["2", "125"], ["30", "60", "90"], ["3", "1/3"], ["3", "15"], ["5", r"\frac{1}{25}"]
    ]  # fmt: skip


def test_a_number_that_is_in_a_figure_too_is_not_masked():
    text = 'The side is $3$ and $4$. [asy] label("3"); [/asy]'
    assert [number.reason for number in find(text, latex=True)] == [why.FIGURE, "", why.FIGURE]


def test_a_dollar_sign_is_money_or_begins_a_formula():
    assert [number.kind for number in find("$5 and $6")] == ["money", "money"]
    assert [number.kind for number in find("$5$ and \\$6", latex=True)] == ["integer", "money"]


@given(st.integers(0, 999_999))
def test_every_number_in_words_has_its_value(value):
    assert cardinal(words(value)) == value
    (number,) = find(words(value) + " apples")
    assert (number.value, number.text) == (value, words(value)) or value == 1


def words(value):
    """A number in words, as it is spelled in American English."""
    ones = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    ones += "fifteen sixteen seventeen eighteen nineteen"
    tens = "twenty thirty forty fifty sixty seventy eighty ninety"
    if value < 20:
        return ones.split()[value]
    if value < 100:
        ten, one = divmod(value, 10)
        return tens.split()[ten - 2] + (f"-{words(one)}" if one else "")
    size, name = (1000, "thousand") if value >= 1000 else (100, "hundred")
    most, rest = divmod(value, size)
    return f"{words(most)} {name}" + (f" {words(rest)}" if rest else "")


@given(st.one_of(TEXTS, GLUED), st.booleans(), st.sampled_from("xX"))
def test_masking_is_reversible_character_for_character(text, latex, variable):
    for number in find(text, latex):
        assert text[number.start : number.end] == number.text
        masked, record = masking.mask(text, number, variable)
        assert masking.restore(masked, record) == text
        assert masking.restore(masked + "\nand more", record) == text + "\nand more"


@given(st.one_of(TEXTS, GLUED), st.booleans())
def test_every_digit_is_in_one_number_and_each_has_a_value_or_a_reason(text, latex):
    numbers = find(text, latex)
    places = [place for number in numbers for place in range(number.start, number.end)]
    assert places == sorted(set(places))
    assert {i for i, c in enumerate(text) if c.isdecimal()} <= set(places)
    for number in numbers:
        assert number.reason or isinstance(number.value, Fraction)


def test_a_record_of_another_text_is_refused():
    with pytest.raises(TaskError, match="the record is of another text: it has no 'x' there"):
        masking.restore("none", Masked(1, 2, "5", "x", "integer"))


@pytest.mark.parametrize(
    ("text", "latex", "name"),
    [
        ("six boxes", False, "x"),
        ("a 3x4 table", False, "X"),
        ("x and X", False, None),
        (r"$\max(y)$ and a box", True, "X"),
        ("$XY = 3$", True, "x"),
        (r"$2xX$", True, None),
        (r"$\text{exact}$", True, "X"),
    ],
)
def test_the_variable_is_none_of_the_text(text, latex, name):
    assert masking.variable(text, masking.names(latex), latex) == name


def test_long_texts_take_no_time():
    for piece in ("1 234 ", "1,", "$$", "\\(", "two ", "half ", "1/", "[asy]", "\\frac{1}", "9:59"):
        find(piece * 3000, latex=True)
