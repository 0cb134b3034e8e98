"""What happens around a run: a disk that fills up or fails, a clock that is set back, no locks.

``python benchmarks/faults.py around --out DIR --times 20``: ``--times`` is the number of moments at
which each error of a disk begins. It needs a C compiler, and for a real full disk the right to
mount one.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from faults import STAR, contents, loop, said, whole

HERE = Path(__file__).parent
ERRORS = {
    "the disk is full (ENOSPC)": errno.ENOSPC,
    "the disk fails (EIO)": errno.EIO,
    "the disk is read-only from then on (EROFS)": errno.EROFS,
}
DISKS = (100, 300, 1000, 1700)  # KiB; a whole run takes more than the last


class Row:
    """What came of one kind of fault, for the table."""

    def __init__(self, name: str) -> None:
        self.name, self.tried, self.refused, self.same = name, 0, 0, 0
        self.wrong: list[str] = []

    def add(self, run: Path, ideal: Path, ended: subprocess.CompletedProcess[str] | None) -> None:
        """Judge how a run ended, go on with it on a good machine, and compare it."""
        self.tried += 1
        lines = ended.stderr.strip().splitlines() if ended else []
        if ended and ended.returncode == 2 and len(lines) == 1:
            self.refused += 1
        elif ended and ended.returncode:
            self.wrong.append(f"{self.name}: exit code {ended.returncode}: {lines[-3:]}")
        again = subprocess.run([*STAR, *loop(run)], capture_output=True, text=True)
        if again.returncode == 0 and contents(run) == contents(ideal):
            self.same += 1
            shutil.rmtree(run)
        else:
            self.wrong.append(f"{self.name}: {run}, resumed: {again.stderr.strip()[-300:]}")

    def __str__(self) -> str:
        return f"| {self.name} | {self.tried} | {self.refused} | {self.same} |"


def around(out: Path, times: int, seed: int) -> bool:
    """Try every fault, and write the table."""
    ideal, seconds = whole(out)
    library = out / "faulty.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O2", "-o", library, HERE / "faulty.c", "-ldl"], check=True
    )
    draw = random.Random(seed)
    rows = [
        *errors(out, library, ideal, draw, times),
        *small_disks(out, ideal),
        *clocks(out, library, ideal, draw, seconds),
        *places(out, library, ideal, draw, seconds),
    ]
    text = [
        "| what happens | runs | one line and exit code 2 | resumed, and equal in the end |",
        "|---|---|---|---|",
        *map(str, rows),
    ]
    return said(out / "around.md", text, [line for row in rows for line in row.wrong])


def run_with(library: Path, run: Path, faults: Mapping[str, object]) -> subprocess.Popen[str]:
    """Start the loop on a machine with these faults in the run's folder."""
    own = {"LD_PRELOAD": library, "FAULTY_FOLDER": run, **faults}
    return subprocess.Popen(
        [*STAR, *loop(run)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **{name: str(value) for name, value in own.items()}},
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    _, errors = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, "", errors)


def begun(process: subprocess.Popen[str], file: Path) -> None:
    """Wait until a loop has made a file, or has ended."""
    while not file.exists() and process.poll() is None:
        time.sleep(0.05)


def fresh(out: Path) -> Path:
    run = out / "disturbed"
    shutil.rmtree(run, ignore_errors=True)
    return run


def told(text: str) -> None:
    print(text, file=sys.stderr)


# --------------------------------------------------------------------------- disks


def errors(out: Path, library: Path, ideal: Path, draw: random.Random, times: int) -> Iterator[Row]:
    """From a random call on, every call that changes the run's folder fails."""
    run, count = fresh(out), out / "count"
    ended(run_with(library, run, {"FAULTY_AFTER": 1 << 40, "FAULTY_COUNT": count}))
    calls = int(count.read_text("ascii"))
    for name, number in ERRORS.items():
        row = Row(name)
        for _ in range(times):
            run, after = fresh(out), draw.randrange(calls)
            told(f"{name}, after {after} of {calls} calls")
            faults = {"FAULTY_AFTER": after, "FAULTY_ERROR": number}
            row.add(run, ideal, ended(run_with(library, run, faults)))
        yield row


