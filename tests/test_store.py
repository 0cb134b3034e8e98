"""The run folder: what is journalled is there, what is not is gone."""

from __future__ import annotations

import errno
import json
import os
import re
import zlib
from dataclasses import asdict
from dataclasses import replace as replaced
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest

from star_mlx.errors import RunError
from star_mlx.store import journal, reading, writing
from star_mlx.store.files import json_line, replace
from star_mlx.store.journal import Chunk, Finished, Journal, ResultEntry, TrainedEntry, Verdicts
from star_mlx.store.metrics import Measured, Metrics
from star_mlx.store.reading import RunRecord
from star_mlx.store.results import Result
from star_mlx.types import Attempt, Example, Step, Trained
from tests.lines import json_lines

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
    file = path / "iterations/001/attempts.jsonl"
    os.truncate(file, 5)
    short = f"{file} is shorter than its journal says: the run folder is damaged"
    assert refused(path) == short and file.stat().st_size == 5
    file.unlink()
    assert refused(path) == f"{file} is missing, but the journal of {path} speaks of it"
    file.mkdir()
    assert refused(path) == f"{file} cannot be written: Is a directory"
    file.rmdir()
    (path / "elsewhere").write_bytes(b"mine")
    file.symlink_to(path / "elsewhere")
    link = "is a symbolic link: a run is written to its own folder alone"
    assert refused(path) == f"{file} {link}" and (path / "elsewhere").read_bytes() == b"mine"
    file.unlink()
    for name in ("journal.jsonl", "metrics.jsonl", "iterations"):
        away = (path / name).exists() and (path / name).rename(path / "away")
        (path / name).symlink_to(away or path / "elsewhere")
        assert refused(path) == f"{path / name} {link}"
        (path / name).unlink()
        if away:
            (path / "away").rename(path / name)


def test_rows_of_a_chunk_that_was_cut_off_are_cut_before_the_next_is_written(tmp_path):
    """A crash leaves at most the rows of one chunk; more than that is nobody's to cut."""
    recipe = {**RECIPE, "generate": {"chunk": 2, "samples": 2}}
    path = tmp_path / "run"
    file = path / "iterations/001/attempts.jsonl"
    with writing.opened(path, recipe) as run:
        run.save_chunk(1, "direct", 0, rows("a"), 1.0)
        whole = file.read_bytes()
        assert file.stat().st_mode & 0o777 == 0o666 & ~umask()
        file.write_bytes(whole + b"\n" * 4 + b"{")
        run.save_chunk(1, "direct", 1, rows("b"), 0.12345)
        assert file.read_bytes() == whole + whole.replace(b'"a"', b'"b"')
        assert run.chunk(1, "direct", 1) == (rows("b"), 0.123)
        assert (run.count(1, "direct"), run.count(1, "hinted")) == (2, 0)
        whole = file.read_bytes()
    many = (
        f"{file} has more rows than its journal names, so the journal was cut short: put it back, "
        "or move the file away to have its rows made again"
    )
    for tail in (b"\n" * 5, b"\n" * 4 + b"{}\n"):
        file.write_bytes(whole + tail)
        assert refused(path) == many and file.read_bytes() == whole + tail
    file.write_bytes(whole + b"\n")
    with writing.opened(path, recipe) as run:
        assert file.read_bytes() == whole
        file.write_bytes(whole + b"\n" * 5)
        with pytest.raises(RunError) as caught:
            run.save_chunk(1, "direct", 2, rows("c"), 1.0)
        assert str(caught.value) == many and file.read_bytes() == whole + b"\n" * 5
        run.save_chunk(2, "direct", 0, rows(*"abcdef"), 1.0)  # more than the recipe says
        assert run.chunk(2, "direct", 0) == (rows(*"abcdef"), 1.0)


def umask() -> int:
    os.umask(mask := os.umask(0))
    return mask


