"""A run survives damage: what is damaged is named, nothing foreign is touched, nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from star_mlx.cli import main
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import RunError
from star_mlx.run import evaluate, loop
from star_mlx.store import check, journal, names, reading, writing
from star_mlx.store.files import json_line
from tests.scripts import learner
from tests.test_loop import recipe

SETTINGS = ("generate.chunk=8",)


def go(path, *settings, engine=None):
    loop.run(
        recipe(*SETTINGS, *settings),
        path,
        lambda event: None,
        engine=engine or ScriptedEngine(learner),
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run of three iterations with a measurement."""
    path = tmp_path_factory.mktemp("damage") / "run"
    go(path)
    evaluate.evaluate_run(path, "1", how=evaluate.How("test"), engine=ScriptedEngine(learner))
    return path


@pytest.fixture
def run(made, tmp_path):
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def contents(run):
    """The files that a run's result consists of, but for times."""
    kept = {}
    for file in sorted(run.rglob("*")):
        name = file.relative_to(run).as_posix()
        if file.is_file() and name.startswith("iterations/"):
            kept[name] = file.read_bytes()
    return kept


def cut(file, share=0.5):
    os.truncate(file, int(file.stat().st_size * share))


def flip(file, rng):
    """Flip one bit."""
    data = bytearray(file.read_bytes())
    at = rng.randrange(len(data) * 8)
    data[at // 8] ^= 1 << at % 8
    file.write_bytes(data)


# --------------------------------------------------------------------------- the journal


def test_a_missing_journal_wipes_nothing(run):
    before = contents(run)
    (run / "journal.jsonl").unlink()
    for again in (lambda: go(run), lambda: evaluate.evaluate_run(
        run, how=evaluate.How("dev"), engine=ScriptedEngine(learner)
    )):  # fmt: skip
        with pytest.raises(
            RunError, match=r"journal\.jsonl is missing, so it is not known which work"
        ):
            again()
    assert contents(run) == before


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_shortened_journal_is_refused_and_wipes_nothing(run, share):
    before = contents(run)
    cut(run / "journal.jsonl", share)
    with pytest.raises(
        RunError, match=r"journal\.jsonl lacks iteration \d, which metrics\.jsonl has"
    ):
        go(run)
    assert contents(run) == before


def test_more_rows_than_a_crash_leaves_are_not_cut(run):
    (run / "metrics.jsonl").write_bytes(b"")  # as if no iteration were finished
    file = run / "iterations/001/attempts.jsonl"
    lines = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if b'"iteration":1,"kind":"direct"' in line)
    (run / "journal.jsonl").write_bytes(b"".join(lines[: first + 1]))
    before = file.read_bytes()
    with pytest.raises(RunError, match="has more rows than its journal names"):
        go(run)
    assert file.read_bytes() == before


def test_a_chunk_that_a_crash_cut_off_is_made_again(run, tmp_path):
    """Also the first one of a file, which the journal does not name yet."""
    for keep in (0, 1):
        path = tmp_path / f"run-{keep}"
        shutil.copytree(run, path)
        lines = (path / "journal.jsonl").read_bytes().splitlines(keepends=True)
        mine = [i for i, line in enumerate(lines) if b'"iteration":1,"kind":"direct"' in line]
        (path / "journal.jsonl").write_bytes(b"".join(lines[: mine[keep]]))
        (path / "metrics.jsonl").write_bytes(
            (path / "metrics.jsonl").read_bytes().splitlines(keepends=True)[0]
        )
        file = path / "iterations/001/attempts.jsonl"
        rows = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(b"".join(rows[: 8 * keep + 5]) + rows[8 * keep + 5][:20])
        for later in (2, 3):
            shutil.rmtree(path / f"iterations/00{later}")
        for name in ("eval.jsonl", "test.jsonl"):
            (path / "iterations/001" / name).unlink()
        go(path)
        assert {n: d for n, d in contents(path).items() if "test" not in n} == {
            n: d for n, d in contents(run).items() if "test" not in n
        }


def test_foreign_files_are_left_alone(run):
    foreign = run / "iterations/001/notes.jsonl"
    foreign.write_text("mine\n")
    other = run / "iterations/mine"
    other.mkdir()
    (other / "attempts.jsonl").write_text("mine too\n")
    go(run)
    assert foreign.read_text() == "mine\n"
    assert (other / "attempts.jsonl").read_text() == "mine too\n"


