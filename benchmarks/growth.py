"""How star-mlx grows: long runs, memory, and the time of a problem, measured in one run.

    python benchmarks/growth.py --out DIR [--parts store memory problems]

- ``store``: opening, resuming and reporting a run of 100 iterations of 10,000 attempts each;
- ``memory``: the peak of an iteration against its number of problems, with the embedded base;
- ``problems``: seconds a problem in the same iterations, and the CPU time of everything around the
  model, with a scripted one.

Every measurement is a process of its own, one after the other. Writes ``growth.json``,
``growth.md`` and the pictures ``growth-*.svg`` and ``.png``, which need the extra ``benchmarks``.
Parts that are left out are kept as an earlier run measured them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
PARTS = ("store", "memory", "problems")
LIMITS = {"store_seconds": 5.0, "store_bytes": 500e6, "memory_growth": 1.1}
BASELINE = 1000  # problems that the memory of larger iterations is compared with
LOOP = [
    "star.iterations=1",
    "star.schedule.start=5",
    "evaluate.dev=50",
]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took: wall and CPU seconds, and its largest resident memory in bytes."""

    seconds: float
    cpu: float
    peak: int


class Failed(Exception):
    """A process that is measured ended with an error."""


def process(command: Sequence[object]) -> tuple[Cost, str]:
    """Run a command to its end; its cost and what it printed.

    This process must stay small: on Linux a child's peak is never below its parent's.
    """
    words = [sys.executable, *map(str, command)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        child = subprocess.Popen(
            words, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=HERE.parent
        )
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if child.returncode:
        raise Failed(f"{' '.join(map(str, command))} ended with {child.returncode}:\n{text}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit), text


def store(work: Path, iterations: int, attempts: int, repeats: int) -> dict[str, Any]:
    """Each way to open a long run: the median of its costs over the repeats."""
    run = work / "long"
    cost, _ = process([HERE / "synthetic_run.py", "write", run, "--iterations", iterations,
                       "--attempts", attempts])  # fmt: skip
    print(
        f"a run of {iterations} x {attempts} attempts written in {cost.seconds:.0f} s", flush=True
    )
    files = list(run.glob("iterations/*/attempts.jsonl"))
    rows: list[dict[str, Any]] = []

    def measure(name: str, *command: object) -> None:
        costs = [process(command)[0] for _ in range(repeats)]
        parts = {key: median(asdict(c)[key] for c in costs) for key in ("seconds", "cpu", "peak")}
        rows.append({"name": name, **parts, "all_seconds": [c.seconds for c in costs]})
        told(rows[-1])

    star = ("-m", "star_mlx")
    measure("show RUN", *star, "show", run)
    measure("ledger RUN", *star, "ledger", run)
    measure("ledger --json RUN", *star, "ledger", "--json", run)
    measure("reading.read()", "-c", opening("reading", run))
    measure("ledger.read()", "-c", opening("ledger", run))
    measure("report RUN", *star, "report", run, "--out", work / "report")
    measure("loop --run RUN, finished", *star, "loop", "--plain", "--run", run)
    process([HERE / "synthetic_run.py", "interrupt", run])
    measure("loop --run RUN, interrupted", HERE / "synthetic_run.py", "resume", run)
    size = sum(file.stat().st_size for file in files)
    shutil.rmtree(run)
    return {"iterations": iterations, "attempts": attempts, "bytes": size, "rows": rows}


def opening(module: str, run: Path) -> str:
    """Code that opens a run with the library."""
    return (
        f"import pathlib; from star_mlx.store import {module}; "
        f"{module}.read(pathlib.Path({str(run)!r}))"
    )


def told(row: dict[str, Any]) -> None:
    print(f"{row['name']}: {row['seconds']:.2f} s, {row['peak'] / 1e6:.0f} MB", flush=True)


def iterations(work: Path, sizes: Sequence[int], more: Sequence[str]) -> list[dict[str, Any]]:
    """An iteration on the embedded base for every number of problems."""
    rows = []
    for problems in sizes:
        run = work / f"loop-{problems}"
        settings = [*LOOP, f"star.problems={problems}", *more]
        sets = [word for setting in settings for word in ("--set", setting)]
        cost, _ = process(["-m", "star_mlx", "loop", "--task", "arithmetic", "--plain",
                           "--run", run, *sets])  # fmt: skip
        line = json.loads((run / "metrics.jsonl").read_text("utf-8").splitlines()[-1])
        attempts = (run / "iterations/001/attempts.jsonl").read_bytes().count(b"\n")
        generating = line["seconds"]["generate"] + line["seconds"].get("rationalize", 0.0)
        rows.append(
            {"problems": problems, "attempts": attempts, **asdict(cost), "generating": generating}
        )
        told({"name": f"{problems} problems", **asdict(cost)})
        shutil.rmtree(run)
    return rows


def around(work: Path, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """The CPU time of everything but the model, for every number of problems."""
    rows = []
    for problems in sizes:
        run = work / f"scripted-{problems}"
        _, text = process([HERE / "scripted_loop.py", problems, run])
        rows.append(json.loads(text))
        cpu = sum(rows[-1]["cpu_seconds"].values())
        print(f"{problems} problems, scripted: {1e6 * cpu / problems:.0f} us each", flush=True)
        shutil.rmtree(run)
    return rows


def page(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [f"Measured on {found['machine']}.", ""]
    if "store" in found:
        part = found["store"]
        lines += [
            f"### A run of {part['iterations']} iterations of {part['attempts']:,} attempts "
            f"({part['bytes'] / 1e6:.0f} MB of attempts)",
            "",
            "| | seconds | peak memory, MB | within 5 s and 500 MB |",
            "|---|---|---|---|",
        ]
        for row in part["rows"]:
            small = row["peak"] < LIMITS["store_bytes"] and row["seconds"] < LIMITS["store_seconds"]
            lines.append(
                f"| {row['name']} | {row['seconds']:.2f} | {row['peak'] / 1e6:.0f} | "
                f"{'yes' if small else 'no'} |"
            )
        lines.append("")
    if "loops" in found:
        lines += [
            "### One iteration with the embedded base",
            "",
            "| problems | attempts | peak memory, MB | beside 1,000 problems | ms a problem | "
            "CPU ms a problem |",
            "|---|---|---|---|---|---|",
        ]
        base = [row["peak"] for row in found["loops"] if row["problems"] == BASELINE]
        for row in found["loops"]:
            beside = f"{100 * (row['peak'] / base[0] - 1):+.1f}%" if base else ""
            each = 1e3 * row["generating"] / row["problems"]
            lines.append(
                f"| {row['problems']:,} | {row['attempts']:,} | {row['peak'] / 1e6:.0f} | "
                f"{beside} | {each:.1f} | {further(found['loops'], row)} |"
            )
        lines += [
            "",
            "A problem's time is that of its generation and rationalization. Its CPU time is that "
            "of the whole process beyond the smallest iteration's, for each problem beyond that "
            "one's: it hardly depends on what else the machine does.",
            "",
        ]
    if "around" in found:
        phases = list(found["around"][0]["cpu_seconds"])
        lines += [
            "### Everything but the model: CPU time, microseconds a problem",
            "",
            f"| problems | {' | '.join(phases)} | all | peak memory, MB |",
            "|---" * (3 + len(phases)) + "|",
        ]
        for row in found["around"]:
            each = [1e6 * row["cpu_seconds"][name] / row["problems"] for name in phases]
            cells = " | ".join(f"{us:.0f}" for us in [*each, sum(each)])
            lines.append(f"| {row['problems']:,} | {cells} | {row['peak'] / 1e6:.0f} |")
        lines.append("")
    return "\n".join(lines)


def further(rows: list[dict[str, Any]], row: dict[str, Any]) -> str:
    """CPU milliseconds of a process for each problem beyond those of the smallest iteration."""
    least = min(rows, key=lambda other: other["problems"])
    more = row["problems"] - least["problems"]
    return f"{1e3 * (row['cpu'] - least['cpu']) / more:.1f}" if more else ""


def machine() -> str:
    """The machine in words, without its name."""
    words = [f"{os.cpu_count()} cores", platform.machine(), platform.system()]
    words.append(f"Python {platform.python_version()}")
    for package in ("mlx", "mlx-lm", "torch"):
        try:
            words.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(words)


def save(out: Path, found: dict[str, Any]) -> None:
    """Write the figures and the pictures of what there is."""
    (out / "growth.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    (out / "growth.md").write_text(page(found), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--problems", type=int, nargs="+", default=[100, 1000, 3000, 10_000])
    parser.add_argument("--scripted", type=int, nargs="+", default=[100, 1000, 10_000, 50_000])
    parser.add_argument("--iterations", type=int, default=100, help="of the long run")
    parser.add_argument("--attempts", type=int, default=10_000, help="of the long run's iterations")
    parser.add_argument("--repeats", type=int, default=3, help="of opening the long run")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "growth.json"
    found: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    found |= {"machine": machine(), "limits": LIMITS}
    with tempfile.TemporaryDirectory(prefix="growth-", dir=given.out) as folder:
        work = Path(folder).resolve()
        if "store" in given.parts:
            found["store"] = store(work, given.iterations, given.attempts, given.repeats)
            save(given.out, found)
        if "problems" in given.parts:
            found["around"] = around(work, given.scripted)
            save(given.out, found)
        if "memory" in given.parts or "problems" in given.parts:
            found["loops"] = iterations(work, given.problems, given.settings)
            save(given.out, found)
    import growth_pictures  # loads matplotlib, so only when everything is measured

    growth_pictures.draw(found, given.out)


if __name__ == "__main__":
    main()
