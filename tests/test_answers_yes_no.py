"""Yes or no, in English and in the words of the data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_mlx.answers import YesNo

FORMS = ["{}", "{}.", "**{}**", "{}, because it flies.", "The answer is {}.", "The answer is: {}",
         "The answer is **{}**, since it is so.", "So the answer is: {} (it is).",
         "x\n\\boxed{{{}}}", "\\boxed{{\\text{{{}}}}}", "It flies.\n#### {}",
         "Birds fly. So the claim is {}.", "**Answer:** {}", "The answer is definitely {}.",
         "{}\nBecause it flies.", "<think>no yes false true</think>{}", "The answer is:\n{}",
         "{} - it flies", "Q: Is it? \nA: {}\nQ: And this?\nA: no yes"]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("word", ["yes", "no", "true", "false", "Yes", "NO", "True"])
def test_a_word_is_read_from_its_usual_wordings(form, word):
    assert YesNo().read(form.format(word)) == word.casefold()


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("The answer is not yes.", "no"),
        ("The answer isn't true.", "false"),
        ("The answer is: the claim is not really true.", "false"),
        ("So it is never false.", "true"),
        ("The claim is not true.", "false"),
        ("The answer is yes or no.", None),
        ("The answer is yes/no", None),
        ("The answer is yes, or yes.", "yes"),
        ("The answer is that it is true and that it is false.", None),
        ("Yes and no.", None),
        ("There are no birds.", None),
        ("No birds fly", None),
        ("No wonder.", None),
        ("It is known that it flies", None),
        ("True or false: it flies", None),
        ("The answer is no.\nThe answer is not known.", "no"),
        ("Yes. The opposite is false.", "yes"),
        ("Yes. But it does not fly. So no.", "no"),
        ("Yes, it flies. It is yellow.", "yes"),
        ("It flies.\nYes, it does.", "yes"),
        ("Yes.\nIt flies.", "yes"),
        ("So it is not the case that no bird flies", None),
        ("nothing", None),
        ("yesterday", None),
        ("", None),
        ("neİn İ", None),
    ],
)
def test_what_is_denied_doubtful_or_part_of_a_sentence(text, read):
    assert YesNo().read(text) == read


@pytest.mark.parametrize(
    ("yes", "no", "text", "read"),
    [
        ("ja", "nein", "Ja, weil er fliegt.", "ja"),
        ("ja", "nein", "Die Antwort ist nicht ja.", "nein"),
        ("ja", "nein", "Das ist nicht nein", "ja"),
        ("ja", "nein", "The answer is yes.", "yes"),
        ("はい", "いいえ", "The answer is はい。", "はい"),
        ("да", "нет", "**Нет**, так как", "нет"),
        ("sí", "no", "No, porque", "no"),
        ("positive", "negative", "The answer is not positive.", "negative"),
        ("no", "yes", "no", "no"),
    ],
)
def test_the_words_of_the_data(yes, no, text, read):
    assert YesNo([yes], [no]).read(text) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("</think>x\nThe answer is yes.</think>no", "no"),
        ("yes.\n</think>\n", "yes"),
        ("It flies. So yes.\n**", "yes"),
        ("The answer is (no birds fly\nx y", "no"),
        ("The answer is definitely no birds\nx y", "no"),
        ("The answer is clearly **no bird\nx y", "no"),
        ("The answer is: it is true\nx y", "true"),
        ("The answer is: it is true that\nx y", "true"),
        ("The answer is: it is not true that\nx y", "false"),
        ("The answer is: there are no birds\nx y", None),
        ("It flies. So yes. ", "yes"),
        ("no because it flies", "no"),
        ("- yes, it does", "yes"),
    ],
)
def test_where_a_word_stands(text, read):
    assert YesNo().read(text) == read


def test_words_of_several_words_and_words_without_blanks_between():
    assert YesNo(["ja"], ["ja nicht"]).read("The answer is ja nicht.") == "ja nicht"
    assert YesNo(["yes  sir"], ["no sir"]).value("Yes sir") is True
    assert YesNo(["right", "good"], ["bad"]).read("The answer is not good.") == "bad"
    assert YesNo(["はい"], ["いいえ"]).read("だからはい。") == "はい"


def test_a_marker_in_another_language():
    words = YesNo(["oui"], ["non"])
    assert words.read("La réponse est : non. Mais oui", "La réponse est") == "non"


def test_words_are_the_same_if_both_are_yes_or_no():
    words = YesNo(["ja"], ["nein"])
    assert words.same("Ja.", "yes") and words.same("**nein**", "false")
    assert not words.same("ja", "nein") and not words.same("perhaps", "ja")
    assert not words.same("perhaps", "perhaps")
    assert words.value("perhaps") is None
    assert YesNo(["no"], ["yes"]).value("no") is True  # the data's own meaning goes first


WORDS = st.sampled_from(["yes", "no", "not", "true", "false.", "The answer is", "or", "isn't", "**",
                         "so", "\n", "because", "it", "İ", "\\boxed{", "#### ", "n't"])  # fmt: skip


@given(st.one_of(st.text(), st.lists(WORDS).map(" ".join)))
def test_no_text_raises(text):
    assert YesNo().read(text) in {None, "yes", "no", "true", "false"}
    YesNo(["ja", "jawohl"], ["nein"]).read(text, text[:3])