def test_what_a_run_journals(tmp_path):
    path = tmp_path / "run"
    with writing.opened(path, RECIPE) as run:
        run.save_chunk(1, "direct", 0, rows("a"), 0.5)
        run.save_chunk(1, "hinted", 0, rows("b", "c"), 1.0)
        run.save_trained(1, Trained(Path("x"), 3, 1.5, 9, 2.0, 1.0, 0.5, ("t",), 0.25))
        one, two = rows("a", "b")
        run.finish(Metrics(1), [one, replaced(one, correct=False), replaced(two, correct=False)])
        assert run.solved == {"a": True, "b": False}
        kept = run.save_result(result("dev"))
        assert run.record().journal == journal.read(path)
    recipe = (path / "recipe.yaml").read_bytes()
    assert recipe == b"task:\n  name: arithmetic\nseed: 0\n"
    file = (path / "iterations/001/attempts.jsonl").read_bytes()
    end = file.index(b"\n") + 1
    [line] = (path / "metrics.jsonl").read_bytes().splitlines()
    place = {"iteration": 1, "kind": "direct", "index": 0, "rows": 1, "offset": 0, "bytes": end}
    entries = list(json_lines(path / "journal.jsonl"))
    assert all(entry.pop("sum") and entry.pop("time") for entry in entries)
    assert entries == [
        {"event": "created", "recipe_sha256": digest(recipe)},
        {"event": "chunk", **place, "seconds": 0.5, "sha256": digest(file[:end])},
        {"event": "chunk", **place, "kind": "hinted", "rows": 2, "offset": end,
         "bytes": len(file) - end, "seconds": 1.0, "sha256": digest(file[end:])},
        {"event": "trained", "iteration": 1, "steps": 3, "epochs": 1.5, "tokens": 9,
         "first_loss": 2.0, "last_loss": 1.0, "seconds": 0.5, "too_long": ["t"], "padding": 0.25,
         "files": {}},
        {"event": "iteration", "iteration": 1, "solved": ["a"], "failed": ["b"],
         "metrics_sha256": digest(line)},
        {"event": "result", "file": kept.name, "sha256": digest(kept.read_bytes())},
    ]  # fmt: skip


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def test_a_record_of_a_run_that_is_being_written_has_what_is_finished(tmp_path):
    path = trained_run(tmp_path / "run")
    with writing.opened(path, RECIPE) as run:
        record = run.record()
        assert (record.path, record.metrics, record.last) == (path, run.metrics, 1)
        assert list(record.examples(1)) == list(run.examples(1)) != []
        assert run.trained(1) == Trained(run.adapter(1), 1, 1.0, 9, 2.0, 2.0, 0.1, ())
        assert run.trained(0) is None and run.trained(2) is None
        (run.adapter(1) / "weights").write_bytes(b"other")
        with pytest.raises(RunError, match="weights is damaged: its checksum does not match"):
            run.trained(1)


def test_a_write_that_cannot_be_is_one_line_that_says_how_to_go_on(tmp_path):
    path = tmp_path / "run"
    goes_on = f"fix this and resume with star-mlx loop --run {path}"
    with writing.opened(path, RECIPE) as run:
        run.save_chunk(1, "direct", 0, rows("a"), 1.0)
        for number, name, write in (
            (1, "eval.jsonl", lambda: run.save_chunk(1, "dev", 0, rows("a"), 1.0)),
            (1, "adapter.partial", lambda: run.adapter_folder(1).__enter__()),
        ):
            file = path / f"iterations/{number:03d}/{name}"
            file.parent.rename(path / "away")
            file.parent.touch()
            with pytest.raises(RunError) as caught:
                write()
            assert str(caught.value) == (
                f"{file} cannot be written: File exists; finished work is kept: {goes_on}"
            )
            file.parent.unlink()
            (path / "away").rename(file.parent)
        folder = path / "iterations/001"
        with pytest.raises(RunError) as caught, run.adapter_folder(1):
            (folder / "adapter").touch()  # a file in its place
        assert str(caught.value) == (
            f"{folder / 'adapter'} cannot be written: Not a directory; finished work is kept: "
            f"{goes_on}"
        )
        (folder / "adapter").unlink()
        for file, write in (
            (path / "metrics.jsonl", lambda: run.finish(Metrics(0))),
            (folder / "examples.jsonl", lambda: run.save_examples(1, [])),
            (folder / "train.jsonl", lambda: run.save_steps(1, [])),
            (path / "journal.jsonl", lambda: run.journal("note")),
        ):
            kept = file.exists() and file.rename(path / "away")
            file.mkdir()
            with pytest.raises(RunError) as caught:
                write()
            assert str(caught.value) == (
                f"{file} cannot be written: Is a directory; finished work is kept: {goes_on}"
            )
            file.rmdir()
            if kept:
                kept.rename(file)
        (path / "results").touch()
        with pytest.raises(RunError) as caught:
            run.save_result(result("dev"))
        assert str(caught.value) == (
            f"{path / 'results'} cannot be written: File exists; finished work is kept: {goes_on}"
        )
        path.rename(tmp_path / "moved")
        path.mkdir()  # another folder in its place
        with pytest.raises(RunError) as caught:
            run.journal("resumed")
        assert str(caught.value) == (
            f"{path} was moved or removed while it was in use: nothing more is written; move it "
            "back and resume with star-mlx loop --run FOLDER"
        )
        assert list(path.iterdir()) == []


