"""Do to a run what the world does, and print what came of it.

    python benchmarks/faults.py kill --out DIR --times 100     # kill -9 at random moments
    python benchmarks/faults.py damage --out DIR --times 1000  # bits flipped, blocks zeroed, cuts
    python benchmarks/faults.py around --out DIR --times 20    # disks, clocks, locks: faults_around

``tests/test_kill.py``, ``tests/test_damage.py`` and ``tests/test_store.py`` are the short forms.
``DIR/kill.md``, ... have the tables, and what failed stays in ``DIR``. The exit code is 1 if
anything failed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

STAR = [sys.executable, "-m", "star_mlx"]
SETTINGS = [
    "task.options.digits=[1,3]", "star.iterations=3", "star.problems=40", "star.schedule.start=20",
    "generate.chunk=10", "evaluate.dev=20", "train.batch_size=8",
]  # fmt: skip
CLOCKED = (".lock", "journal.jsonl", "metrics.jsonl", "live.json", "log.txt")
RESTARTS = 5  # kills of one run, at most


def loop(run: Path) -> list[str]:
    sets = [word for setting in SETTINGS for word in ("--set", setting)]
    return ["loop", "--task", "arithmetic", "--run", str(run), "--plain", *sets]


def contents(run: Path) -> dict[str, bytes]:
    """All files whose content does not depend on the clock."""
    files = (p for p in sorted(run.rglob("*")) if p.is_file() and p.name not in CLOCKED)
    return {str(p.relative_to(run)): p.read_bytes() for p in files}


def whole(out: Path) -> tuple[Path, float]:
    """A run that nobody disturbed, and the seconds that it took."""
    run, took = out / "whole", out / "seconds"
    if not took.exists():
        shutil.rmtree(run, ignore_errors=True)
        start = time.monotonic()
        subprocess.run([*STAR, *loop(run)], check=True, stdout=subprocess.DEVNULL)
        took.write_text(str(time.monotonic() - start), "ascii")
    return run, float(took.read_text("ascii"))


# --------------------------------------------------------------------------- kill -9


def kill(out: Path, times: int, seed: int) -> bool:
    """Kill runs at random moments, resume them, and compare them with one that nobody disturbed."""
    ideal, seconds = whole(out)
    draw, places, failed, kills, runs = random.Random(seed), Counter[str](), [], 0, 0
    while kills < times:
        run = out / f"killed-{runs}"
        shutil.rmtree(run, ignore_errors=True)
        runs += 1
        for _ in range(min(RESTARTS, times - kills)):
            if (place := killed(run, draw.uniform(0, seconds))) is None:
                break
            kills += 1
            places[place] += 1
            print(f"{kills} of {times}: killed at {place}", file=sys.stderr)
        before = journalled(run)
        ended = subprocess.run([*STAR, *loop(run)], stdout=subprocess.DEVNULL)
        lost = not journalled(run).startswith(before)
        if ended.returncode or lost or contents(run) != contents(ideal):
            failed.append(f"{run.name}: exit code {ended.returncode}, journal lost: {lost}")
        else:
            shutil.rmtree(run)
    rows = [f"| {place} | {count} |" for place, count in sorted(places.items())]
    text = [
        f"{kills} kills of {runs} runs of 3 iterations; {runs - len(failed)} runs ended byte for "
        "byte as the undisturbed one.",
        "",
        "| killed at | kills |",
        "|---|---|",
        *rows,
    ]
    return said(out / "kill.md", text, failed)


def killed(run: Path, after: float) -> str | None:
    """Run the loop and kill it; where it was then. None if it ended by itself before."""
    process = subprocess.Popen([*STAR, *loop(run)], stdout=subprocess.DEVNULL)
    try:
        process.wait(after)
        return None
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    try:
        live = json.loads((run / "live.json").read_text("utf-8"))
    except (OSError, ValueError):
        return "start" if not run.exists() else "the first files"
    return str((live.get("at") or {}).get("phase") or "between phases")


def journalled(run: Path) -> bytes:
    """The journal's whole lines."""
    try:
        text = (run / "journal.jsonl").read_bytes()
    except OSError:
        return b""
    return text[: text.rfind(b"\n") + 1]


