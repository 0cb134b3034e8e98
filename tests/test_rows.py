"""Rows are read as their types, the quick reader's outcome is that of the whole row, and damage is
named."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_mlx.errors import RunError
from star_mlx.store import rows
from star_mlx.store.files import json_line
from star_mlx.types import Attempt, Example, Step

texts = st.text(max_size=20) | st.sampled_from(
    ['","correct":true', "\ud800", '\\"', "\u2028\n\r\x85"]
)
attempts = st.builds(
    Attempt,
    id=texts,
    hinted=st.booleans(),
    completion=texts,
    answer=st.none() | texts,
    correct=st.booleans(),
    finish=st.sampled_from(["stop", "length"]),
    token_ids=st.lists(st.integers(0, 300), max_size=3).map(tuple),
    rejected=st.sampled_from(["", "hint leak"]),
)


def row(id="a", **more):
    fields = {"hinted": False, "completion": "c", "answer": "1", "correct": True, "finish": "stop"}
    return {"id": id, **fields, "token_ids": [1, 2], **more}


@given(st.lists(attempts, max_size=5))
def test_attempts_come_back_as_they_were_written(made):
    data = rows.attempts(made)
    assert rows.decode(data, Attempt) == made
    found = rows.decode(data, rows.Outcome)
    assert [(o.id, o.hinted, o.correct, o.finish) for o in found] == [
        (a.id, a.hinted, a.correct, a.finish) for a in made
    ]
    shown = rows.decode(data, rows.AttemptText)
    assert [(t.completion, t.answer, t.rejected) for t in shown] == [
        (a.completion, a.answer, a.rejected) for a in made
    ]


def test_a_row_of_attempts_has_the_fields_in_order_and_its_number_of_tokens():
    made = Attempt("a", False, "1 2", "1 2", True, "stop", (1, 2, 3))
    [line] = rows.attempts([made]).splitlines()
    fields = {**asdict(made), "token_ids": [1, 2, 3], "tokens": 3}
    del fields["undecided"]
    assert list(json.loads(line).items()) == list(fields.items())


def test_an_undecided_attempt_comes_back_with_its_reason():
    made = Attempt("a", False, "1/2x", "1/2x", False, "stop", (1,), undecided="two readings")
    data = rows.attempts([made])
    assert rows.decode(data, Attempt) == [made]
    assert rows.decode(data, rows.AttemptText)[0].undecided == "two readings"


def test_an_example_comes_back_as_it_was_written():
    made = Example("a", "p", "c\ud83d", "rationalized", (1, 2), 3, hint_shown=True)
    assert rows.decode(b"".join(rows.examples([made])), Example) == [made]


def test_optimizer_steps_come_back_as_they_were_written():
    made = [Step(n, 2, 2.5 / n, 0.75, 1e-4, 300 * n) for n in (1, 2)]
    data = b"".join(rows.steps(made))
    assert rows.decode(data, Step) == made
    written = [{k: v for k, v in asdict(step).items() if k != "seconds"} for step in made]
    assert [json.loads(line) for line in data.splitlines()] == written


@pytest.mark.parametrize(
    ("hinted", "correct", "finish", "solved"),
    [
        (False, True, "stop", True),
        (False, True, "length", True),
        (False, False, "stop", False),
        (True, True, "stop", True),
        (True, True, "length", False),
    ],
)
def test_a_hinted_attempt_that_was_cut_off_solves_nothing(hinted, correct, finish, solved):
    assert rows.Outcome("a", hinted, correct, finish).solved is solved


def test_rows_of_another_hand_are_read_whatever_their_order():
    made = [row("a"), {"finish": "length", "correct": True, "id": "b", "hinted": True, "more": []}]
    data = "\n".join(json.dumps(r, ensure_ascii=False) for r in made).encode()
    assert [(o.id, o.solved) for o in rows.decode(data, rows.Outcome)] == [
        ("a", True),
        ("b", False),
    ]
    assert rows.decode(data, rows.Outcome) == rows.decode(data + b"\n", rows.Outcome)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (b'{"id":"x","hinted":fal', "line 1 column"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"id":"x"}', "missing required field `hinted`"),
        (json_line(row(id=7)).strip(), r"Expected `str`, got `int` - at `\$.id`"),
        (json_line(row(correct=1)).strip(), r"Expected `bool`, got `int` - at `\$.correct`"),
        (json_line(row(finish="end")).strip(), "Invalid enum value 'end'"),
        (json_line(row(token_ids=["1"])).strip(), r"Expected `int`, got `str` - at `\$.token_ids"),
        (json_line(row(completion="c")).replace(b'"c"', b'"\xff"').strip(), "utf-8"),
        (json_line(row(completion="c")).replace(b'"c"', b'"\\x"').strip(), "Invalid .escape"),
    ],
)
@pytest.mark.parametrize("before", [0, 7])
def test_damage_is_named_by_its_line(tmp_path, monkeypatch, damage, why, before):
    monkeypatch.setattr(rows, "BLOCK", 300)  # so that the blocks before are counted too
    good = json_line(row())
    file = tmp_path / "attempts.jsonl"
    file.write_bytes(good * before + damage + b"\n" + good)
    place = rf"attempts\.jsonl, line {before + 1} is damaged: .*{why}"
    with pytest.raises(RunError, match=place):
        list(rows.read(file, Attempt))


def test_a_file_is_read_whole_block_by_block(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK", 300)
    file = tmp_path / "attempts.jsonl"
    file.write_bytes(b"".join(json_line(row(str(i))) for i in range(50)))
    blocks = list(rows.read(file, rows.Outcome))
    assert len(blocks) > 5
    assert [o.id for block in blocks for o in block] == [str(i) for i in range(50)]
    file.write_bytes(b"")
    assert list(rows.read(file, rows.Outcome)) == []
    assert list(rows.read(tmp_path / "none.jsonl", rows.Outcome)) == []


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(RunError) as caught:
        list(rows.read(tmp_path, Attempt))
    assert str(caught.value) == f"{tmp_path} cannot be read: Is a directory"


def test_the_lone_half_of_a_pair_is_read_and_what_is_wrong_behind_it_is_named_in_one_line():
    half = json_line(row(completion="\ud83d"))
    assert [a.completion for a in rows.decode(half + json_line(row()), Attempt)] == ["\ud83d", "c"]
    wrong = half.replace(b"true", b"1")
    with pytest.raises(rows.Damaged) as caught:
        rows.decode(json_line(row()) + wrong, Attempt)
    assert (caught.value.line, caught.value.why) == (
        2, "Expected `bool`, got `int` - at `$.correct`",
    )  # fmt: skip
    assert str(caught.value) == f"row 2 is damaged: {caught.value.why}"
    with pytest.raises(rows.Damaged) as caught:
        rows.decode(half + b"\n", Attempt)
    assert caught.value.line == 2 and caught.value.why.startswith(
        "Expecting value: line 1 column 1"
    )


def test_an_attempt_that_is_parsed_already_is_checked_like_a_row():
    made = rows.attempt({**row("a"), "token_ids": [0, 7], "tokens": 2})
    assert made == Attempt("a", False, "c", "1", True, "stop", (0, 7))
    for more, why in (
        ({"token_ids": [3, -1]}, "its token_ids should be token numbers"),
        ({"hinted": 1}, "Expected `bool`, got `int` - at `$.hinted`"),
    ):
        with pytest.raises(rows.Damaged) as caught:
            rows.attempt({**row("a"), **more})
        assert (caught.value.line, caught.value.why) == (1, why)
