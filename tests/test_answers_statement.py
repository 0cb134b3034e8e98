"""Texts that are stated as answers, whatever stands around them; several accepted answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_mlx.answers import accepted, after, brief, forms, joined, same_statement, stated
from star_mlx.answers.statement import cleaned, statements

WORDS = ["Paris", "New York", "the river bank", "U.S. Army", "C++", "x**2", "**kwargs", "__init__",
         "`print`", "3.5", "Lee*", "a: b", "yes or no", "A because B", "Dr. No", ":-)"]  # fmt: skip
FORMS = ["The answer is {}.", "The answer is: {}", "So, **the answer is {}.**",
         "The answer is **{}**.", "**The answer is:** {}", "The answer is:\n{}",
         "The answer is:\n\n**{}**\n", "the answer is {}",
         "The answer is 5. The answer is {}.\nIt is so.", "The answer is {}, because it follows.",
         "The answer is {} because it follows.", "The answer is {}. It follows."]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("word", WORDS)
def test_an_answer_is_read_back_from_its_usual_wordings(form, word):
    if word in ("**kwargs", "x**2") and "**" in form:  # nobody can tell which marks are whose
        return
    read = after(form.format(word), "The answer is")
    assert read is not None and same_statement(read, word)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("The answer is: **Paris**.", "Paris"),
        ("The answer is **Paris**, the capital.", "**Paris**, the capital"),
        ("The answer is = 5", "5"),
        ("The answer is:", None),
        ("The answer is:\nQ: What next?", None),
        ("The answer is\nParis", None),
        ("The answer is blue. The answer isn't red.", "blue. The answer isn't red"),
        ("The answer is blue.\nThe answer isn't red.", "blue"),
        ("The answer isn't red.", None),
        ("The answer is `Paris`.", "Paris"),
        ("The answer is *Paris*", "Paris"),
        ("The answer is x**2.", "x**2"),
        ("The answer is " + "x" * 15_000, "x" * 15_000),
    ],
)
def test_after_a_marker(text, read):
    assert after(text, "the answer is") == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("It is so. Answer: Paris.", "Paris"),
        ("**Answer:** Paris", "Paris"),
        ("The correct answer was Paris", "Paris"),
        ("The final answer to this question is: Paris", "Paris"),
        ("The answer choices: A\nB", None),
        ("The answer isn't red. x\ny", None),
        ("Paris", "Paris"),
        ("**Paris**", "Paris"),
        ("Paris, because it is the capital.", "Paris, because it is the capital"),
        ("It is Paris", None),
        ("I do not know", None),
        ("Unknown.", None),
        ("Paris. Rome", None),
        ("Paris\nRome", None),
        ("\\boxed{1", None),
        ("x" * 80, "x" * 80),
        ("x" * 81, None),
        ("", None),
    ],
)
def test_what_is_stated_in_other_words_or_alone(text, read):
    assert stated(text) == read


def test_a_marker_of_ones_own_has_no_other_words():
    assert stated("It is so. Answer: Paris", "####") is None
    assert stated("x\n#### **Paris**", "####") == "Paris"
    assert stated("Paris", "####") == "Paris"


def test_statements_begin_with_the_last_one():
    text = "The answer is 1. x\nAnswer: 2\nthe answer was 3"
    assert [*statements(text)] == ["3", "2", "1. x"]
    assert len([*statements("The answer is 1.\n" * 200)]) == 64


@pytest.mark.parametrize(
    ("answer", "gold", "same"),
    [
        ("Yes, because it flies", "yes", True),
        ("yes - since it flies", "yes", True),
        ("yes due to that", "Yes.", True),
        ("Paris, which is in France", "paris", True),
        ("**Paris**, the capital", "Paris", True),
        ("Paris. It is the capital", "Paris", True),
        ("yes or no", "yes", False),
        ("U.S. Army", "U.S.", False),
        ("Paris, Texas", "Paris", False),
        ("not Paris", "Paris", False),
        ("Parisian", "Paris", False),
        ("because of it", "", False),
        ("**", "", False),
        ("init", "__init__", True),
    ],
)
def test_a_statement_is_the_answer_whatever_follows(answer, gold, same):
    assert same_statement(answer, gold) is same


def test_a_statement_in_short():
    assert brief("x^2, because it is. So") == "x^2"
    assert brief("x^2. It is, because") == brief("**x^2**") == "x^2"
    assert [*forms("a because b because c")][2:] == ["a", "a because b"]


@given(st.text())
def test_no_text_raises_and_what_is_cleaned_is_clean(text):
    after(text, "answer"), stated(text), brief(text), [*forms(text)], [*statements(text)]
    assert cleaned(text) == cleaned(text).strip()


PLAIN = st.text("abcdefgXYZ ßé0123", min_size=1).filter(str.strip).map(str.strip)


@given(PLAIN, PLAIN, st.sampled_from(FORMS))
def test_an_answer_is_the_same_as_its_own_gold_only(a, b, form):
    read = after(form.format(a), "The answer is")
    assert read is not None and same_statement(read, a)
    assert same_statement(read, b) == (
        " ".join(a.casefold().split()) == " ".join(b.casefold().split())
    )


@given(st.lists(st.text(st.characters(exclude_characters="\u200a")), min_size=1))
def test_accepted_answers_are_each_kept_once(golds):
    assert accepted(joined(golds)) == tuple(dict.fromkeys(golds))


def test_accepted_answers_are_readable_and_no_plain_text_is_two():
    assert joined(["a", "b"]).replace("\u200a", " ") == "a ¦ b"
    assert accepted("a ¦ b") == ("a ¦ b",) and accepted("") == ("",)
