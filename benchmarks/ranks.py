"""Run a recipe on several ranks of this machine, break some, and print what came of it.

    python benchmarks/ranks.py same --out DIR     # 1, 2 and 4 ranks: bytes and processor seconds
    python benchmarks/ranks.py faults --out DIR   # ranks that are killed or stopped: how it ends
    python benchmarks/ranks.py cut --out DIR      # a link that is cut, by network namespaces (root)

Linux. ``tests/test_ranks.py`` and ``tests/test_launch.py`` are the short forms. ``DIR/*.md`` have
the tables; the exit code is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

STAR = [sys.executable, "-m", "star_mlx"]
SETTINGS = [
    "task.options.digits=[1,2]", "task.options.train=200", "task.options.held_out=10",
    "star.iterations=1", "star.problems=72", "star.schedule.start=16", "train.warmup=0",
    "train.batch_size=16", "generate.chunk=6", "generate.temperature=0.7",
    "evaluate.dev=8", "evaluate.zero_shot=false",
]  # fmt: skip
ATTEMPTS = "iterations/001/attempts.jsonl"
LIMIT = 30.0  # seconds in which a broken run has to end


def command(run: Path, settings: Sequence[str] = SETTINGS) -> list[str]:
    sets = [word for setting in settings for word in ("--set", setting)]
    return ["loop", "--task", "arithmetic", "--run", str(run), "--plain", *sets]


def launched(number: int, run: Path) -> list[str]:
    return [*STAR, "launch", "-n", str(number), "--", *command(run)]


def processes(run: Path) -> dict[int, dict[str, int]]:
    """The process of each rank of a run, and its keeper's, by rank."""
    found: dict[int, dict[str, int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if str(run).encode() not in words or b"--" in words:
                continue  # the launcher's own
            environment = (entry / "environ").read_bytes().split(b"\0")
            ranks = [v[9:] for v in environment if v.startswith(b"MLX_RANK=")]
            kind = "rank" if b"star_mlx.cli.rank" in words else "keeper"
            if ranks:
                found.setdefault(int(ranks[0]), {})[kind] = int(entry.name)
    return found


def launcher(run: Path, program: bytes) -> int:
    """The process of mlx's launcher, or of star-mlx's."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if str(run).encode() in words and any(w.endswith(program) for w in words[:4]):
                return int(entry.name)
    raise SystemExit(f"{program.decode()} is not running")


def alive(run: Path) -> int:
    return sum(len(kinds) for kinds in processes(run).values())


# --------------------------------------------------------------------------- the same bytes


def same(out: Path) -> bool:
    """Runs of 1, 2 and 4 ranks: whether their files are equal, and the processor's seconds."""
    rows, runs = [], {}
    for number in (1, 2, 4):
        run = runs[number] = out / f"same-{number}"
        shutil.rmtree(run, ignore_errors=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        words = launched(number, run) if number > 1 else [*STAR, *command(run)]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        rows.append((number, used, time.monotonic() - began))
    reference = (runs[1] / ATTEMPTS).read_bytes()
    equal = {n: (run / ATTEMPTS).read_bytes() == reference for n, run in runs.items()}
    lines = ["| ranks | attempts | processor seconds, all processes |", "|---|---|---|"]
    lines += [
        f"| {number} | {'byte for byte the same' if equal[number] else 'DIFFERENT'} | {used:.0f} |"
        for number, used, _ in rows
    ]
    return said(out / "same.md", lines, all(equal.values()))


# --------------------------------------------------------------------------- faults

Fault = tuple[str, str, Callable[[Path], None]]


def to(rank: int, number: int, kind: str = "rank") -> Callable[[Path], None]:
    """Send a signal to a rank's process."""
    return lambda run: os.kill(processes(run)[rank][kind], number)


def started_by(program: bytes) -> Callable[[Path], None]:
    """Kill the process that has started the ranks."""
    return lambda run: os.kill(launcher(run, program), signal.SIGKILL)


FAULTS: list[Fault] = [
    ("kill -9 of rank 2", "generation", to(2, signal.SIGKILL)),
    ("kill -STOP of rank 2", "generation", to(2, signal.SIGSTOP)),
    ("kill -9 of rank 1", "training", to(1, signal.SIGKILL)),
    ("kill -STOP of rank 1", "training", to(1, signal.SIGSTOP)),
    ("kill -9 of rank 0", "generation", to(0, signal.SIGKILL)),
    ("kill -STOP of rank 0", "generation", to(0, signal.SIGSTOP)),
    ("kill -9 of the keeper of rank 1", "generation", to(1, signal.SIGKILL, "keeper")),
    ("kill -9 of mlx.launch", "generation", started_by(b"mlx.launch")),
    ("kill -9 of star-mlx launch", "generation", started_by(b"launch")),
    ("Ctrl-C", "generation", lambda run: None),
]


def faults(out: Path, only: str) -> bool:
    """A run of three ranks for each fault; whether each ended in time, named the rank, left no
    process behind, and kept a beginning of the attempts of an undisturbed run."""
    whole, good = out / "whole", True
    if not (whole / ATTEMPTS).exists():
        subprocess.run([*STAR, *command(whole)], check=True, stdout=subprocess.DEVNULL)
    lines = ["| fault | in | ends after | exit code | says |", "|---|---|---|---|---|"]
    run = whole
    for name, phase, break_it in FAULTS:
        if only not in name:
            continue
        run = out / "fault"
        shutil.rmtree(run, ignore_errors=True)
        seconds, code, text, left = broken(run, phase, break_it, ctrl_c=name == "Ctrl-C")
        kept = (run / ATTEMPTS).read_bytes()
        prefix = (whole / ATTEMPTS).read_bytes().startswith(kept)
        fine = seconds < LIMIT and code != 0 and prefix and not left
        good &= fine
        lines.append(f"| {name} | {phase} | {seconds:.0f} s | {code} | {text} |")
        print(lines[-1], "" if fine else f"FAILED (left {left}, prefix {prefix})", flush=True)
    subprocess.run([*STAR, "loop", "--run", str(run)], check=True, stdout=subprocess.DEVNULL)
    good &= (run / ATTEMPTS).read_bytes() == (whole / ATTEMPTS).read_bytes()
    return said(out / "faults.md", lines, good)


def broken(
    run: Path, phase: str, break_it: Callable[[Path], None], *, ctrl_c: bool
) -> tuple[float, int, str, int]:
    """Start a run, break it in a phase, and wait for its end: the seconds that took, the exit
    code, the line of the error, and the number of processes left."""
    process = subprocess.Popen(
        launched(3, run), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    reached(run, phase, process)
    break_it(run)
    if ctrl_c:
        process.send_signal(signal.SIGINT)
    began = time.monotonic()
    try:
        _, said = process.communicate(timeout=90)
    except subprocess.TimeoutExpired:
        process.kill()
        _, said = process.communicate()
    seconds = time.monotonic() - began
    lines = said.splitlines()
    error = [line for line in lines if line.startswith(("star-mlx: error:", "stopped"))]
    named = [line for line in lines if "ended by" in line or "without a word" in line]
    text = (error or named or lines or ["nothing"])[0]
    until = time.monotonic() + 20
    while alive(run) and time.monotonic() < until:
        time.sleep(0.5)
    return seconds, process.returncode, text.replace(str(run), "RUN"), alive(run)


def reached(run: Path, phase: str, process: subprocess.Popen[str]) -> None:
    """Wait until a run is in the middle of a phase."""
    while process.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            if phase == "generation" and (run / ATTEMPTS).stat().st_size > 2000:
                return
            at = json.loads((run / "live.json").read_bytes())["at"]
            if phase == "training" and at and at["phase"] == "train":
                return
        time.sleep(0.2)
    raise SystemExit(f"the run ended before its {phase}: {process.communicate()}")


# --------------------------------------------------------------------------- a cut link

SPACES, NET = ("rank0", "rank1"), "10.77.0"


@contextlib.contextmanager
def namespaces(out: Path) -> Iterator[dict[str, str]]:
    """Two network namespaces on one bridge, and an ``ssh`` that enters them by their address."""
    bridge = "starbr0"
    _ip("link", "add", bridge, "type", "bridge")
    _ip("addr", "add", f"{NET}.254/24", "dev", bridge)
    _ip("link", "set", bridge, "up")
    for number, space in enumerate(SPACES, 1):
        _ip("netns", "add", space)
        _ip("link", "add", f"veth{number}", "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("link", "set", f"veth{number}", "master", bridge, "up")
        _ip("-n", space, "addr", "add", f"{NET}.{number}/24", "dev", "eth0")
        _ip("-n", space, "link", "set", "eth0", "up")
        _ip("-n", space, "link", "set", "lo", "up")
    tools = out / "bin"
    tools.mkdir(parents=True, exist_ok=True)
    ssh = tools / "ssh"
    ssh.write_text(
        "#!/bin/bash\nwhile [[ $1 == -* ]]; do [[ $1 == -o ]] && shift; shift; done\n"
        'space=rank$((${1##*.} - 1)); shift\nexec ip netns exec "$space" bash -c "$*"\n'
    )
    ssh.chmod(0o755)
    try:
        yield {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    finally:
        for number, space in enumerate(SPACES, 1):
            _ip("link", "del", f"veth{number}", check=False)
            _ip("netns", "del", space, check=False)
        _ip("link", "del", bridge, check=False)


def cut(out: Path) -> bool:
    """Two ranks in network namespaces, whose link is cut in generation."""
    run, whole = out / "cut", out / "whole"
    shutil.rmtree(run, ignore_errors=True)
    with namespaces(out) as environment:
        hosts = f"{NET}.1,{NET}.2"
        process = subprocess.Popen(
            [*STAR, "launch", "--hosts", hosts, "--cwd", os.getcwd(), "--", *command(run)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        reached(run, "generation", process)
        _ip("link", "set", "veth2", "down")
        began = time.monotonic()
        _, text = process.communicate(timeout=120)
        seconds = time.monotonic() - began
    errors = [line for line in text.splitlines() if "error:" in line]
    lines = [
        "| fault | ends after | exit code | says |", "|---|---|---|---|",
        f"| the link of rank 1 is cut | {seconds:.0f} s | {process.returncode} | {errors[0]} |",
    ]  # fmt: skip
    good = seconds < LIMIT and process.returncode != 0 and "rank 1" in errors[0]
    if (whole / ATTEMPTS).exists():
        good &= (whole / ATTEMPTS).read_bytes().startswith((run / ATTEMPTS).read_bytes())
    return said(out / "cut.md", lines, good)


def _ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=not check)


def said(file: Path, lines: Sequence[str], good: bool) -> bool:
    text = "\n".join(lines) + "\n"
    file.write_text(text, encoding="utf-8")
    print(text, end="")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["same", "faults", "cut"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="faults with this in their name")
    given = parser.parse_args()
    out = given.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    good = (
        faults(out, given.only)
        if given.what == "faults"
        else {"same": same, "cut": cut}[given.what](out)
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