def test_an_iterations_folder_that_is_a_link_is_not_written_to(tmp_path):
    path = tmp_path / "run"
    (tmp_path / "elsewhere").mkdir()
    with writing.opened(path, RECIPE) as run:
        (path / "iterations").mkdir()
        (path / "iterations/001").symlink_to(tmp_path / "elsewhere")
        for write in (
            lambda: run.save_examples(1, []),
            lambda: run.save_chunk(1, "dev", 0, [], 1.0),
            lambda: run.adapter_folder(1).__enter__(),
        ):
            with pytest.raises(RunError) as caught:
                write()
            assert str(caught.value) == (
                f"{path / 'iterations/001'} is a symbolic link: a run is written to its own "
                "folder alone"
            )
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_staging_folder_that_is_a_link_is_left_alone(tmp_path):
    path = trained_run(tmp_path / "run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes").write_text("mine")
    staging = path / "iterations/001/adapter.partial"
    staging.symlink_to(tmp_path / "mine")
    with writing.opened(path, RECIPE):
        assert staging.is_symlink() and (tmp_path / "mine/notes").read_text() == "mine"


def test_iterations_of_another_run_are_taken_over_up_to_the_last_that_is_wanted(
    tmp_path, monkeypatch
):
    first = trained_run(tmp_path / "first")
    with writing.opened(first, RECIPE) as run:
        for number in (1, 2):
            run.save_chunk(number, "direct", 0, rows("a"), 1.5)
        run.finish(Metrics(2), rows("a", "z"))
        run.save_result(result("dev"))
    clock = SimpleNamespace(now=lambda zone: datetime(2030, 1, 2, tzinfo=zone))
    monkeypatch.setattr(journal, "datetime", clock)
    second = tmp_path / "second"
    with writing.opened(second, RECIPE) as run:
        run.take_over(reading.read(first), 1)
        assert [line.iteration for line in run.metrics] == [0, 1] and run.solved == {}
        assert run.chunk(1, "direct", 0) == (rows("a"), 1.5) and run.trained(1)
        assert run.chunk(2, "direct", 0) is None
        run.finish(Metrics(2))
    names = {f.relative_to(second).as_posix() for f in second.rglob("*") if f.is_file()}
    folder = "iterations/001"
    assert names == {".lock", "recipe.yaml", "journal.jsonl", "metrics.jsonl"} | {
        f"{folder}/{name}"
        for name in ("attempts.jsonl", "examples.jsonl", "train.jsonl", "adapter/weights")
    }
    assert (second / "metrics.jsonl").read_bytes() == (first / "metrics.jsonl").read_bytes()
    entries = list(json_lines(second / "journal.jsonl"))
    assert {entry["time"] for entry in entries} == {"2030-01-02T00:00:00+00:00"}
    events = [entry["event"] for entry in entries]
    assert events == ["created", "iteration", "trained", "iteration", "chunk", "iteration"]
    with writing.opened(second, RECIPE) as run:
        assert [line.iteration for line in run.metrics] == [0, 1, 2]


def test_a_journal_that_lacks_what_is_finished_is_refused(tmp_path):
    path = trained_run(tmp_path / "run")
    file = path / "journal.jsonl"
    says = f"star-mlx check {path} says what still holds"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(line for line in lines if b'"event":"iteration"' not in line))
    assert refused(path) == (
        f"{file} lacks iteration 0, which metrics.jsonl has, so it was cut short: put it back; "
        f"{says}"
    )
    file.write_bytes(b"".join(lines[:-1]))
    assert "lacks iteration 1, which" in refused(path)
    missing = (
        f"{file} is missing, so it is not known which work of the run is finished: put it back; "
        f"{says}"
    )
    file.unlink()
    assert refused(path) == missing
    (path / "metrics.jsonl").unlink()
    assert refused(path) == missing, "there are files of iterations"


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
    path = tmp_path / "run"
    with writing.opened(path, RECIPE):
        assert refused(path) == f"{path} is in use: another loop is running on it"
    with writing.opened(tmp_path / "run", RECIPE):
        pass


