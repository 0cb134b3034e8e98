"""The run folder: what is journalled is there, what is not is gone."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from star_mlx.errors import RunError
from star_mlx.store import reading, writing
from star_mlx.store.files import json_line, json_lines, replace
from star_mlx.store.metrics import Metrics
from star_mlx.types import Attempt, Example, Trained

RECIPE = {"task": {"name": "arithmetic"}, "seed": 0}


def attempt(name: str, text: str = "1 2", correct: bool = True) -> Attempt:
    return Attempt(name, False, text, text, correct, "stop", (1, 2, 3))


def rows(*names: str) -> list[Attempt]:
    return [attempt(name) for name in names]


def test_a_chunk_comes_back_as_it_was_saved(tmp_path):
    odd = attempt("ü", "line\nbreak \u2028 \x1b[31m \ud83d \U0001f600")
    with writing.opened(tmp_path / "run", RECIPE) as run:
        run.save_chunk(1, "direct", 0, rows("a", "b"), 1.5)
        run.save_chunk(1, "direct", 1, [odd], 0.5)
        assert run.chunk(1, "direct", 1) == ([odd], 0.5)
        assert run.chunk(1, "direct", 0) == (rows("a", "b"), 1.5)
    with writing.opened(tmp_path / "run", RECIPE) as run:
        assert run.chunk(1, "direct", 0) == (rows("a", "b"), 1.5)
        assert run.chunk(1, "direct", 2) is None
        assert run.chunk(1, "hinted", 0) is None


def test_an_examples_row_has_its_fields(tmp_path):
    example = Example("a", "p", "c", "direct", (1, 2), 1)
    with writing.opened(tmp_path / "run", RECIPE) as run:
        run.save_examples(1, [example])
    file = tmp_path / "run/iterations/001/examples.jsonl"
    assert file.read_bytes() == json_line(asdict(example))


def test_verdicts_are_those_of_the_finished_chunks(tmp_path):
    with writing.opened(tmp_path / "run", RECIPE) as run:
        run.save_chunk(1, "dev", 0, rows("a", "b"), 1.0)
        run.save_chunk(1, "dev", 1, [attempt("c", correct=False)], 1.0)
        run.save_chunk(2, "dev", 0, rows("d"), 1.0)
        assert run.verdicts(1, "dev") == {"a": True, "b": True, "c": False}
        assert run.verdicts(3, "dev") == {}
        file = tmp_path / "run/iterations/001/eval.jsonl"
        file.write_bytes(file.read_bytes().replace(b'"id":"b"', b'"id":"b '))
        with pytest.raises(RunError, match=r"eval\.jsonl is damaged: the checksum of chunk 0 of"):
            run.verdicts(1, "dev")


def test_what_the_journal_does_not_vouch_for_is_cut_off(tmp_path):
    path = tmp_path / "run"
    with writing.opened(path, RECIPE) as run:
        run.save_chunk(1, "direct", 0, rows("a"), 1.0)
    file = path / "iterations/001/attempts.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"id":"b","hin')
    journal = path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"event":"chunk","iterat')
    foreign = path / "iterations/001/notes.jsonl"
    foreign.write_bytes(json_line({"id": "never journalled"}))
    (path / "iterations/001/adapter.partial").mkdir()
    with writing.opened(path, RECIPE) as run:
        assert file.read_bytes() == whole
        assert run.chunk(1, "direct", 0) == (rows("a"), 1.0)
        assert foreign.read_bytes() == json_line({"id": "never journalled"})
        assert not (path / "iterations/001/adapter.partial").exists()
        run.save_chunk(1, "direct", 1, rows("b"), 1.0)
        assert run.chunk(1, "direct", 1) == (rows("b"), 1.0)
    assert [line["event"] for line in json_lines(journal)] == [
        "created",
        "chunk",
        "resumed",
        "chunk",
    ]


def test_a_damaged_folder_is_named_not_mended(tmp_path):
    path = tmp_path / "run"
    with writing.opened(path, RECIPE) as run:
        run.save_chunk(1, "direct", 0, rows("a"), 1.0)
    os.truncate(path / "iterations/001/attempts.jsonl", 5)
    with (
        pytest.raises(RunError, match="shorter than its journal"),
        writing.opened(path, RECIPE),
    ):
        pass
    (path / "iterations/001/attempts.jsonl").unlink()
    with pytest.raises(RunError, match="missing"), writing.opened(path, RECIPE):
        pass


def test_an_adapter_takes_its_place_whole_or_not_at_all(tmp_path):
    trained = Trained(Path("elsewhere"), 3, 1.0, 10, 1.0, 0.5, 0.1, ("x",))
    with writing.opened(tmp_path / "run", RECIPE) as run:
        with pytest.raises(KeyboardInterrupt), run.adapter_folder(1) as out:
            (out / "adapters.safetensors").write_text("half")
            raise KeyboardInterrupt
        assert not run.adapter(1).exists() and run.trained(1) is None
        with run.adapter_folder(1) as out:
            assert list(out.iterdir()) == []
            (out / "adapters.safetensors").write_text("whole")
        assert run.trained(1) is None, "an adapter counts when the journal says so"
        saved = run.save_trained(1, trained)
        assert saved.adapter == run.adapter(1) == run.trained(1).adapter
    with writing.opened(tmp_path / "run", RECIPE) as run:
        assert run.trained(1) == saved


def test_examples_come_back_without_those_carried_over(tmp_path):
    old = Example("a", "p", "c", "direct", (1, 2), 1)
    new = Example("b", "p", "c", "rationalized", (3,), 2, hint_shown=True)
    with writing.opened(tmp_path / "run", RECIPE) as run:
        run.save_examples(2, [old, new])
        assert run.examples(2) == (new,)
    line = next(json_lines(tmp_path / "run/iterations/002/examples.jsonl"))
    assert {"id", "prompt", "completion", "source"} <= set(line)


def test_metrics_and_ledger_are_read_back(tmp_path):
    with writing.opened(tmp_path / "run", RECIPE) as run:
        run.finish(Metrics(0))
        run.finish(Metrics(1), [attempt("a"), attempt("b", correct=False)])
        run.journal("iteration", iteration=2, solved=["b"], failed=[])  # cut off before its line
    with writing.opened(tmp_path / "run", RECIPE) as run:
        assert [line.iteration for line in run.metrics] == [0, 1]
        assert run.solved == {"a": True, "b": False}
    record = reading.read(tmp_path / "run")
    assert record.recipe == RECIPE and record.last == 1
    assert record.adapter(0) is None
    with pytest.raises(RunError, match="no iteration 7"):
        record.adapter(7)


def test_a_second_writer_is_refused_while_the_first_lives(tmp_path):
    with (
        writing.opened(tmp_path / "run", RECIPE),
        pytest.raises(RunError, match="in use"),
        writing.opened(tmp_path / "run", RECIPE),
    ):
        pass
    with writing.opened(tmp_path / "run", RECIPE):
        pass


def test_what_cannot_be_a_run_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="is a file"):
        writing.check(tmp_path / "file")
    with pytest.raises(RunError, match="cannot be made"):
        writing.check(tmp_path / "file" / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.tex").write_text("mine")
    with pytest.raises(RunError, match="not a run folder"):
        writing.check(tmp_path / "other")
    with pytest.raises(RunError, match="no such folder"):
        reading.read(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"no recipe\.yaml"):
        reading.read(tmp_path / "other")
    assert writing.check(tmp_path / "new" / "deep" / "run") is False
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "other"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder nobody can write to")
def test_an_unwritable_folder_is_refused():
    with (
        pytest.raises(RunError, match=r"cannot be (made|written)"),
        writing.opened(Path("/proc/self/run"), RECIPE),
    ):
        pass


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "metrics.jsonl"
    replace(file, b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace(file, b"new")
    assert file.read_bytes() == b"old"


def test_a_file_may_be_written_in_parts(tmp_path):
    replace(tmp_path / "file", (part for part in (b"one ", b"two")))
    assert (tmp_path / "file").read_bytes() == b"one two"


def test_a_line_that_is_not_json_is_named(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text('{"a":1}\nnonsense\n')
    with pytest.raises(RunError, match=r"x\.jsonl, line 2"):
        list(json_lines(file))


def test_text_of_any_kind_is_one_line_of_json():
    line = json_line({"t": "a\nb\u2028\ud800"})
    assert line.count(b"\n") == 1 and json.loads(line) == {"t": "a\nb\u2028\ud800"}