# --------------------------------------------------------------------------- damage


def flip(data: bytearray, draw: random.Random) -> None:
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def zero(data: bytearray, draw: random.Random) -> None:
    size = min(len(data), draw.choice([16, 512, 4096]))
    start = draw.randrange(len(data) - size + 1)
    data[start : start + size] = bytes(size)


def cut(data: bytearray, draw: random.Random) -> None:
    del data[draw.randrange(len(data)) :]


KINDS: dict[str, Callable[[bytearray, random.Random], None]] = {
    "a bit flipped": flip, "a block zeroed": zero, "the end cut off": cut,
}  # fmt: skip


def commands(run: Path, out: Path) -> dict[str, list[str]]:
    return {
        "check": ["check", str(run)],
        "show": ["show", str(run)],
        "show --json": ["show", str(run), "--json"],
        "runs": ["runs", str(run.parent)],
        "compare": ["compare", str(run), f"{run}:1"],
        "trace": ["trace", str(run)],
        "export-data": ["export-data", str(run), "--out", str(out / "rows.jsonl"), "--force"],
    }


def damage(out: Path, times: int, seed: int) -> bool:
    """Damage one file of a copy of a run at a time, and run seven commands on it.

    ``check`` must see it; another command must print what it prints of the whole run, or say that
    something is damaged.
    """
    ideal, _ = whole(out)
    files = [p.relative_to(ideal) for p in sorted(ideal.rglob("*")) if p.is_file()]
    files = [p for p in files if p.name not in (".lock", "live.json", "log.txt")]
    draw, failed, done = random.Random(seed), list[str](), 0
    run = out / "damaged" / "run"
    copied(ideal, run)
    right = {name: called(words)[1] for name, words in commands(run, out).items()}
    codes = {name: Counter[int]() for name in right}
    while done < times:
        copied(ideal, run)
        file, (kind, change) = draw.choice(files), draw.choice([*KINDS.items()])
        data = bytearray((run / file).read_bytes())
        change(data, draw)
        if bytes(data) == (ideal / file).read_bytes():
            continue
        done += 1
        (run / file).write_bytes(data)
        for name, words in commands(run, out).items():
            code, printed, error = called(words)
            codes[name][code] += 1
            said_so = printed == right[name] or "damaged" in printed
            if code == 0 and (name == "check" or not said_so):
                error = "read as whole"
            if error:
                failed.append(f"{done}: {kind} in {file}: {name}: {error}")
                print(failed[-1], file=sys.stderr)
    rows = [
        f"| {name} | {' | '.join(str(counts[code]) for code in (0, 1, 2))} |"
        for name, counts in codes.items()
    ]
    text = [f"{done} times one of {len(files)} files was damaged.", "",
            "| command | exit code 0 | 1 | 2 |", "|---|---|---|---|", *rows]  # fmt: skip
    return said(out / "damage.md", text, failed)


def copied(run: Path, to: Path) -> None:
    shutil.rmtree(to.parent, ignore_errors=True)
    shutil.copytree(run, to)


def called(words: list[str]) -> tuple[int, str, str]:
    """The exit code of a command that is run in this process, what it printed, and the traceback of
    a bug."""
    from star_mlx.cli import main

    text = io.TextIOWrapper(io.BytesIO(), "utf-8")
    code, error = -1, ""
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        try:
            main(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
        except Exception:  # a bug in what is tested
            error = traceback.format_exc().strip()
    text.seek(0)
    return code, text.read(), error


def said(file: Path, text: list[str], failed: list[str]) -> bool:
    """Write a table, print it, and tell whether nothing failed."""
    if failed:
        text += ["", f"{len(failed)} failures:", "", *(f"- {line}" for line in failed)]
    file.write_text("\n".join(text) + "\n", "utf-8")
    print("\n".join(text))
    return not failed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], epilog="See the beginning of the file."
    )
    parser.add_argument("what", choices=["kill", "damage", "around"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    os.environ["STAR_MLX_CONFIG"] = ""  # no defaults of the user's own
    from faults_around import around

    what = {"kill": kill, "damage": damage, "around": around}[given.what]
    fine = what(given.out, given.times, given.seed)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