@pytest.fixture
def unlocked(monkeypatch):
    """A file system without locks: flock fails with this error."""

    def so(number):
        def flock(file, how):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("fcntl.flock", flock)

    return so


def test_a_file_system_without_locks_gets_a_lock_file(tmp_path, unlocked, recwarn):
    path = tmp_path / "run"
    with writing.opened(path, RECIPE):
        pass
    assert (path / ".lock").read_bytes() == b"", "left by a lock of the file system"
    unlocked(errno.ENOSYS)  # the run was copied to a network drive
    for _ in range(2):
        with writing.opened(path, RECIPE):
            assert str(os.getpid()) in (path / ".lock").read_text()
            assert refused(path) == f"{path} is in use: another loop is running on it"
    assert not recwarn.list


def test_a_lock_that_cannot_be_had_is_one_line(tmp_path, unlocked):
    unlocked(errno.ENOLCK)
    assert refused(tmp_path) == (
        f"{tmp_path} cannot be written to: No locks available: give a --run on a local disk"
    )


def test_what_cannot_be_a_run_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "file").write_text("mine")
    file, other, nowhere = (tmp_path / name for name in ("file", "other", "nowhere"))
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    (other / ".lock").touch()
    for act, path, says in (
        (writing.check, file, "is a file: a run needs a folder; give another --run"),
        (writing.check, file / "run",
         f"cannot be made: {file} is not a folder that can be written to"),
        (writing.check, other, "is not a run folder (it has no recipe.yaml) and is not empty"),
        (reading.read, nowhere, "is not a run folder: there is no such folder"),
        (reading.read, other, "is not a run folder: it has no recipe.yaml"),
    ):  # fmt: skip
        with pytest.raises(RunError) as caught:
            act(path)
        assert str(caught.value) == f"{path} {says}"
    assert writing.check(tmp_path / "new" / "deep" / "run") is False
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "other"]


def refused(path: Path) -> str:
    """What is said where a folder cannot be opened for writing."""
    with pytest.raises(RunError) as caught, writing.opened(path, RECIPE):
        pass
    return str(caught.value)


@pytest.mark.parametrize("denied", [os.W_OK, os.X_OK])
def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path, monkeypatch, denied):
    with writing.opened(tmp_path / "old", RECIPE):
        pass
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & denied)
    new = tmp_path / "deep" / "run"
    why = f"{tmp_path} is not a folder that can be written to"
    assert refused(new) == f"{new} cannot be made: {why}"
    assert not (tmp_path / "deep").exists()
    old = tmp_path / "old"
    if denied == os.W_OK:
        assert refused(old) == f"{old} cannot be written to: change its permissions"


def test_a_folder_that_fails_while_it_is_begun_is_refused(tmp_path, monkeypatch):
    def fail(*args, **more):
        raise OSError(30, "Read-only file system")

    path = tmp_path / "run"
    for name, says in (("mkdir", "cannot be written to"), ("exists", "cannot be made")):
        with monkeypatch.context() as patched:
            patched.setattr(Path, name, fail)
            assert refused(path) == f"{path} {says}: Read-only file system"
    monkeypatch.setattr("star_mlx.store.lock.FileLock.acquire", fail)
    assert refused(path) == f"{path} cannot be written to: Read-only file system"


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


def test_text_of_any_kind_is_one_line_of_json():
    line = json_line({"t": "a\nb\u2028\ud800"})
    assert line.count(b"\n") == 1 and json.loads(line) == {"t": "a\nb\u2028\ud800"}


# --------------------------------------------------------------------------- the journal


def entry(event: str, **fields) -> bytes:
    """A line as versions without checksums wrote it."""
    return json_line({"event": event, "time": "", **fields})


def chunk(index: int, kind: str = "direct", iteration: int = 1, **fields) -> bytes:
    place = {"iteration": iteration, "kind": kind, "index": index, "rows": 1}
    return entry("chunk", **{**place, "offset": 0, "bytes": 5, **fields})


def journal_of(path: Path, *lines: bytes) -> Journal:
    (path / "journal.jsonl").write_bytes(b"".join(lines))
    return journal.read(path)