@contextmanager
def disk(folder: Path, kib: int) -> Iterator[None]:
    """A disk of this size at the folder, inside the block."""
    folder.mkdir(exist_ok=True)
    mount(["-t", "tmpfs", "-o", f"size={kib}k", "tmpfs"], folder)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def mount(options: list[str], folder: Path) -> None:
    subprocess.run(["mount", *options, folder], check=True, capture_output=True)


def small_disks(out: Path, ideal: Path) -> Iterator[Row]:
    """A disk too small for the run, which is then made larger."""
    row = Row("a real disk, too small, that is then made larger")
    for kib in DISKS:
        told(f"a disk of {kib} KiB")
        try:
            with disk(out / "disk", kib):
                run = out / "disk" / "run"
                end = subprocess.run([*STAR, *loop(run)], capture_output=True, text=True)
                mount(["-o", "remount,size=100m"], out / "disk")
                row.add(run, ideal, end)
        except subprocess.CalledProcessError:
            row.name += " (not tried: no right to mount)"
            break
    yield row


# --------------------------------------------------------------------------- the clock


def clocks(
    out: Path, library: Path, ideal: Path, draw: random.Random, seconds: float
) -> Iterator[Row]:
    """The time of day jumps, while the loop runs or while it is stopped."""
    row = Row("the clock is set back or forward by 2 days while the loop runs")
    for days in (2, -2):
        faults = {"FAULTY_CLOCK": days * 86400, "FAULTY_FOR": round(seconds / 2)}
        run = fresh(out)
        row.add(run, ideal, ended(run_with(library, run, faults)))
    yield row
    row = Row("... while it is stopped, after kill -9")
    for days in (2, -2):
        run = fresh(out)
        killed(run_with(library, run, {"FAULTY_CLOCK": days * 86400}), draw.uniform(2, seconds))
        row.add(run, ideal, None)
    yield row


def killed(process: subprocess.Popen[str], after: float) -> None:
    try:
        process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()


# --------------------------------------------------------------------------- the folder


def places(
    out: Path, library: Path, ideal: Path, draw: random.Random, seconds: float
) -> Iterator[Row]:
    """The folder goes, or is somewhere else, or has no locks, or is wanted by two."""
    locks = {"a drive without locks (ENOSYS)": errno.ENOSYS, "... (ENOLCK)": errno.ENOLCK}
    for name, number in locks.items():
        row = Row(name)
        run = fresh(out)
        row.add(run, ideal, ended(run_with(library, run, {"FAULTY_LOCK": number})))
        yield row
    row = Row("the folder is moved while the loop is stopped, after kill -9")
    run = fresh(out)
    killed(run_with(library, run, {}), draw.uniform(seconds / 2, seconds))
    moved = out / "moved"
    shutil.rmtree(moved, ignore_errors=True)
    if run.exists():
        run.rename(moved)
    row.add(moved, ideal, None)
    yield row
    for name, away in (("moved", Path.rename), ("removed", None)):
        row = Row(f"the folder is {name} while the loop runs")
        run = fresh(out)
        process = run_with(library, run, {})
        begun(process, run / "iterations" / "001")
        if away:
            shutil.rmtree(moved, ignore_errors=True)
            away(run, moved)
        else:
            shutil.rmtree(run)
        row.add(moved if away else run, ideal, ended(process))
        yield row
    row = Row("two loops on one folder: the second")
    run = fresh(out)
    first = run_with(library, run, {})
    begun(first, run / "journal.jsonl")
    second = ended(run_with(library, run, {}))
    if ended(first).returncode:
        row.wrong.append("two loops on one folder: the first ended too")
    row.add(run, ideal, second)
    yield row
