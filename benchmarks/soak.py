"""A long run: whether memory, open files, threads and the disk per iteration stay as they are.

    python benchmarks/soak.py --out DIR [--iterations 30]

A run of the embedded base in this process. ``DIR/soak.md`` has the table. The exit code is 1 if,
from the third iteration on, the resident memory grows by more than 1% an iteration (by the slope of
a line through the iterations), or files, threads or the bytes of an iteration's folder grow at all
beyond what the first iterations had. Needs Linux: the figures are from ``/proc``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

import star_mlx as sx
from star_mlx.events import Event, IterationFinished
from star_mlx.store import names

SETTLED = 3  # iterations that fill caches
GROWTH = 0.01  # of the memory, an iteration
PAGE = os.sysconf("SC_PAGE_SIZE")


class Seen(NamedTuple):
    """What the process and the run hold when an iteration has ended."""

    iteration: int
    resident: int  # bytes
    files: int
    threads: int
    disk: int  # bytes in the iteration's folder

    def __str__(self) -> str:
        return (
            f"| {self.iteration} | {self.resident / 2**20:.0f} | {self.files} | {self.threads} "
            f"| {self.disk / 1000:.0f} |"
        )


def look(run: Path, iteration: int) -> Seen:
    folder = names.iteration(run, iteration)
    return Seen(
        iteration,
        int(Path("/proc/self/statm").read_text("ascii").split()[1]) * PAGE,
        len(os.listdir("/proc/self/fd")),
        len(os.listdir("/proc/self/task")),
        sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    )


def faults(seen: list[Seen]) -> list[str]:
    """What does not stay as it is."""
    first, later = seen[:SETTLED], seen[SETTLED:]
    slope = statistics.linear_regression([s.iteration for s in later], [s.resident for s in later])
    found = []
    if slope.slope > GROWTH * first[-1].resident:
        found.append(f"memory grows by {slope.slope / 2**20:.1f} MiB an iteration")
    for name in ("files", "threads"):
        most = max(getattr(s, name) for s in first)
        if (now := max(getattr(s, name) for s in later)) > most:
            found.append(f"{name}: {now}, and {most} in the first iterations")
    if max(s.disk for s in later) > 1.05 * max(s.disk for s in first):
        found.append("the folders of later iterations are larger")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--iterations", type=int, default=30)
    given = parser.parse_args()
    os.environ["STAR_MLX_CONFIG"] = ""  # no defaults of the user's own
    run = given.out / "run"
    shutil.rmtree(run, ignore_errors=True)
    seen: list[Seen] = []

    def hear(event: Event) -> None:
        if isinstance(event, IterationFinished) and event.metrics.iteration:
            seen.append(look(run, event.metrics.iteration))

    sx.train(
        "arithmetic", out=run, on_event=hear, iterations=given.iterations, problems=200, dev=100,
        settings={"star.schedule.factor": 1.0},  # as many steps in each
    )  # fmt: skip
    wrong = faults(seen)
    text = [
        "| iteration | resident memory, MiB | open files | threads | its folder, kB |",
        "|---|---|---|---|---|",
        *map(str, seen),
        *(["", *(f"- {line}" for line in wrong)] if wrong else []),
    ]
    (given.out / "soak.md").write_text("\n".join(text) + "\n", "utf-8")
    print("\n".join(text))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