def test_a_journals_line_ends_in_its_checksum():
    line = journal.line("chunk", {"iteration": 1, "kind": "ü"})
    found = re.fullmatch(
        rb'(\{"event":"chunk","time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00",'
        rb'"iteration":1,"kind":"(?:\xc3\xbc)"),"sum":"([0-9a-f]{8})"\}\n',
        line,
    )
    assert found and int(found[2], 16) == zlib.crc32(found[1] + b"}")


def test_a_checksum_has_eight_digits_whatever_its_value(tmp_path):
    written = [journal.append(tmp_path, "note", {"n": n}) for n in range(400)]
    sums = [line[-10:-2] for line in written]
    assert any(found.startswith(b"0") for found in sums)
    assert all(re.fullmatch(b"[0-9a-f]{8}", found) for found in sums)
    assert (tmp_path / "journal.jsonl").read_bytes() == b"".join(w + b"\n" for w in written)
    assert [(n, h.event, w) for n, h, w in journal.entries(tmp_path)] == [
        (number, "note", line) for number, line in enumerate(written, 1)
    ]


def test_a_journal_is_read_as_its_entries(tmp_path):
    trained = {"iteration": 2, "steps": 3, "epochs": 1.5, "tokens": 9, "first_loss": 2.0,
               "last_loss": 1.0, "seconds": 0.5}  # fmt: skip
    found = journal_of(
        tmp_path,
        entry("created", recipe_sha256="r"),
        chunk(0, offset=5, seconds=0.5, sha256="c"),
        chunk(1, offset=0),
        chunk(0, "hinted", offset=10),
        chunk(0, "dev", 2),
        chunk(2, "dev", 2),
        entry("trained", **trained, files={"a": "f"}),
        entry("iteration", iteration=1, solved=["p"], failed=["q"], metrics_sha256="m"),
        entry("result", file="x.json", sha256="s"),
        entry("of another version", iteration="?"),
    )
    first = Chunk(1, "direct", 0, 1, 5, 5, 0.5, "c")
    second, hinted = Chunk(1, "direct", 1, 1, 0, 5), Chunk(1, "hinted", 0, 1, 10, 5)
    assert found.recipe_sha256 == "r" and found.exists and not found.verified
    assert found.chunk(1, "direct", 0) == first and found.chunk(1, "direct", 2) is None
    assert found.chunk(3, "direct", 0) is None and found.chunk(2, "direct", 0) is None
    assert found.of_pass(1, "direct") == [first, second] and found.of_pass(4, "direct") == []
    assert found.of_pass(2, "dev") == [Chunk(2, "dev", 0, 1, 0, 5)], "up to the gap"
    assert found.of_file(1, "attempts.jsonl") == [second, first, hinted], "as they stand"
    assert found.of_file(1, "eval.jsonl") == found.of_file(3, "attempts.jsonl") == []
    assert list(found.files()) == [(1, "attempts.jsonl"), (2, "eval.jsonl")]
    assert found.trained == {2: TrainedEntry(**trained, files={"a": "f"})}
    assert found.finished == {1: Finished(1, "m")}
    assert found.results == {"x.json": ResultEntry("x.json", "s")}
    assert list(journal.verdicts(tmp_path)) == [Verdicts(1, ["p"], ["q"])]


def test_what_was_taken_out_is_no_longer_vouched_for(tmp_path):
    trained = {"steps": 3, "epochs": 1.5, "tokens": 9, "first_loss": 2.0, "last_loss": 1.0,
               "seconds": 0.5}  # fmt: skip
    every = [
        *(chunk(index, kind, 2) for kind in ("direct", "dev") for index in range(3)),
        *(entry("trained", iteration=n, **trained) for n in (1, 2)),
        *(entry("iteration", iteration=n) for n in (1, 2)),
        *(entry("result", file=name, sha256="s") for name in ("x.json", "y.json")),
    ]
    found = journal_of(
        tmp_path,
        *every,
        entry("dropped", what="chunks", iteration=2, kind="dev", index=1),
        entry("dropped", what="trained", iteration=2),
        entry("dropped", what="iteration", iteration=2),
        entry("dropped", what="result", file="y.json"),
    )
    assert list(found.chunks[2]) == [("direct", 0), ("direct", 1), ("direct", 2), ("dev", 0)]
    assert list(found.trained) == list(found.finished) == [1] and list(found.results) == ["x.json"]
    unknown = [
        entry("dropped", what="chunks", iteration=7, kind="dev"),
        entry("dropped", what="trained", iteration=7),
        entry("dropped", what="iteration", iteration=7),
        entry("dropped", what="result", file="z.json"),
        entry("dropped", what="something", iteration=2, file="x.json"),
    ]
    assert journal_of(tmp_path, *every, *unknown) == journal_of(tmp_path, *every)
    dropped = entry("dropped", what="chunks", iteration=2, kind="dev")
    assert list(journal_of(tmp_path, *every, dropped).chunks[2]) == [
        ("direct", 0), ("direct", 1), ("direct", 2),
    ]  # fmt: skip


