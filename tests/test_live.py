"""What a run leaves beside its events, for those who look on."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import replace

import pytest

from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.events import (
    IterationFinished,
    Notice,
    PhaseStarted,
    Progress,
    RunFinished,
    RunStarted,
    Sampled,
)
from star_mlx.progress import live_json
from star_mlx.run import loop
from star_mlx.store.metrics import Metrics
from tests.scripts import learner
from tests.test_loop import recipe
from tests.test_loop import run as run_loop

STARTED = RunStarted("r", {}, {"name": "tiny", "bits": 4})
AT = Progress(1, "train", 3, 10, 900, 2.5, 0.5, 1.5, (100, 200))


def sampled(text="think", **fields):
    attempt = {"id": "1", "hinted": True, "completion": text, "answer": "2", "correct": True}
    return Sampled(1, "1 + 1", "2", {**attempt, "finish": "stop", "tokens": 3, **fields})


class Ticking:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def writes(monkeypatch):
    """The times, by the returned clock, at which the file is written."""
    clock, times, encode = Ticking(), [], live_json.json_line
    monkeypatch.setattr(live_json, "json_line", lambda row: times.append(clock.now) or encode(row))
    monkeypatch.setattr(live_json, "SHARE", 1e9)
    return clock, times


def test_a_finished_run_says_so_and_leaves_no_half_written_file(tmp_path):
    run_loop(tmp_path / "run")
    entry = json.loads((tmp_path / "run/live.json").read_bytes())
    assert (entry["running"], entry["reason"], entry["at"]) == (False, "done", None)
    assert entry["pid"] == os.getpid() and len(entry["host"]) == 12
    assert entry["model"]["name"] == "scripted" and entry["samples"]
    assert not list((tmp_path / "run").glob("*.partial"))
    assert not (tmp_path / "run/log.txt").exists()  # nobody said anything


def test_events_pass_unchanged_and_in_order(tmp_path):
    events, passed = [STARTED, PhaseStarted(1, "train", 10), AT, RunFinished("r", "done", 1.0)], []
    with live_json.shared(tmp_path, passed.append) as emit:
        for event in events:
            emit(event)
    assert passed == events


def test_what_is_read_is_what_was_written(tmp_path):
    past = Progress(1, "generate", 9, 9, 90, 1.0)
    told = live_json.Live(tmp_path, lambda event: None)
    events = [STARTED, PhaseStarted(1, "generate", 9), past, PhaseStarted(1, "train", 10), AT]
    for event in [*events, sampled("\ud800"), Notice("warning", "careful")]:
        told(event)
    seen = live_json.read(tmp_path / "live.json")
    assert seen.running and seen.reason == "" and seen.pid == os.getpid()
    state = seen.state
    assert (state.at, state.past, state.model) == (AT, [past], STARTED.model)
    assert (state.held, state.peak) == (100, 200)
    assert list(state.samples) == [sampled("\ud800")]
    assert state.notices == [Notice("warning", "careful")]


def test_what_is_newer_is_read_and_written_too_and_may_be_missing(tmp_path):
    first = {"id": "1", "hinted": False, "completion": "x" * 10_000, "correct": False}
    whole = replace(sampled(), phase="rationalize", first=first)
    at = replace(AT, phase="generate", judged=8, right=5, kept=4)
    told = live_json.Live(tmp_path, lambda event: None)
    for event in (STARTED, at, whole, Notice("info", "n")):
        told(event)
    state = live_json.read(tmp_path / "live.json").state
    assert state.at == at and state.samples[0].phase == "rationalize"
    assert state.samples[0].first == {**first, "completion": "x" * live_json.TEXT}
    entry = json.loads((tmp_path / "live.json").read_bytes())
    for name in ("judged", "right", "kept"):
        del entry["at"][name]
    del entry["samples"][0]["phase"], entry["samples"][0]["first"]  # as older versions wrote it
    (tmp_path / "live.json").write_text(json.dumps(entry))
    state = live_json.read(tmp_path / "live.json").state
    assert state.at == replace(at, judged=None, right=None, kept=None)
    assert state.samples[0] == sampled()
    entry["samples"][0]["phase"] = "a later one"
    (tmp_path / "live.json").write_text(json.dumps(entry))
    assert live_json.read(tmp_path / "live.json").state.samples[0].phase is None


def test_progress_is_written_once_a_second_and_what_happens_at_once(tmp_path, writes):
    clock, times = writes
    told = live_json.Live(tmp_path, lambda event: None, clock)
    told(STARTED)
    for i in range(1, 400):
        clock.now = i / 100
        told(Progress(1, "train", i, 400, i, clock.now))
    assert times == [0.0, 1.0, 2.0, 3.0]
    for event in (
        Notice("info", "n"),
        PhaseStarted(2, "train", 4),
        IterationFinished(Metrics(2)),
    ):
        told(event)
    assert times[4:] == [3.99] * 3
    told(RunFinished("r", "done", 4.0))
    assert times[7:] == [3.99]


def test_a_costly_write_is_done_seldom(tmp_path, monkeypatch):
    costs, clock, times = iter(range(10_000)), Ticking(), []
    encode = live_json.json_line
    monkeypatch.setattr(live_json, "json_line", lambda row: times.append(clock.now) or encode(row))
    monkeypatch.setattr(live_json.time, "perf_counter", lambda: float(next(costs)))  # a second each
    told = live_json.Live(tmp_path, lambda event: None, clock)
    for second in range(2000):
        clock.now = float(second)
        told(Progress(1, "train", second, 2000, 1, clock.now))
    assert times == [n / live_json.SHARE for n in range(4)]


def test_texts_are_cut_and_only_the_latest_notices_kept(tmp_path):
    told = live_json.Live(tmp_path, lambda event: None)
    for n in range(30):
        told(Notice("info", str(n)))
    told(sampled("x" * 10_000))
    told(PhaseStarted(1, "train", 1))
    state = live_json.read(tmp_path / "live.json").state
    assert [notice.text for notice in state.notices] == [str(n) for n in range(10, 30)]
    assert len(state.samples[0].attempt["completion"]) == live_json.TEXT


def test_a_file_that_cannot_be_written_is_said_once_and_the_run_goes_on(tmp_path):
    run, events = tmp_path / "run", []

    def emit(event):
        events.append(event)
        (run / "live.json").mkdir(exist_ok=True)  # a file cannot be renamed onto a folder

    loop.run(recipe(), run, emit, engine=ScriptedEngine(learner))
    told = [e.text for e in events if isinstance(e, Notice) and e.level == "warning"]
    assert sum("live.json cannot be written" in text for text in told) == 1
    assert isinstance(events[-1], RunFinished) and not list(run.glob("*.partial"))


def test_a_run_that_an_error_ended_says_that_nobody_drives_it(tmp_path):
    def broken(asked):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_loop(tmp_path / "run", reply=broken)
    seen = live_json.read(tmp_path / "run/live.json")
    assert (seen.running, seen.reason) == (False, "") and seen.state.at.phase == "evaluate"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '"x"', '{"model": 3}', "\udcff"],
)
def test_what_is_no_such_file_tells_nothing(tmp_path, text):
    (tmp_path / "live.json").write_bytes(text.encode(errors="surrogateescape"))
    assert live_json.read(tmp_path / "live.json") is None
    assert live_json.read(tmp_path / "missing.json") is None


@pytest.mark.parametrize(
    ("key", "value"),
    [("phase", "\x1b[2J"), ("iteration", "\x1b[2J"), ("done", None), ("memory", [1])],
)
def test_progress_that_cannot_be_is_not_taken_over(tmp_path, key, value):
    told = live_json.Live(tmp_path, lambda event: None)
    for event in (STARTED, AT, PhaseStarted(1, "evaluate", 5)):
        told(event)
    entry = json.loads((tmp_path / "live.json").read_bytes())
    assert live_json.read(tmp_path / "live.json").state.at.total == 5
    entry["at"][key] = value
    (tmp_path / "live.json").write_text(json.dumps(entry))
    assert live_json.read(tmp_path / "live.json") is None


def test_what_a_library_says_is_in_the_log_and_mentioned_once(tmp_path, capsys):
    def warns(asked):
        logging.getLogger("some_library").warning("as I said")
        return learner(asked)

    events = run_loop(tmp_path / "run", reply=warns)
    told = [e for e in events if isinstance(e, Notice) and "library" in e.text]
    assert told == [Notice("info", f"a library printed a message: see {tmp_path / 'run/log.txt'}")]
    lines = (tmp_path / "run/log.txt").read_text().splitlines()
    assert len(lines) > 10 and all(x.endswith("WARNING some_library: as I said") for x in lines)
    assert capsys.readouterr() == ("", "")