@pytest.mark.parametrize("name", ["iterations/001/attempts.jsonl", "iterations/001", "iterations"])
def test_no_symbolic_link_is_followed(run, tmp_path, name):
    elsewhere = tmp_path / "elsewhere"
    (run / name).rename(elsewhere)
    (run / name).symlink_to(elsewhere)
    target = next(p for p in [elsewhere, *elsewhere.rglob("attempts.jsonl")] if p.is_file())
    with open(target, "ab") as file:
        file.write(b'{"id":"')
    before = target.read_bytes()
    with pytest.raises(RunError, match="is a symbolic link"):
        go(run)
    assert target.read_bytes() == before


def test_a_damaged_line_of_the_journal_is_named(run):
    file = run / "journal.jsonl"
    data = file.read_bytes()
    at = data.index(b'"offset":') + len(b'"offset":')
    file.write_bytes(data[:at] + (b"9" if data[at : at + 1] != b"9" else b"8") + data[at + 1 :])
    with pytest.raises(RunError, match=r"journal\.jsonl, line \d+ is damaged: its checksum does"):
        reading.read(run)


def test_an_entry_without_its_checksum_is_damaged_where_others_have_one(run):
    with open(run / "journal.jsonl", "ab") as file:
        file.write(json_line({"event": "finished", "time": "2026-01-01T00:00:00+00:00"}))
    with pytest.raises(RunError, match="it has no checksum"):
        reading.read(run)


# --------------------------------------------------------------------------- beginning a run


def test_a_start_that_was_killed_before_the_recipe_was_there_is_begun_anew(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").touch()
    (run / "recipe.yaml.partial").write_text("task: {na")
    go(run, "star.iterations=1")
    assert reading.read(run).last == 1


def test_a_start_that_was_killed_before_the_journal_was_there_goes_on(tmp_path):
    run = tmp_path / "run"
    with writing.opened(run, {"task": "x"}):
        pass
    (run / "journal.jsonl").unlink()
    with writing.opened(run, {"task": "x"}) as folder:
        assert folder.metrics == []


def test_of_two_starts_at_once_one_is_told_that_it_is_in_use(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").touch()
    with (
        writing.opened(run, {"task": "x"}),
        pytest.raises(RunError, match="in use"),
        writing.opened(run, {"task": "x"}),
    ):
        pass


def test_a_run_that_another_begins_before_the_lock_is_had_is_not_written_over(
    tmp_path, monkeypatch
):
    run = tmp_path / "run"
    real = writing.check

    def raced(path):
        found = real(path)
        monkeypatch.setattr(writing, "check", real)
        with writing.opened(path, {"task": "theirs"}):
            pass
        return found

    monkeypatch.setattr(writing, "check", raced)
    with (
        pytest.raises(RunError, match="was begun by another loop just now"),
        writing.opened(run, {"task": "mine"}),
    ):
        pass
    assert reading.read(run).recipe == {"task": "theirs"}


# --------------------------------------------------------------------------- writing


def test_a_full_disk_is_one_line_and_what_was_finished_is_kept(made, tmp_path, monkeypatch):
    run, left = tmp_path / "run", [9]
    real = os.fsync

    def full(handle):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"cannot be written: No space left .* resume with star-mlx"):
        go(run)
    monkeypatch.undo()
    go(run)
    everything = {n: d for n, d in contents(made).items() if "test" not in n}
    assert contents(run) == everything


class Removes(ScriptedEngine):
    """Takes its run folder away while it generates."""

    def __init__(self, away):
        super().__init__(learner)
        self._away, self._left = away, 4

    def generate(self, *arguments, **more):
        self._left -= 1
        if self._left == 0:
            self._away()
        return super().generate(*arguments, **more)


@pytest.mark.parametrize("moved", [True, False])
def test_a_folder_that_is_taken_away_stops_the_run(tmp_path, moved):
    run = tmp_path / "run"
    away = (lambda: run.rename(tmp_path / "moved")) if moved else (lambda: shutil.rmtree(run))
    with pytest.raises(RunError, match="was moved or removed while it was in use"):
        go(run, engine=Removes(away))
    assert not run.exists(), "nothing is written beside it"


# --------------------------------------------------------------------------- flipped bits


COMMANDS = ("show", "ledger", "check", "compare")


def call(*arguments):
    """Exit code and standard error of a command; what is no StarError propagates."""
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    return ended.value.code


def covered(run):
    """The files that have checksums."""
    files = [p for p in run.rglob("*") if p.is_file() and p.stat().st_size]
    left_out = {names.LIVE, names.LOG, names.LOCK, names.TRACKERS}
    return sorted(p for p in files if p.name not in left_out)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_no_flipped_bit_passes_the_check_and_none_is_a_traceback(made, run, seed, capsys):
    rng = random.Random(f"flip/{seed}")
    for file in covered(run):
        whole = file.read_bytes()
        flip(file, rng)
        newline = file.read_bytes().count(b"\n") != whole.count(b"\n")
        if not (newline and file.name == "journal.jsonl"):  # may be a last line that was cut off
            assert not _whole(run), f"{file.name}: {_difference(whole, file.read_bytes())}"
        for command in COMMANDS:
            more = [run] if command == "compare" else []
            code = call(command, run, *more)
            err = capsys.readouterr().err
            assert code == 0 or (code == 2 and (err.count("\n") == 1 or command == "check")), err
        file.write_bytes(whole)
    assert contents(run) == contents(made)


def _whole(run):
    return check.check(run).whole


def _difference(a, b):
    return next(
        f"byte {i}: {a[i : i + 1]!r} -> {b[i : i + 1]!r}" for i in range(len(a)) if a[i] != b[i]
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("iterations/002/attempts.jsonl", "chunk 0 of the pass direct of iteration 2"),
        ("iterations/002/examples.jsonl", "examples.jsonl"),
        ("iterations/002/adapter/scripted.json", "scripted.json"),
        ("iterations/002/eval.jsonl", "chunk 0 of the pass dev of iteration 2"),
    ],
)
def test_what_is_damaged_is_refused_by_those_who_read_it(run, name, words):
    cut(run / name, 0.9) if name.endswith("json") else flip_first_letter(run / name)
    record = reading.read(run)
    with pytest.raises(RunError, match=words):
        if "attempts" in name:
            list(record.rows(2, "attempts.jsonl", dict))
        elif "examples" in name:
            list(record.examples(2))
        elif "adapter" in name:
            record.adapter(2)
        else:
            list(record.rows(2, "eval.jsonl", dict))


