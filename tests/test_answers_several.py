"""Sets and lists: how their parts are written, read and compared."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_mlx.answers import Notation, final_several, parts, same_list, same_set

WRITTEN = ["2, 3", "2,3", "2; 3", "2 and 3", "{2, 3}", "{2; 3}", "[2, 3]", "(2, 3)", "2 or 3",
           "2 | 3", "\\{2, 3\\}", "$\\left\\{2, 3\\right\\}$", "**2**, **3**", "2, and 3",
           "x = 2 or x = 3", "both 2 and 3", "2 und 3", "2.0, 3", "$2$ and $3$"]  # fmt: skip
FORMS = ["The answer is {}.", "The answer is: {}", "The answer is {}, because it follows.", "{}",
         "x\n\n{}.", "#### {}", "**Answer:** {}", "The answer is {}. It follows."]  # fmt: skip


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("form", FORMS)
def test_parts_are_read_back_however_they_are_written(form, written):
    read = final_several(form.format(written))
    assert read is not None
    assert same_set(read, "2, 3") and same_set(read, "{3; 2}") and same_list(read, "2, 3")
    assert not same_list(read, "3, 2") and not same_set(read, "2, 4")
    assert not same_set(read, "2") and not same_set(read, "2, 3, 4")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("The answer is:\n- 2\n- 3", "2; 3"),
        ("The answer is:\n1. red\n2. blue\n", "red; blue"),
        ("Those are:\n* red\n* blue", "red; blue"),
        ("- a step\nThe answer is 2, 3", "2, 3"),
        ("\\boxed{\\{2, 3\\}}", "\\{2, 3\\}"),
        ("2, 3\nQ: What next?\nA: 4", "2, 3"),
        ("So the solutions are x = 2 and x = 3.", "x = 2 and x = 3"),
        ("Its two answers: 2, 3\nThat is all.", "2, 3"),
        ("The answer is 2, 3. Both solutions are right.", "2, 3. Both solutions are right"),
        ("#### 1\n#### 2", "1"),
        ("", None),
        ("\n", None),
    ],
)
def test_where_the_parts_are_read(text, read):
    assert final_several(text) == read


@pytest.mark.parametrize(
    ("a", "b", "as_set", "as_list"),
    [
        ("2, 3, 3", "3, 2", True, False),
        ("red and blue", "Blue, Red", True, False),
        ("6 km, 7 m", "6 m, 7 m", False, False),
        ("6 km, 7 m", "6, 7", True, True),
        ("6 kilometers, 50%", "6 km, 50 percent", True, True),
        ("2 apples, 3 pears", "3 apples, 2 pears", False, False),
        ("x=2, y=3", "x=3, y=2", False, False),
        ("(1,2), (3,4)", "(1,3), (2,4)", False, False),
        ("(1, 2) and (3, 4)", "{(3,4), (1,2)}", True, False),
        ("1,234, 5", "1234; 5", True, True),
        ("1234", "1, 234", False, False),
        ("none", "{}", True, True),
        ("\\emptyset", "no solutions", True, True),
        ("2", "{}", False, False),
        ("{}", "2", False, False),
        ("x, y and z", "z, y, x", True, False),
        ("salt and pepper, oil", "oil, salt and pepper", True, False),
        ("]", "[", False, False),
    ],
)
def test_the_same_parts(a, b, as_set, as_list):
    assert (same_set(a, b), same_list(a, b)) == (as_set, as_list)


def test_units_and_marks():
    assert same_set("6000 m, 1 h", "60 min; 6 km", convert=True)
    assert not same_list("6000 m", "6 km") and same_list("6000 m", "6 km", convert=True)
    german = Notation(",")
    assert same_list("2,5 und 1.234", "2,50; 1234", german)
    assert len(parts("100,200,300")) == 1 and len(parts("100,200,300", Notation(".", "none"))) == 3


def test_parts_as_they_are_compared():
    assert parts("X, XY; $x$ and $y_1$") == ("x", "xy", "x", "y_1")
    assert parts("\\left\\lbrace a,\\, b \\right\\rbrace") == ("a", "b")
    assert parts("( 1 , b ) , [c]") == ("(1,b)", "[c]")
    assert (
        parts("(1) and (a, b)") == parts("{(1) and (a, b)}") and len(parts("(1) and (a, b)")) == 2
    )
    assert parts("the list: a, both b") == ("a", "both b")
    assert parts("x = y = z, x = 3")[0] == "y = z" and parts("x = 2, 3") == parts("2, 3")
    assert parts("a) b, c") == ("a)b", "c") and parts("{a, b} or {c}") == ("{a,b}", "{c}")


def test_a_marker_of_ones_own_and_more_than_one_statement():
    assert final_several("Roots = 2, 3\nThis is it. x\ny", "Roots =") == "2, 3"
    assert final_several("The answer is 5.\n- 2\n- 3") == "5"
    assert final_several("x\n####2, 3\n#### 4") == "2, 3"


def test_very_many_parts_are_compared_as_a_text():
    many = ", ".join(map(str, range(1000)))
    assert same_set(many, many) and not same_set(many, many + ", 7")


NUMBERS = st.lists(st.integers(-99, 999), min_size=1, max_size=6)
SEPARATORS = st.sampled_from([", ", "; ", " and ", " | "])


@given(NUMBERS, NUMBERS, SEPARATORS, SEPARATORS)
def test_numbers_are_the_same_if_they_are(a, b, one, other):
    x, y = one.join(map(str, a)), other.join(map(str, b))
    assert same_set(x, y) == (set(a) == set(b)) and same_list(x, y) == (a == b)
    assert same_set(x, one.join(map(str, a[::-1] + a)))


@given(
    st.one_of(
        st.text(), st.lists(st.sampled_from([*list("([{,;|)]} 12ax=\\$*\n."), "and"])).map("".join)
    )
)
def test_no_text_raises(text):
    read = final_several(text)
    if read is not None:
        assert same_set(read, read) and same_list(read, read)
    assert same_set(text, text)


def test_order_and_brackets_in_all_mixtures():
    for order in itertools.permutations(["1", "2", "3"]):
        assert same_set("{" + "; ".join(order) + "}", "1, 2, 3")
        assert same_list(", ".join(order), "1, 2, 3") == (order == ("1", "2", "3"))
