"""The real thing, killed: the command line on the embedded base, in a process of its own.

The run that nobody interrupts, and what comes after an interruption, are done in this process: a
process of its own takes seconds to load.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from star_mlx.cli import main

pytestmark = pytest.mark.slow

SMALL = [
    "task.options.digits=[1,2]",
    "task.options.train=200",
    "star.iterations=2",
    "star.problems=8",
    "star.schedule.start=3",
    "generate.chunk=4",
    "evaluate.dev=4",
    "train.batch_size=4",
    "train.save_every=1e-9",  # minutes: after every step
]


def arguments(run: Path, *more: str) -> list[str]:
    sets = [part for setting in SMALL for part in ("--set", setting)]
    return ["loop", "--task", "arithmetic", "--run", str(run), *sets, *more]


def command(run: Path) -> list[str]:
    """The loop in a process of its own, which tells its events."""
    return [sys.executable, "-m", "star_mlx", *arguments(run, "--json")]


def here(*given: str) -> int:
    """Run a command in this process; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(list(given))
    return int(ended.value.code or 0)


def contents(run: Path) -> dict[str, bytes]:
    """All files whose content does not depend on the clock."""
    clocked = (".lock", "journal.jsonl", "metrics.jsonl", "live.json", "log.txt")
    files = [p for p in sorted(run.rglob("*")) if p.is_file() and p.name not in clocked]
    return {str(p.relative_to(run)): p.read_bytes() for p in files}


def events(process: subprocess.Popen):
    for line in process.stdout:
        yield json.loads(line)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody interrupted."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert here(*arguments(run, "--plain")) == 0
    return run


PLACES = [("evaluate", 0), ("generate", 1), ("rationalize", 1), ("train", 1), ("train", 2)]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """What a sudden end leaves at each place.

    One process is aborted at the last place, as macOS does with a process whose GPU work takes too
    long. At those before it is stopped and its folder copied, which is what a kill leaves: all
    that it had written is in the copy, and nothing of what it would have written.
    """
    folder = tmp_path_factory.mktemp("killed")
    left = list(PLACES)
    with subprocess.Popen(command(folder / "run"), stdout=subprocess.PIPE, text=True) as process:
        for event in events(process):
            if event["event"] != "progress" or (event["phase"], event["iteration"]) != left[0]:
                continue
            process.send_signal(signal.SIGSTOP)
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            shutil.copytree(folder / "run", folder / "{}-{}".format(*left.pop(0)))
            if not left:
                process.send_signal(signal.SIGABRT)
            process.send_signal(signal.SIGCONT)
            if not left:
                break
        else:
            pytest.fail(f"the run never came to {left[0]}")
        process.stdout.close()
    assert process.returncode == -signal.SIGABRT
    return folder


@pytest.mark.parametrize(("phase", "iteration"), PLACES)
def test_killed_or_aborted_and_resumed_is_the_same_to_the_last_bit(killed, whole, phase, iteration):
    run = killed / f"{phase}-{iteration}"
    assert contents(run) != contents(whole)
    saved = [str(path.relative_to(run)) for path in run.rglob("training.json")]
    there = [f"iterations/00{iteration}/adapter.partial/training.json"]
    assert saved == (there if phase == "train" else [])
    assert here(*arguments(run, "--plain")) == 0
    assert contents(run) == contents(whole)


def test_ctrl_c_ends_at_once_with_one_line_saying_how_to_go_on(tmp_path, whole):
    run = tmp_path / "run"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}

    def heeding() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # what runs in the background ignores it

    with subprocess.Popen(command(run), preexec_fn=heeding, **pipes) as process:
        for event in events(process):
            if event["event"] == "progress" and event["phase"] == "train":
                break
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        took = time.monotonic() - start
    assert process.returncode == 130
    [line] = errors.strip().splitlines()
    assert line.startswith("stopped; resume with: ") and line.endswith(f" loop --run {run}")
    assert took < 6  # under 2 where the machine has a processor to spare
    assert here("loop", "--run", str(run), "--plain") == 0
    assert contents(run) == contents(whole)


def test_a_second_loop_is_refused_while_the_first_lives(tmp_path, capsys):
    run = tmp_path / "run"
    with subprocess.Popen(command(run), stdout=subprocess.PIPE, text=True) as first:
        next(e for e in events(first) if e["event"] == "phase_started")
        os.kill(first.pid, signal.SIGSTOP)
        second = here(*arguments(run, "--plain"))
        os.kill(first.pid, signal.SIGKILL)
        first.stdout.close()
    assert second == 2
    errors = capsys.readouterr().err
    assert "in use" in errors and len(errors.strip().splitlines()) == 1
