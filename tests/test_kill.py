"""The real thing, killed: the command line on the embedded base, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SMALL = [
    "task.options.digits=[1,3]",
    "task.options.train=200",
    "star.iterations=2",
    "star.problems=20",
    "star.schedule.start=5",
    "generate.chunk=5",
    "evaluate.dev=10",
    "train.batch_size=4",
]


def command(run: Path, *more: str) -> list[str]:
    sets = [part for setting in SMALL for part in ("--set", setting)]
    base = [sys.executable, "-m", "star_mlx", "loop", "--task", "arithmetic", "--run", str(run)]
    return [*base, *sets, *more]


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
    subprocess.run(command(run, "--plain"), check=True, capture_output=True, text=True)
    return run


@pytest.mark.parametrize(
    ("phase", "iteration"),
    [("evaluate", 0), ("generate", 1), ("rationalize", 1), ("train", 1), ("train", 2)],
)
def test_killed_and_resumed_is_the_same_to_the_last_bit(tmp_path, whole, phase, iteration):
    run = tmp_path / "run"
    with subprocess.Popen(command(run, "--json"), stdout=subprocess.PIPE, text=True) as process:
        for event in events(process):
            at = (event.get("phase"), event.get("iteration"))
            if event["event"] == "progress" and at == (phase, iteration):
                process.send_signal(signal.SIGKILL)
                break
        else:
            pytest.fail(f"the run never came to {phase} of iteration {iteration}")
        process.stdout.close()
    assert process.returncode == -signal.SIGKILL
    assert contents(run) != contents(whole)
    subprocess.run(command(run, "--plain"), check=True, capture_output=True, text=True)
    assert contents(run) == contents(whole)


def test_ctrl_c_ends_at_once_with_one_line_saying_how_to_go_on(tmp_path, whole):
    run = tmp_path / "run"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}

    def heeding() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # what runs in the background ignores it

    with subprocess.Popen(command(run, "--json"), preexec_fn=heeding, **pipes) as process:
        for event in events(process):
            if event["event"] == "progress" and event["phase"] == "train":
                break
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        took = time.monotonic() - start
    assert process.returncode == 130
    [line] = errors.strip().splitlines()
    assert f"star-mlx loop --run {run}" in line
    assert took < 6  # under 2 where the machine has a processor to spare
    resume = [sys.executable, "-m", "star_mlx", "loop", "--run", str(run), "--plain"]
    subprocess.run(resume, check=True, capture_output=True, text=True)
    assert contents(run) == contents(whole)


def test_a_second_loop_is_refused_while_the_first_lives(tmp_path):
    run = tmp_path / "run"
    with subprocess.Popen(command(run, "--json"), stdout=subprocess.PIPE, text=True) as first:
        next(e for e in events(first) if e["event"] == "phase_started")
        os.kill(first.pid, signal.SIGSTOP)
        second = subprocess.run(command(run, "--plain"), capture_output=True, text=True)
        os.kill(first.pid, signal.SIGKILL)
        first.stdout.close()
    assert second.returncode == 2
    assert "in use" in second.stderr and len(second.stderr.strip().splitlines()) == 1