def test_from_the_first_checksum_on_every_line_has_one(tmp_path):
    summed = journal.line("resumed", {})
    old, damaged = chunk(0), summed.replace(b"resumed", b"resumeD")
    says = f"star-mlx check {tmp_path} says what still holds"
    for lines, why in (
        ([old, summed, summed, old], "line 4 is damaged: it has no checksum"),
        ([old, damaged], "line 2 is damaged: its checksum does not match"),
        ([old, summed, b"{}\n"], "line 3 is damaged: it has no checksum"),
        ([chunk(0, rows="1")], "line 1 is damaged: Expected `int`, got `str` - at `$.rows`"),
        ([old, b'{"event":"x"}\n'], "line 2 is damaged: Object missing required field `time`"),
    ):
        with pytest.raises(RunError) as caught:
            journal_of(tmp_path, *lines)
        assert str(caught.value) == f"{tmp_path / 'journal.jsonl'}, {why}; {says}"
    assert journal_of(tmp_path, old, summed).verified
    assert not journal_of(tmp_path, old).verified
    cut_off = journal_of(tmp_path, old, summed[:-1])
    assert not cut_off.verified and cut_off.chunks == journal_of(tmp_path, old).chunks
    (tmp_path / "journal.jsonl").write_bytes(old + entry("iteration", iteration="1"))
    with pytest.raises(RunError) as caught:
        list(journal.verdicts(tmp_path))
    why = "Expected `int`, got `str` - at `$.iteration`"
    assert str(caught.value) == (f"{tmp_path / 'journal.jsonl'}, line 2 is damaged: {why}; {says}")


def test_no_journal_is_an_empty_one_and_one_that_cannot_be_read_is_named(tmp_path):
    assert journal.read(tmp_path) == Journal()
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(RunError) as caught:
        journal.read(tmp_path)
    assert str(caught.value) == f"{tmp_path / 'journal.jsonl'} cannot be read: Is a directory"


# --------------------------------------------------------------------------- reading


def measured(correct: int) -> Measured:
    return Measured("dev", 4, correct, correct / 4, (0.0, 1.0))


def test_the_best_iteration_is_the_most_accurate_the_earliest_of_equals_or_the_last():
    def record(*scores: int | None) -> RunRecord:
        lines = [Metrics(n, dev=None if s is None else measured(s)) for n, s in enumerate(scores)]
        return RunRecord(Path("r"), {}, lines)

    assert (record(1, 3, 3, 2).best, record(1, 3, 3, 2).last) == (1, 3)
    assert record(2, 1).best == 0 and record(None, 1, None, 0).best == 1
    assert record(None, None, None).best == 2
    assert (record().best, record().last) == (0, 0)


def test_what_recipe_yaml_holds_comes_apart_into_the_recipe_and_what_it_depends_on(tmp_path):
    path = tmp_path / "run"
    values = {**RECIPE, "provenance": {"base": {"hash": "x"}}}
    with writing.opened(path, values):
        pass
    record = reading.read(path)
    assert (record.path, record.recipe, record.provenance) == (path, RECIPE, values["provenance"])
    assert list(record.values.items()) == list(values.items())
    assert record.journal.exists and record.journal.recipe_sha256 == reading.file_sha256(
        path / "recipe.yaml"
    )
    with writing.opened(tmp_path / "plain", RECIPE):
        pass
    plain = reading.read(tmp_path / "plain")
    assert plain.values == RECIPE and plain.values is not plain.recipe
    assert plain.provenance == {}


