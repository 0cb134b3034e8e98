"""Finding the numbers of a text, and what they are worth."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from star_mlx.answers import gold_number
from star_mlx.answers.numerals import (
    LARGEST_EXPONENT,
    LONGEST,
    MOST_READ,
    NUMBER_WORDS,
    Numeral,
    ends,
    last_number,
    last_numeral,
    number,
    number_words,
    numerals,
    plain,
    ungrouped,
    written,
)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("１８", "18"),
        ("−5 ﹣5 －5 ‐5 ‑5 –5", "-5 -5 -5 -5 -5 -5"),
        ("1\u20072\u30003", "1 2 3"),
        ("1／2⁄3∕4", "1/2/3/4"),
        ("2×3✕4✖5·6⋅7∗8", "2*3*4*5*6*7*8"),
        ("6÷2", "6/2"),
        ("1，2．5％＄＝：＃", "1,2.5%$=:#"),
        ("½ 2¼ ¾ 3⅓⅔", " 1/2 2 1/4  3/4 3 1/3 2/3"),
        ("1\u200b2\u200c3\u200d4\ufeff5\u20606", "123456"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("1{,}234 1\\,234 1\\!234 1\\;234 1\\:234 1\\ 234", "1234 1234 1234 1234 1234 1234"),
        ("1\u00a0234 1\u2009234 1\u202f234", "1234 1234 1234"),
        ("1\u00a02345 1\\,2345 1{,}23 x\\,y", "1 2345 1 2345 1{,}23 x y"),
        ("\\frac{1}{2} 2\\dfrac{1}{2} \\tfrac 12 \\cfrac12", " 1/2 2 1/2  1/2  1/2"),
        ("\\text{cm} \\mathrm{a} \\textbf{b} \\rm c \\texts", " {cm}  {a}  {b}  c \\texts"),
        ("2 \\times 3 \\cdot 4 \\div 5 \\timesx", "2 * 3 * 4 / 5 \\timesx"),
        ("a \\approx 5 \\equiv 5 \\implies b", "a  =  5  =  5  =  b"),
        ("\\left(5\\right) \\quad\\(5\\) \\[5\\]", " (5 )   5   5 "),
        ("\\$5\\%\\#\\&\\_\\{\\}", "$5%#&_{}"),
        ("80 000, 1 200 000", "80000, 1200000"),
        ("1 200, 0 000, 12345 000", "1 200, 0 000, 12345 000"),
        ("1.5 * 10^3, 2x10^{-3}, 3 *10^12", "1.5e3, 2e-3, 3e12"),
        ("x * 10^3, a\\,234", "x * 10^3, a 234"),
        ("2 and a half, 2 and one-half, 2 and 1/2", "2 1/2, 2 1/2, 2 1/2"),
        ("2 and a halfway, a and a half", "2 and a halfway, a and a half"),
        ("at 10:30", "at  (time) "),
        ("at 10:00", "at 10"),
        ("1:2:30, 10:300, 10:30:00", "1:2:30, 10:300, 10:30:00"),
    ],
)
def test_alike_characters_and_latex_become_plain(text, same):
    assert plain(text) == same


def test_a_long_text_is_read_at_both_ends():
    text = "".join(f"{n}," for n in range(MOST_READ))
    half = MOST_READ // 2
    assert ends(text) == plain(text) == text[:half] + "\n" + text[-half:]
    assert ends(text[:MOST_READ]) == text[:MOST_READ]
    assert len(ends(text[: MOST_READ + 1])) == MOST_READ + 1


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("1 200", "1200"),
        ("10 200 300 apples", "10200300 apples"),
        ("1 20", "1 20"),
        ("0 200", "0 200"),
        ("1.1 200", "1.1 200"),
        ("1 200/3", "1 200/3"),
        ("a 5 100 b 6 200", "a 5100 b 6200"),
    ],
)
def test_thousands_apart_are_joined_where_one_number_is_expected(text, same):
    assert ungrouped(text) == same


def found(text: str) -> list[tuple[str, str]]:
    """What each number of a text is read as, and the part of the text it was read from."""
    return [(n.text, text[n.start : n.end]) for n in numerals(text)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("18 or -5", [("18", "18"), ("-5", "-5")]),
        ("-$5, $-5, $ 5, +5", [("-5", "-$5"), ("-5", "$-5"), ("5", "$ 5"), ("5", "+5")]),
        ("€5, 5€, £5.50", [("5", "€5"), ("5", "5"), ("5.5", "£5.50")]),
        ("5%-3, [5]-3, {5}-3", [("5", "5%"), ("3", "3"), *[("5", "5"), ("3", "3")] * 2]),
        ("-€5, -£5, -¥5", [("-5", "-€5"), ("-5", "-£5"), ("-5", "-¥5")]),
        ("-₹5, -₩5, -.5", [("-5", "-₹5"), ("-5", "-₩5"), ("-0.5", "-.5")]),
        ("¥5, ₹5, ₩5", [("5", "¥5"), ("5", "₹5"), ("5", "₩5")]),
        ("+x -x - 5", [("5", "5")]),
        ("x.5 3..5 (5).5", [("5", "5"), ("3", "3"), ("5", "5"), ("5", "5"), ("5", "5")]),
        ("--5", [("5", "5")]),
        ("a-5, (-5)", [("5", "5"), ("-5", "-5")]),
        ("5-3, 5 -3, 5 - 3", [("5", "5"), ("3", "3")] * 3),
        ("(5)-3", [("5", "5"), ("3", "3")]),
        ("1,234 1,23,456", [("1234", "1,234"), ("123456", "1,23,456")]),
        ("999,999,999", [("999999999", "999,999,999")]),
        ("12,34,56,789", [("123456789", "12,34,56,789")]),
        ("1,2345", [("1", "1"), ("2345", "2345")]),
        ("12,34", [("12", "12"), ("34", "34")]),
        ("0.50 5.0 5. .50", [("0.5", "0.50"), ("5", "5.0"), ("5", "5"), ("0.5", ".50")]),
        ("100.0", [("100", "100.0")]),
        ("1/2 or 3 / 4", [("1/2", "1/2"), ("3/4", "3 / 4")]),
        ("1/2/3", [("1", "1"), ("2/3", "2/3")]),
        ("1/2.5", [("1", "1"), ("2.5", "2.5")]),
        ("1/2,5", [("1", "1"), ("2", "2"), ("5", "5")]),
        ("1/123456789012", [("1/123456789012", "1/123456789012")]),
        ("3 100/200, 3 1/2.5", [("3 100/200", "3 100/200"), ("3", "3"), ("1", "1"),
                                ("2.5", "2.5")]),
        ("3 1/2 or -3 1/2", [("3 1/2", "3 1/2"), ("-3 1/2", "-3 1/2")]),
        ("5% or 5 %", [("5", "5%"), ("5", "5 %")]),
        ("1e3 1E-2 1e+2", [("1000", "1e3"), ("0.01", "1E-2"), ("100", "1e+2")]),
        ("1e3x", [("1", "1"), ("3", "3")]),
        ("-2e3", [("-2000", "-2e3")]),
        ("1e0301 1e301 1e-301", [("1", "1"), ("0301", "0301"), ("1e301", "1e301"),
                                 ("1e-301", "1e-301")]),
        ("2 million, 3 Thousand", [("2 million", "2 million"), ("3 thousand", "3 Thousand")]),
        ("2 millions, 2million", [("2", "2"), ("2", "2")]),
        ("5 dollars and 20 cents", [("5.2", "5 dollars and 20 cents")]),
        ("1 dollar, 5 cents.", [("1.05", "1 dollar, 5 cents")]),
        ("7 dollars 1 cent", [("7.01", "7 dollars 1 cent")]),
        ("5.5 dollars and 20 cents", [("5.5", "5.5"), ("20", "20")]),
        ("1/0 dollars and 20 cents", [("1/0", "1/0"), ("20", "20")]),
        ("5 dollars and 200 cents", [("5", "5"), ("200", "200")]),
        ("5 dollars and 20 cents and 7", [("5.2", "5 dollars and 20 cents"), ("7", "7")]),
    ],
)  # fmt: skip
def test_numbers_are_found_and_normalized(text, parts):
    assert found(text) == parts


def test_numbers_are_found_from_a_place_on():
    assert [n.text for n in numerals("1 2 3 4", 2)] == ["2", "3", "4"]
    assert [n.text for n in numerals("12 34", 1)] == ["2", "34"]
    assert next(numerals("a-5", 2)) == Numeral("5", 2, 3, False, False)
    assert next(numerals("x2", 1)).doubtful


@pytest.mark.parametrize(
    "text",
    [
        "cm2", "x_2", "x^2", "x^{2}", "n/2", "Step 2", "step 2", "steps #2", "Part 2", "question 2",
        "problem 2", "Example 2", "equation 2", "case 2", "option 2", "method 2", "In Step 2",
        "2. a", "2) a", "2.** a", "**2.** a", "  2. a", "> 2. a", "# 2. a", "2.   a",
        "many words before it\n2. a", "many words before it\n\n  2) a", "a\n2. a", "12345678901. a",
        " " * 13 + "2. a", "a\n" + " " * 13 + "2. a",
    ],
)  # fmt: skip
def test_a_number_that_is_a_name_is_doubtful(text):
    assert [n.doubtful for n in numerals(text)] == [True]
    assert [n.unfinished for n in numerals(text)] == [False]
    assert last_number(text) == next(numerals(text)).text  # for want of a better one
    assert last_number(f"7 apples\n{text}") == "7"


@pytest.mark.parametrize(
    "text",
    [
        "2", "a 2", "a -2", "stepped 2", "2.a", "2.", "2.  ", "2)\n", "a 2. b",
        "many words before it 2. b", "2: a", "- 2. a", "a. 2) b", "$2", "a$2", "cm^ 2", "step {2",
        "**2**", "12345678901234 2. a", "X 2. a",
        " " * 14 + "2. a", "a\n" + " " * 14 + "2. a",
    ],
)  # fmt: skip
def test_a_number_that_is_a_quantity_is_not_doubtful(text):
    assert not [*numerals(text)][-1].doubtful


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("1. 9 eggs\n2. 18 dollars\n3.", "18"),
        ("1. 9 eggs\n2. 18 dollars\n3. ", "18"),
        ("1. 9 eggs\n2. 18 dollars\n\n3.\n\n", "18"),
        ("1. 9 eggs\n2. 18 dollars\n3", "18"),
        ("1) 9 eggs\n2) 18 dollars\n3)", "18"),
        ("1: 9 eggs\n2: 18 dollars\n3:", "18"),
        ("(1) 9 eggs\n(2) 18 dollars\n(3)", "18"),
        ("**1.** 9 eggs\n**2.** 18 dollars\n**3.**", "18"),
        ("1. 9 eggs\n2. 18 dollars\n**3.**", "18"),
        ("  1. 9 eggs\n  2. 18 dollars\n  3.", "18"),
        ("## 1. 9 eggs\nSo\n## 2. 18 dollars\n## 3.", "18"),
        ("> 1. 9 eggs\n> 2. 18 dollars\n> 3.", "18"),
        ("9. 18 dollars\n10.", "18"),
        ("98. 18 dollars\n99.", "18"),
        ("1. 18 dollars\n2.", "18"),
        ("1. " + "many eggs " * 300 + "18\n2.", "18"),
        ("1. 18 dollars\n2" + "\n" * 99, "18"),
        ("1. Count eggs\n2. Sell them\n3.", None),
        ("1. Count eggs\n2.", None),
        # Other numbers at the end of a text are none of a list.
        ("1. 9 eggs\n2. 18 dollars\n\n3", "3"),
        ("1. 9 eggs\n2. 18 dollars\nSo\n3", "3"),
        ("1. 9 eggs\n2. 18 dollars\n4.", "4"),
        ("1. 9 eggs\n2. 18 dollars\n3)", "3"),
        ("1. 9 eggs\n2. 18 dollars\n3 left", "3"),
        ("1. 9 eggs\n2. 18 dollars\n$3.", "3"),
        ("1. 9 eggs\n2. 18 dollars\n3.0", "3"),
        ("1. 9 eggs\n2. 18 dollars\nSo 3.", "3"),
        ("1. 9 eggs\n2. 18 dollars\n3. ok", "18"),
        ("1. 9 eggs\n2. 18 dollars\nX 3.", "3"),
        ("1. 9 eggs\n2 18 dollars\n3", "3"),
        ("99. 9 eggs\n100.", "100"),
        ("12. 9 eggs\n3.", "3"),
        ("- 9 eggs\n- 18 dollars\n3.", "3"),
        ("2. eggs", "2"),
        ("1.", "1"),
        ("3.", "3"),
    ],
)
def test_the_index_after_which_a_list_breaks_off_is_no_number_of_it(text, last):
    assert last_number(text) == last


@pytest.mark.parametrize("filler", [0, 970, 979, 985, 990, 996, 1000, 1100, 5000])
@pytest.mark.parametrize("value", ["7", "12345", "3 1/2", "5 million", "x^2", "-4"])
def test_the_last_number_is_found_however_far_from_the_end(value, filler):
    text = f"{value} " + "." * filler
    assert last_number(text) == value.removeprefix("x^")
    place = last_numeral(text)
    assert text[place.start : place.end] == value.removeprefix("x^")
    assert place.doubtful == ("^" in value)


def test_a_doubtful_number_is_the_last_resort():
    assert last_number("18 cm^2") == "18"
    assert last_number("18" + " " * 2000 + "cm^2") == "18"
    assert last_number("the cm^2 and the x^3") == "3"
    assert last_number("5 " + "x^2 " * 1000) == "5"
    assert last_number("x^3 " + "x^2 " * 1000) == "2"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("about 18", 18),
        ("approximately $18", 18),
        ("about about 18", None),
        ("USD 18", 18),
        ("Rs 18", 18),
        ("rs18", None),
        ("a 18", None),
        ("~18", 18),
        ("[18", 18),
        ("18 1/2", Fraction(37, 2)),
        ("-3 1/2", Fraction(-7, 2)),
        ("10 200", 10200),
        ("$ 10 200", 10200),
        ("$$18$$", 18),
        ("about $$18", 18),
        ("X18", None),
        ("$X18", None),
        ("18 cm^{2}", 18),
        ("18 m2", 18),
        ("18 m4", None),
        ("18 = 18", None),
        ("18\n", 18),
        ("18\nx", None),
        ("18 " + "x" * 59, 18),
        ("18 " + "x" * 60, None),
        ("3 thousand", 3000),
        ("2.5 million", 2_500_000),
        ("-2 billion", -2_000_000_000),
        ("1/2 million", 500_000),
        ("1/0 million", None),
        ("1 1/0", None),
        ("0/5", 0),
        ("-1/2", Fraction(-1, 2)),
        ("2e-2", Fraction(1, 50)),
        ("5 dollars and 5 cents", Fraction(101, 20)),
        ("1e300", 10**300),
        ("1e-300", Fraction(1, 10**300)),
        ("1e301", None),
        ("1e-301", None),
        ("9" * LONGEST, 10**LONGEST - 1),
        ("9" * (LONGEST + 1), None),
        ("7" + " " * (4 * LONGEST - 1), 7),
        ("7" + " " * (4 * LONGEST), None),
        ("18 20", None),
        ("...", None),
    ],
)
def test_the_value_of_a_text_that_is_one_number(text, value):
    assert number(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(18), "18"),
        (Fraction(-3), "-3"),
        (Fraction(1, 2), "0.5"),
        (Fraction(-1, 4), "-0.25"),
        (Fraction(-5, 4), "-1.25"),
        (Fraction(1, 10**12), "0.000000000001"),
        (Fraction(1, 2**13), f"1/{2**13}"),
        (Fraction(1, 3), "1/3"),
        (Fraction(-22, 7), "-22/7"),
        (Fraction(10**30 + 1, 10**12), f"{10**18}.000000000001"),
    ],
)
def test_a_value_is_written_exactly(value, text):
    assert written(value) == text
    assert number(text) == value


@settings(max_examples=200, deadline=None)
@given(st.fractions(max_denominator=10**6))
def test_every_value_is_read_as_it_was_written(value):
    assert number(written(value)) == value


@settings(max_examples=100, deadline=None)
@given(st.integers(-(10**9), 10**9), st.integers(-LARGEST_EXPONENT, LARGEST_EXPONENT))
def test_every_power_of_ten_up_to_the_largest_is_read(value, exponent):
    assert number(f"{value}e{exponent}") == value * Fraction(10) ** exponent


def test_number_words():
    words = number_words()
    assert words == NUMBER_WORDS
    spelled = ["zero", "one", "seven", "ten", "twelve", "nineteen", "twenty", "thirty", "ninety"]
    assert [words[w] for w in spelled] == [0, 1, 7, 10, 12, 19, 20, 30, 90]
    pairs = [("twenty", "one"), ("forty", "two"), ("ninety", "nine")]
    assert [words[f"{a}-{b}"] for a, b in pairs] == [21, 42, 99]
    assert [words[f"{a} {b}"] for a, b in pairs] == [21, 42, 99]
    assert {words[w] for w in ("hundred", "a hundred", "one hundred")} == {100}
    assert set(words.values()) == set(range(101))
    assert len(words) == 20 + 8 + 2 * 8 * 9 + 3


@pytest.mark.parametrize("text", ["0", "7", "42", "007", "1" * 15, "1" * 16, "1,000", "-5"])
def test_a_plain_gold_number_is_read_as_by_the_rules_for_all_numbers(text):
    assert gold_number(text) == last_number(text)
    assert gold_number(f"Because. #### {text}") == last_number(text)