def flip_first_letter(file):
    data = file.read_bytes()
    file.write_bytes(data.replace(b'"id":"', b'"iD":"', 1))


def test_a_whole_run_is_whole(made, capsys):
    found = check.check(made)
    assert found.whole and found.without == 0
    assert call("check", made) == 0
    assert f"{found.verified} parts have a checksum: nothing is damaged" in capsys.readouterr().out


def test_a_recipe_that_was_edited_is_seen_by_the_check_alone(run):
    file = run / "recipe.yaml"
    file.write_text(file.read_text() + "# mine\n")
    assert [Path(f.place).name for f in check.check(run).findings] == ["recipe.yaml"]
    reading.read(run)


# --------------------------------------------------------------------------- repair


def last(run):
    return reading.read(run).last


@pytest.mark.parametrize(
    "name",
    ["iterations/003/attempts.jsonl", "iterations/003/examples.jsonl",
     "iterations/003/adapter/scripted.json", "iterations/003/train.jsonl"],
)  # fmt: skip
def test_a_damaged_last_iteration_is_taken_out_and_made_again(made, run, name, capsys):
    flip(run / name, random.Random(0))
    assert call("check", run, "--repair") == 0
    out = capsys.readouterr().out
    assert f"taken out: {run / name}" in out and "star-mlx loop --run makes it again" in out
    assert last(run) == 2 and list((run / "damaged").iterdir())
    go(run)
    assert contents(run) == contents(made)
    assert check.check(run).whole


def test_a_damaged_chunk_of_an_unfinished_iteration_is_made_again(made, run):
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(b"".join(lines[:-1]))
    file = run / "iterations/003/attempts.jsonl"
    rows = file.read_bytes().splitlines(keepends=True)
    rows[9] = rows[9].replace(b'"id":"', b'"id":"9', 1)
    file.write_bytes(b"".join(rows))
    with pytest.raises(RunError, match="checksum of chunk 1 of the pass direct"):
        go(run)
    [finding] = check.repair(run)
    assert "chunk 1 of the pass direct" in finding.why
    assert len(file.read_bytes().splitlines()) == 8, "the chunk before it is kept"
    go(run)
    assert contents(run) == contents(made)