def test_the_attempts_of_a_file_are_read_chunk_by_chunk(tmp_path):
    path = tmp_path / "run"
    with writing.opened(path, RECIPE) as run:
        run.save_chunk(1, "direct", 0, rows("a", "b"), 1.0)
        run.save_chunk(1, "hinted", 0, rows("c"), 1.0)
        run.save_chunk(1, "dev", 0, rows("d"), 1.0)
    file = path / "iterations/001/attempts.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"id":"unfinished"')
    record = reading.read(path)
    assert list(record.rows(1, "attempts.jsonl", Attempt)) == [rows("a", "b"), rows("c")]
    assert list(record.rows(1, "none.jsonl", Attempt)) == []
    bare = RunRecord(path, {}, [])
    with pytest.raises(RunError, match=r"attempts\.jsonl, line 4 is damaged"):
        list(bare.rows(1, "attempts.jsonl", Attempt))
    file.write_bytes(whole)
    assert list(bare.rows(1, "attempts.jsonl", Attempt)) == [rows("a", "b", "c")]
    file.write_bytes(whole[:-4])
    with pytest.raises(RunError) as caught:
        list(record.rows(1, "attempts.jsonl", Attempt))
    says = f"star-mlx check {path} says what still holds"
    unit = "chunk 0 of the pass hinted of iteration 1"
    assert str(caught.value) == f"{file} is damaged: {unit} is cut short; {says}"
    file.unlink()
    with pytest.raises(RunError) as caught:
        list(record.rows(1, "attempts.jsonl", Attempt))
    assert str(caught.value) == f"{file} is missing, but the journal of {path} speaks of it"
    file.mkdir()
    with pytest.raises(RunError) as caught:
        list(record.rows(1, "attempts.jsonl", Attempt))
    assert str(caught.value) == f"{file} cannot be read: Is a directory"


def test_rows_that_are_not_those_of_their_chunk_are_named(tmp_path):
    file = tmp_path / "run/iterations/001/attempts.jsonl"
    one = Chunk(1, "direct", 3, 2, 0, 0)
    line = json_line({**asdict(attempt("a")), "tokens": 3})
    assert reading.decoded(file, one, line * 2, Attempt) == rows("a", "a")
    for data, why in (
        (line * 3, " has 3 rows instead of 2"),
        (line, " has 1 rows instead of 2"),
        (line + b"{}\n", ", row 2: Object missing required field `id`"),
    ):
        with pytest.raises(RunError) as caught:
            reading.decoded(file, one, data, Attempt)
        assert str(caught.value) == (
            f"{file} is damaged: chunk 3 of the pass direct of iteration 1{why}; "
            f"star-mlx check {tmp_path / 'run'} says what still holds"
        )


def trained_run(path: Path) -> Path:
    """A run with a finished iteration 1, its files and their checksums."""
    with writing.opened(path, RECIPE) as run:
        run.finish(Metrics(0))
        run.save_examples(1, [Example("a", "p", "c", "direct", (1, 2), 1)])
        with run.adapter_folder(1) as out:
            (out / "weights").write_bytes(b"w" * 3_000_000)
        run.save_steps(1, [Step(1, 1, 2.0, 0.5, 1e-4, 9)])
        run.save_trained(1, Trained(Path("x"), 1, 1.0, 9, 2.0, 2.0, 0.1, ()))
        run.finish(Metrics(1))
    return path


def test_the_files_of_a_training_are_compared_with_their_checksums(tmp_path):
    path = trained_run(tmp_path / "run")
    folder = path / "iterations/001"
    record = reading.read(path)
    known = record.journal.trained[1].files
    assert known == {
        name: digest((folder / name).read_bytes())
        for name in ("examples.jsonl", "train.jsonl", "adapter/weights")
    }
    assert record.adapter(1) == folder / "adapter" and record.adapter(0) is None
    assert list(record.examples(1)) == [Example("a", "p", "c", "direct", (1, 2), 1)]
    assert list(record.steps(1)) == [Step(1, 1, 2.0, 0.5, 1e-4, 9)]
    assert list(record.examples(0)) == list(record.steps(7)) == []
    readers = {
        "examples.jsonl": record.examples,
        "train.jsonl": record.steps,
        "adapter/weights": record.adapter,
    }
    says = f"star-mlx check {path} says what still holds"
    for name, read in readers.items():
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:-2] + b" \n")
        with pytest.raises(RunError) as caught:
            read(1)
        why = "its checksum does not match"
        assert str(caught.value) == f"{folder / name} is damaged: {why}; {says}"
        (folder / name).unlink()
        with pytest.raises(RunError) as caught:
            read(1)
        missing = f"{folder / name} is missing, but the journal of {path} speaks of it"
        assert str(caught.value) == missing
        (folder / name).write_bytes(data)
        read(1)
    (folder / "adapter").rename(folder / "away")
    with pytest.raises(RunError) as caught:
        record.adapter(1)
    assert str(caught.value) == f"{path} has no iteration 1: its last is 1"


