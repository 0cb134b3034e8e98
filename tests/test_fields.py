"""Fields of rows: templates of several, turns of chats, and names that are not there."""

from __future__ import annotations

import pytest

from star_mlx.data import fields, value_of
from star_mlx.errors import TaskError

ROW = {"Body": "Tom has 3.", "Question": "How many? ", "n": 7, "blank": " ", "in": {"a": "x"}}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{Body} {Question}", "Tom has 3. How many?"),
        ("{Body}\n{Question}", "Tom has 3.\nHow many?"),
        ("{{{Body}}} {{x}}", "{Tom has 3.} {x}"),
        ("{n}: {in.a}", "7: x"),
        ("{Body} {blank?}", "Tom has 3."),
        ("{none?}\n{Body}", "Tom has 3."),
        ("{Body}\n{blank?}, {n}", "Tom has 3., 7"),
    ],
)
def test_a_template_is_filled(template, text):
    assert fields.filled_with(ROW, template) == text


def test_a_template_is_filled_once():
    row = {"a": "{b} {{", "b": "x"}
    assert fields.filled_with(row, "{a}|{b}") == "{b} {{|x"


@pytest.mark.parametrize(
    ("template", "wrong"),
    [
        ("{Body} {none}", "its none is missing"),
        ("{Body} {blank}", "its blank is blank"),
        ("{in}", "should be text, not an object"),
    ],
)
def test_a_field_that_a_row_lacks_is_an_error(template, wrong):
    with pytest.raises(TaskError, match=wrong):
        fields.filled_with(ROW, template)


@pytest.mark.parametrize(
    ("template", "wrong"),
    [
        ("{Body", "has a '{' without its partner"),
        ("Body}", "has a '}' without its partner"),
        ("{} {Body}", "has '{}' without the name of a field"),
        ("{?} {Body}", "without the name of a field"),
        ("{{Body}}", "names no field"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(template, wrong):
    with pytest.raises(TaskError) as error:
        fields.placeholders(template)
    assert wrong in str(error.value)


# --------------------------------------------------------------------------- chats


def chat(*turns, keys=("role", "content")):
    return {"messages": [dict(zip(keys, turn, strict=True)) for turn in turns]}


@pytest.mark.parametrize("keys", [("role", "content"), ("from", "value")])
def test_the_turn_of_a_role_is_a_field(keys):
    row = chat(("system", "Be kind."), ("user", "2?"), ("assistant", "Two."), keys=keys)
    assert value_of(row, "messages.user") == "2?"
    assert value_of(row, "messages.assistant") == "Two."
    assert value_of(row, "messages.human") is None
    assert fields.names_of(row) == [
        "messages", "messages.system", "messages.user", "messages.assistant",
    ]  # fmt: skip
    assert fields.has(row, "messages.user") and not fields.has(row, "messages.human")


def test_a_conversation_of_several_turns_is_no_problem():
    row = chat(("user", "2?"), ("assistant", "Two."), ("user", "Sure?"))
    with pytest.raises(TaskError, match="its messages have 2 turns of user: a problem is one"):
        fields.text(row, "messages.user")
    with pytest.raises(TaskError, match="0 turns of system"):
        fields.text(row, "messages.system")


@pytest.mark.parametrize(
    "value",
    ["user", [], [1], [{"role": "user"}], [{"role": 1, "content": "x"}], [{"a": 1}, 2], None],
)
def test_what_is_no_chat_has_no_turns(value):
    assert fields.turns(value) == {}


# --------------------------------------------------------------------------- names


def test_a_null_is_there_and_a_missing_field_is_not():
    row = {"a": None, "b": {"c": None}, "d.e": 1}
    assert all(fields.has(row, name) for name in ("a", "b.c", "d.e"))
    assert not any(fields.has(row, name) for name in ("x", "b.x", "a.x"))


def test_a_wrong_name_is_said_with_the_nearest_and_the_others():
    text = fields.unknown("boddy", ["Question", "Body"], "of x.csv ")
    assert text == (
        "no row of x.csv has a field 'boddy': did you mean 'Body'? "
        "The fields are 'Question', 'Body'"
    )
    assert fields.unknown("zzz", ["a"]) == "no row has a field 'zzz': the fields are 'a'"
    assert fields.unknown("zzz", map(str, range(99))).endswith("'11' and 87 more")
