"""Runs that an earlier version made are resumed, shown, compared, reported and exported."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from star_mlx.cli import main
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.recipe import opening
from star_mlx.run import loop
from star_mlx.store import check, journal
from tests.lines import json_lines
from tests.scripts import learner

pytestmark = pytest.mark.slow

STORED = Path(__file__).parent / "data/run-0.1"


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(STORED, tmp_path / "stored")
    return tmp_path / "stored"


def call(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    return ended.value.code


def untimed(line):
    """A metrics line without what is another at each run."""
    line = {k: v for k, v in line.items() if k not in ("seconds", "peak_memory_bytes")}
    for group in ("train", "generate"):
        if group in line:
            line[group] = {k: v for k, v in line[group].items() if k != "tokens_per_second"}
    return line


def test_a_stopped_run_is_resumed_to_the_very_bytes_it_would_have_come_to(folder):
    run = folder / "scripted"
    expected = json.loads((folder / "scripted.json").read_text())
    before = (run / "metrics.jsonl").read_bytes()
    engine = ScriptedEngine(learner)
    loop.run(opening.resume_recipe(run), run, lambda event: None, engine=engine)
    files = {p.relative_to(run).as_posix(): p for p in run.glob("iterations/**/*") if p.is_file()}
    assert {n: hashlib.sha256(p.read_bytes()).hexdigest() for n, p in files.items()} == (
        expected["files"]
    )
    assert (run / "metrics.jsonl").read_bytes().startswith(before), "old lines stay as they are"
    assert [untimed(m) for m in json_lines(run / "metrics.jsonl")] == expected["metrics"]
    assert journal.read(run).verified and check.check(run).whole


def test_a_finished_run_is_shown_measured_compared_reported_and_exported(folder, tmp_path, capsys):
    run = folder / "tiny"
    for arguments, words in (
        (("show", run), "iter"),
        (("ledger", run), "problems seen"),
        (("compare", f"{run}:1", f"{run}:2"), "iteration 2"),
        (("check", run), "0 parts have a checksum"),
        (("try", run, "7 + 5", "--iteration", "1"), "iteration 1"),
        (("report", run, "--out", tmp_path / "page"), "index.html"),
        (("export", run, "--iteration", "2", "--format", "mlx", "--out", tmp_path / "mlx"), "mlx"),
        (("evaluate", "--run", run, "--iteration", "1", "--max-samples", "4"), "iteration 1, dev"),
        (("export-data", "--run", run, "--iteration", "2", "--out", tmp_path / "d.jsonl"), ""),
    ):
        assert call(*arguments) == 0, capsys.readouterr().err
        assert words in capsys.readouterr().out, arguments
    assert (tmp_path / "page/index.html").stat().st_size > 10_000
    weights = tmp_path / "mlx/adapters.safetensors"
    stored = STORED / "tiny/iterations/002/adapter/adapters.safetensors"
    assert weights.read_bytes() == stored.read_bytes()


def test_a_finished_run_goes_on_and_finds_all_done(folder, capsys):
    assert call("loop", "--run", folder / "tiny", "--plain") == 0
    before = {p.name: p.read_bytes() for p in (STORED / "tiny").rglob("*.jsonl")}
    after = {p.name: p.read_bytes() for p in (folder / "tiny").rglob("*.jsonl")}
    assert {n for n in before if after[n] != before[n]} <= {"journal.jsonl"}