def test_lines_of_metrics_are_compared_with_their_checksums(tmp_path):
    path = trained_run(tmp_path / "run")
    file = path / "metrics.jsonl"
    first, second = whole = file.read_bytes().splitlines(keepends=True)
    assert [line.iteration for line in reading.read(path).metrics] == [0, 1]
    second_other = second.replace(b'"iteration":1', b'"iteration": 1')
    says = f"star-mlx check {path} says what still holds"
    for data, why in (
        ([first, second_other], "line 2 is damaged: its checksum does not match"),
        ([first, second[:-1]], "line 2 is damaged: it is cut short"),
        ([second[:-1]], "line 1 is damaged: it is cut short"),
        ([first, b"\n", second], "line 2 is damaged: it is empty"),
        ([b"{}\n"], "line 1 is damaged: Object missing required field `iteration`"),
    ):
        file.write_bytes(b"".join(data))
        for read in (reading.read, lambda path: writing.opened(path, RECIPE).__enter__()):
            with pytest.raises(RunError) as caught:
                read(path)
            assert str(caught.value) == f"{file}, {why}; {says}"
    file.unlink()
    assert reading.metrics_lines(path) == [] and reading.read(path).last == 0
    file.mkdir()
    with pytest.raises(RunError) as caught:
        reading.read(path)
    assert str(caught.value) == f"{file} cannot be read: Is a directory"
    file.rmdir()
    file.write_bytes(b"".join(whole))
    reading.read(path)


def result(split: str, iteration: int = 1) -> Result:
    return Result(split, 4, 0.5, (0.1, 0.9), {}, 0, 0, 9, of="it", iteration=iteration)


def test_results_are_read_in_the_order_they_were_made(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=lambda zone: datetime(2026, 1, 2, 3, 4, 5, tzinfo=zone))
    monkeypatch.setattr(writing, "datetime", clock)
    path = tmp_path / "run"
    with writing.opened(path, RECIPE) as run:
        files = [run.save_result(result(split)) for split in ("dev", "test", "test", "test")]
        again = run.save_result(result("dev", 12))
    assert [file.name for file in (*files, again)] == [
        "20260102T030405Z-dev-001.json", "20260102T030405Z-test-001.json",
        "20260102T030405Z-test-001-2.json", "20260102T030405Z-test-001-3.json",
        "20260102T030405Z-dev-012.json",
    ]  # fmt: skip
    again.unlink()
    record = reading.read(path)
    assert {f.name for f in (*files, again)} == record.journal.results.keys()
    assert sorted(files) == [file for file, _ in record.results()]
    assert [found for _, found in record.results()] == [
        result("test" if "-test-" in f.name else "dev") for f in sorted(files)
    ]
    assert record.test_reads() == 3
    (path / "results/20200101T000000Z-test-001.json").write_bytes(files[0].read_bytes())
    (path / "results/notes.json").write_text("mine")
    files[1].write_bytes(files[1].read_bytes().replace(b"0.5", b"0.6"))
    found = {file.name: kept for file, kept in record.results()}
    assert found["notes.json"] is None and found[files[1].name] is None
    assert found["20200101T000000Z-test-001.json"] == result("dev")
    files[2].unlink()
    assert record.test_reads() == 4, "one that is gone was read all the same"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff", "it is not UTF-8"),
        (b"a: [\n", "while parsing a flow node expected the node content, but found"),
        (b"- a\n", "it holds no recipe"),
        (b"1: a\n", "it holds no recipe"),
        (b"task: 1\nprovenance: [x]\n", "its provenance is not a mapping"),
    ],
)
def test_a_recipe_that_is_none_is_damaged(tmp_path, data, why):
    (tmp_path / "recipe.yaml").write_bytes(data)
    with pytest.raises(RunError) as caught:
        reading.read(tmp_path)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'recipe.yaml'} is damaged: {why}") and "\n" not in text
    assert text.endswith(f"; star-mlx check {tmp_path} says what still holds")
