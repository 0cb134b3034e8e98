"""Verdicts are read without the texts, and are those that the whole rows give."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_mlx.errors import RunError
from star_mlx.store import outcomes, writing
from star_mlx.store.files import json_line
from star_mlx.types import Attempt

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


def expected(attempt):
    cut = attempt.hinted and attempt.finish == "length"
    return attempt.id, attempt.hinted, attempt.correct and not cut


@given(st.lists(attempts, max_size=5))
def test_the_rows_that_are_written_are_read_in_one_pass(rows):
    data = b"".join(json_line(writing.attempt_row(attempt)) for attempt in rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcomes, "_verdict", lambda *_: pytest.fail("read row by row"))
        assert outcomes.of(data) == [expected(attempt) for attempt in rows]


def test_rows_of_another_hand_are_read_as_json():
    rows = [
        row("a"),
        {"finish": "length", "correct": True, "id": "b", "hinted": True, "token_ids": []},
        {"id": "c", "hinted": False, "correct": False},  # what is not asked for may be missing
        row("d", hinted=True),
    ]
    found = [("a", False, True), ("b", True, False), ("c", False, False), ("d", True, True)]
    data = "\n".join(json.dumps(r, ensure_ascii=False) for r in rows).encode()
    assert outcomes.of(data) == outcomes.of(data + b"\n") == found


@pytest.mark.parametrize(
    "damage",
    [
        b'{"id":"x","hinted":fal',
        b"",
        b"[]",
        b'{"id":"x"}',
        b'{"id":"x\xff","hinted":false,"completion":"","answer":null,"correct":true,'
        b'"finish":"stop","token_ids":[1]}',
        b'{"id":"x","hinted":false,"completion":"\\x","answer":null,"correct":true,'
        b'"finish":"stop","token_ids":[1]}',
        b'{"id":"x","hinted":false,"completion":"tab\there","answer":null,"correct":true,'
        b'"finish":"stop","token_ids":[1]}',
    ],
)
@pytest.mark.parametrize("before", [0, 7])
def test_damage_is_named_by_its_line(tmp_path, monkeypatch, damage, before):
    monkeypatch.setattr(outcomes, "BLOCK", 300)  # so that the blocks before are counted too
    good = json_line(row())
    file = tmp_path / "attempts.jsonl"
    file.write_bytes(good * before + damage + b"\n" + good)
    with pytest.raises(RunError, match=rf"attempts\.jsonl, line {before + 1} is no attempt"):
        list(outcomes.read(file))


def test_a_file_is_read_whole_block_by_block(tmp_path, monkeypatch):
    monkeypatch.setattr(outcomes, "BLOCK", 300)
    file = tmp_path / "attempts.jsonl"
    file.write_bytes(b"".join(json_line(row(str(i))) for i in range(50)))
    blocks = list(outcomes.read(file))
    assert len(blocks) > 5
    assert [id for block in blocks for id, _, _ in block] == [str(i) for i in range(50)]
    file.write_bytes(b"")
    assert list(outcomes.read(file)) == []