def test_damage_in_an_earlier_iteration_is_named_and_left(run, capsys):
    name = "iterations/001/attempts.jsonl"
    flip(run / name, random.Random(1))
    before = contents(run)
    assert call("check", run, "--repair") == 2
    out = capsys.readouterr().out
    assert f"damaged: {run / name}" in out and "still holds: every chunk before it" in out
    assert "later iterations do not need it" in out and contents(run) == before


def test_dev_attempts_and_results_are_measured_again(made, run):
    flip_first_letter(run / "iterations/001/eval.jsonl")
    result = next((run / "results").iterdir())
    cut(result)
    assert len(check.repair(run)) == 2 and check.check(run).whole
    with pytest.raises(RunError, match="lacks dev attempts of iteration 1: star-mlx evaluate"):
        go(run)
    evaluate.evaluate_run(run, "1", how=evaluate.How("dev"), engine=ScriptedEngine(learner))
    go(run)
    assert contents(run) == contents(made)
    assert reading.read(run).test_reads() == 1, "a result that is gone was read all the same"


def test_a_run_in_use_is_not_repaired(run):
    flip(run / "iterations/003/attempts.jsonl", random.Random(0))
    code = (
        "import sys, time, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); "
        "print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(run / ".lock")], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        try:
            with pytest.raises(RunError, match="is in use"):
                check.repair(run)
        finally:
            holder.kill()


# --------------------------------------------------------------------------- folders of before


def strip_checksums(run):
    """The folder as a version without checksums wrote it."""
    file = run / "journal.jsonl"
    lines = []
    for line in file.read_bytes().splitlines():
        entry = json.loads(line)
        for key in ("sum", "sha256", "files", "metrics_sha256", "recipe_sha256"):
            entry.pop(key, None)
        if entry["event"] != "result":
            lines.append(json_line(entry))
    file.write_bytes(b"".join(lines))


def test_a_folder_without_checksums_says_so_and_goes_on(made, run, capsys):
    strip_checksums(run)
    found = check.check(run)
    assert found.whole and found.verified == 0 and found.without > 20
    assert call("check", run) == 0
    assert f"0 parts have a checksum, {found.without} have none" in capsys.readouterr().out
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(b"".join(lines[:-1]))
    for name in ("attempts.jsonl", "eval.jsonl"):
        (run / "iterations/003" / name).unlink()
    entries = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    kept = [line for line in entries if b'"iteration":3' not in line]
    (run / "journal.jsonl").write_bytes(b"".join(kept))
    go(run)
    assert contents(run) == contents(made)
    assert journal.read(run).verified and check.check(run).whole


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("recipe.yaml", b"\xff", "it is not UTF-8"),
        ("recipe.yaml", b"", "it holds no recipe"),
        ("recipe.yaml", b"[1, 2]", "it holds no recipe"),
        ("recipe.yaml", b"{1: 2}", "it holds no recipe"),
        (
            "recipe.yaml",
            b"provenance: 3\ntask: {name: arithmetic}",
            "its provenance is not a mapping",
        ),
        ("metrics.jsonl", b"\xff\n", "line 1 is damaged: 'utf-8' codec"),
        ("metrics.jsonl", b"[]\n", "line 1 is damaged: Expected `object`"),
        ("metrics.jsonl", b"{}\n", "line 1 is damaged: Object missing required field `iteration`"),
        ("metrics.jsonl", b'{"iteration":"1"}\n', "line 1 is damaged: Expected `int`"),
        ("metrics.jsonl", b'{"iteration":1}', "line 1 is damaged: it is cut short"),
        (
            "metrics.jsonl",
            b'{"iteration":1,"eval":3}\n',
            "line 1 is damaged: Expected `object | null`",
        ),
        ("journal.jsonl", b"\xff\n", "line 1 is damaged"),
        ("journal.jsonl", b"[]\n", "line 1 is damaged"),
        ("journal.jsonl", b'{"event":"chunk","time":""}\n', "line 1 is damaged: Object missing"),
    ],
)
def test_a_damaged_record_file_is_one_line(run, name, data, words, capsys):
    (run / name).write_bytes(data)
    for command in ("show", "ledger", "report", "loop", "compare"):
        arguments = {"loop": ["loop", "--run"], "compare": ["compare", run]}.get(command, [command])
        more = ["--out", run.parent / "page"] if command == "report" else []
        assert call(*arguments, run, *more) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and words in err and name in err, err
