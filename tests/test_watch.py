"""Looking on at a run from its files."""

from __future__ import annotations

import io
import json
import subprocess
from datetime import datetime, timedelta, timezone
from itertools import islice

import pytest
from filelock import FileLock
from rich.console import Console

from star_mlx import tui
from star_mlx.cli import main
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import RunError
from star_mlx.events import IterationFinished, PhaseStarted, Progress
from star_mlx.progress import live_json, watch
from star_mlx.run import loop
from star_mlx.store import writing
from tests.lines import json_lines
from tests.scripts import learner
from tests.test_loop import recipe
from tests.test_loop import run as run_loop


@pytest.fixture
def run(tmp_path):
    """A finished run."""
    run_loop(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def begun(tmp_path):
    """A run that its process let go of in iteration 2, by an error."""

    class Enough(Exception):
        pass

    def emit(event):
        if isinstance(event, Progress) and (event.iteration, event.phase) == (2, "train"):
            raise Enough

    with pytest.raises(Enough):
        loop.run(recipe(), tmp_path / "begun", emit, engine=ScriptedEngine(learner))
    return tmp_path / "begun"


@pytest.fixture
def star(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return call


def rewrite(run, **values):
    """Change what ``live.json`` says."""
    entry = json.loads((run / "live.json").read_bytes())
    (run / "live.json").write_text(json.dumps(entry | values))


def gone():
    """The number of a process that is no more."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def later(**much):
    return datetime.now(timezone.utc) + timedelta(**much)


def test_a_run_that_is_driven_is_seen_at_what_it_does(tmp_path):
    path, seen = tmp_path / "run", []

    def emit(event):
        if isinstance(event, Progress) and event.done == 1:
            state = watch.Files(path).state()
            assert (state.at.iteration, state.at.phase) == (event.iteration, event.phase)
            assert state.idle == "" and state.finished is None
            seen.append((event.iteration, len(state.metrics)))

    loop.run(recipe(), path, emit, engine=ScriptedEngine(learner))
    assert (0, 0) in seen and (1, 1) in seen and (3, 3) in seen


def test_a_finished_run_is_one_state_with_its_iterations(run):
    [state] = watch.states(run)
    assert state.finished.reason == "done" and state.run == str(run)
    assert [line.iteration for line in state.metrics] == [0, 1, 2, 3]
    assert state.recipe["task"]["name"] == "arithmetic" and state.model["name"] == "scripted"


def test_a_run_measured_after_its_end_is_still_finished(run):
    with writing.opened(run, {}) as folder:
        folder.journal("chunk", iteration=3, kind="test", index=0, rows=0, offset=0, bytes=0)
    (run / "iterations/003/test.jsonl").touch()
    assert next(watch.states(run)).finished.reason == "done"


def test_a_run_without_the_file_of_what_it_is_at_is_known_by_its_journal(run, begun):
    for path in (run, begun):
        (path / "live.json").unlink()
    assert next(watch.states(run)).finished.reason == "done"
    files = watch.Files(begun)
    state = files.state()
    assert [line.iteration for line in state.metrics] == [0, 1] and state.at is None
    assert (state.idle, state.finished) == ("", None)
    assert "no process is driving this run" in files.state(later(minutes=11)).idle


def test_a_run_that_was_stopped_says_how_to_go_on_and_is_watched_on(begun):
    slept = []
    states = list(islice(watch.states(begun, 0.5, sleep=slept.append), 3))
    assert [state.finished for state in states] == [None] * 3 and slept == [0.5] * 2
    assert states[0].idle.startswith("no process is driving this run (last sign of life ")
    assert states[0].idle.endswith(f"; resume with: star-mlx loop --run {begun}")
    assert states[0].at.phase == "train"


def test_a_killed_process_is_missed(begun):
    rewrite(begun, running=True)
    assert watch.Files(begun).state().idle == ""  # this process lives
    rewrite(begun, running=True, pid=gone())
    assert "no process is driving this run" in watch.Files(begun).state().idle


@pytest.mark.parametrize("pid", [0, -1, 2**70])
def test_a_process_number_that_cannot_be_is_no_process(begun, pid):
    rewrite(begun, running=True, pid=pid)
    assert "no process is driving" in watch.Files(begun).state().idle


def test_on_another_machine_only_time_tells(begun):
    rewrite(begun, running=True, pid=gone(), host="0" * 12)
    files = watch.Files(begun)
    assert files.state().idle == ""
    assert "no process is driving" in files.state(later(seconds=watch.LONG + 5)).idle


def test_a_process_that_lives_but_writes_nothing_is_mentioned(begun):
    rewrite(begun, running=True)
    idle = watch.Files(begun).state(later(hours=1)).idle
    assert idle.startswith("nothing has been written since ") and idle.endswith("is alive")


def test_the_last_sign_of_life_has_a_date_once_it_is_another_days():
    then = datetime(2026, 3, 1, 12, 30).astimezone()
    assert watch._when(then, then + timedelta(minutes=1)) == "12:30"
    assert watch._when(then, then + timedelta(days=2)) == "2026-03-01 12:30"


def test_a_run_that_goes_on_is_no_longer_idle(begun):
    states = watch.states(begun, 0.0, sleep=lambda seconds: None)
    assert next(states).idle
    loop.run(recipe(), begun, lambda event: None, engine=ScriptedEngine(learner))
    [last] = states
    assert (last.idle, last.finished.reason) == ("", "done") and len(last.metrics) == 4


def test_a_file_torn_in_the_middle_is_read_again_at_the_next_turn(begun):
    rewrite(begun, running=True)
    files = watch.Files(begun)
    before = files.state()
    whole = {name: (begun / name).read_bytes() for name in ("metrics.jsonl", "live.json")}
    for name, data in whole.items():
        (begun / name).write_bytes(data[: len(data) // 2])
    with open(begun / "journal.jsonl", "ab") as journal:
        journal.write(b'{"event": "finished", "reas')
    torn = files.state()
    assert (torn.metrics, torn.at, torn.finished) == (before.metrics, before.at, None)
    line = json.loads(whole["metrics.jsonl"].splitlines()[-1]) | {"iteration": 2}
    (begun / "metrics.jsonl").write_bytes(whole["metrics.jsonl"] + live_json.json_line(line))
    (begun / "live.json").write_bytes(whole["live.json"])
    assert [m.iteration for m in files.state().metrics] == [0, 1, 2]


def test_elapsed_time_is_counted_once_however_often_it_is_read(begun):
    rewrite(begun, running=True, seconds=100.0, time="2026-01-01T12:00:00.000+00:00")
    files, now = watch.Files(begun), datetime(2026, 1, 1, 12, 0, 30, tzinfo=timezone.utc)
    assert files.state(now).seconds == 130.0
    (begun / "live.json").unlink()  # being replaced, say: what was read last holds
    assert [files.state(now).seconds for _ in range(3)] == [130.0] * 3


def test_files_are_read_at_the_interval_and_states_come_every_second(begun, monkeypatch):
    read, now = [], [0.0]
    state = watch.Files.state
    monkeypatch.setattr(watch.Files, "state", lambda self: read.append(now[0]) or state(self))

    def sleep(seconds):
        now[0] += seconds

    states = watch.states(begun, 3.0, clock=lambda: now[0], sleep=sleep)
    assert len(list(islice(states, 8))) == 8 and read == [0.0, 3.0, 6.0]


def test_watching_writes_nothing_and_takes_no_lock(begun):
    def stand():
        return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in begun.rglob("*")}

    before = stand()
    with FileLock(begun / ".lock"):
        list(islice(watch.states(begun, sleep=lambda seconds: None), 2))
    states = watch.states(begun, sleep=lambda seconds: None)
    next(states)
    with FileLock(begun / ".lock", timeout=0):
        next(states)
    after = stand()
    files = {p for p in before.keys() | after.keys() if p.name != ".lock" and p != begun}
    assert all(after.get(p) == before.get(p) for p in files)


def test_a_baseline_is_a_run_to_be_watched_too(tmp_path):
    from star_mlx.run import baseline

    kind = baseline.recipe(recipe(), "few-shot", run=None, steps=None)
    path = tmp_path / "few-shot"
    loop.run(kind, path, lambda event: None, engine=ScriptedEngine(learner))
    [state] = watch.states(path)
    assert state.finished and [line.iteration for line in state.metrics] == [0]


# --------------------------------------------------------------------------- on the screens


@pytest.mark.slow
def test_plain_lines_are_those_of_the_loop(tmp_path):
    path, out, direct = tmp_path / "run", io.StringIO(), io.StringIO()
    watching, looping = tui.PlainScreen(out), tui.PlainScreen(direct)

    def emit(event):
        looping(event)
        if (path / "live.json").exists() and isinstance(event, Progress | IterationFinished):
            watching.show(watch.Files(path).state())

    loop.run(recipe(), path, emit, engine=ScriptedEngine(learner))
    watching.show(watch.Files(path).state())
    seen, told = out.getvalue().splitlines(), direct.getvalue().splitlines()
    assert [line for line in seen if " done: " in line] == [
        line for line in told if " done: " in line
    ]
    assert {"iteration 1: generating, 20 problems", "iteration 3: measuring, 20 problems"} <= (
        set(seen)
    )
    assert seen[0] == told[0] and seen[-1].startswith("finished in ")


def test_idleness_is_told_once_in_lines(begun):
    out = io.StringIO()
    with tui.PlainScreen(out) as screen:
        for state in islice(watch.states(begun, sleep=lambda seconds: None), 4):
            screen.show(state)
    assert out.getvalue().count("warning: no process is driving this run") == 1
    assert out.getvalue().count("iteration 1 done: ") == 1


def test_the_live_screen_shows_a_state_and_leaves_the_table(begun):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24)
    with tui.LiveScreen(console, share=1.0) as screen:
        screen.show(next(watch.states(begun)))
    during, after = out.getvalue().rsplit("\x1b[?1049l", 1)
    assert "iteration 2 of 3: training" in during and "no process is driving" in during
    assert "no process is driving" in after and "iter" in after


def test_the_command_shows_a_finished_run_and_ends(run, star):
    code, out, err = star("watch", run)
    assert (code, err) == (0, "")
    assert "iteration 3 done: " in out and f"star-mlx try {run} '" in out
    assert "\x1b" not in out


def test_once_prints_the_present_state_and_ends(begun, star):
    rewrite(begun, running=True, notices=[{"level": "warning", "text": "[red]\x1b[2J"}])
    code, out, err = star("watch", begun, "--once")
    assert (code, err) == (0, "") and "\x1b" not in out
    assert out.startswith(f"run {begun}: arithmetic; scripted, none; seed 0\n")
    assert "iteration 2: training" in out and "warning: [red]\u241b[2J" in out
    assert "no process" not in out
    rewrite(begun, running=False)
    assert "no process is driving this run" in star("watch", begun, "--once")[1]


def test_ctrl_c_ends_the_watching_in_peace(begun, star, monkeypatch):
    show = tui.PlainScreen.show

    def interrupted(self, state):
        show(self, state)
        raise KeyboardInterrupt

    monkeypatch.setattr(tui.PlainScreen, "show", interrupted)
    code, out, err = star("watch", begun, "--plain")
    assert (code, err) == (0, "") and "iteration 1 done" in out


@pytest.mark.parametrize("kind", ["missing", "empty", "damaged"])
def test_what_is_no_run_is_one_line_and_exit_code_2(tmp_path, star, kind):
    path = tmp_path / "x"
    if kind != "missing":
        path.mkdir()
    if kind == "damaged":
        (path / "recipe.yaml").write_text("", encoding="utf-8")
    code, out, err = star("watch", path)
    assert code == 2 and out == "" and len(err.splitlines()) == 1
    assert f"{path}" in err
    with pytest.raises(RunError):
        next(watch.states(path))


def test_the_journal_is_not_read_whole(run, monkeypatch):
    monkeypatch.setattr(watch, "TAIL", 200)
    assert watch._last_entry(run / "journal.jsonl")["event"] == "finished"
    monkeypatch.setattr(watch, "TAIL", 20)
    assert watch._last_entry(run / "journal.jsonl")["event"] == ""
    assert list(json_lines(run / "journal.jsonl"))[-1]["event"] == "finished"


def test_phases_that_begin_again_are_told_again():
    from star_mlx.progress.state import RunState, changes

    old, new = RunState(run="r", at=Progress(0, "evaluate", 20, 20, 1, 1.0)), RunState(run="r")
    new.at = Progress(0, "evaluate", 5, 20, 1, 1.0)
    assert list(changes(old, new)) == [PhaseStarted(0, "evaluate", 20), new.at]
    old.at = Progress(0, "evaluate", 3, 20, 1, 1.0)
    assert list(changes(old, new)) == [new.at]
