"""A file of one's own, from init-task to a result: a thousand sums on the embedded base.

    python benchmarks/own_sums.py --out DIR [--problems 1000] [--set KEY=VALUE ...]

Writes ``sums.csv``, lets ``star-mlx init-task`` write the recipe, and runs it. The training values,
the schedule and the splits are as init-task wrote them. ``FORM`` is set besides, because the
embedded base reads sums in one form only, with room for one example. Prints dev accuracy before and
after.
"""

from __future__ import annotations

import argparse
import csv
import random
import subprocess
import sys
from pathlib import Path

from star_mlx.formatting import interval, percent
from star_mlx.store import reading
from star_mlx.tasks.arithmetic_text import question, scratchpad, spaced

FORM = (
    r'task.options.ask="{question}\n"',
    'task.options.hint="{question} {answer}"',
    r'task.options.worked="{rationale}\n{answer}"',
    "task.options.read={kind: exact}",
    r'task.options.stop=["\n\n"]',
    "prompts.k=1",
)


def write(path: Path, problems: int, seed: int = 0) -> None:
    """Distinct sums of two numbers of 1 to 5 digits, each with its worked rationale."""
    rng = random.Random(seed)
    found: dict[tuple[int, int], None] = {}
    while len(found) < problems:
        digits = rng.randint(1, 5)
        low = 10 ** (digits - 1) if digits > 1 else 0
        found[rng.randrange(low, 10**digits), rng.randrange(low, 10**digits)] = None
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["question", "rationale", "answer"])
        for a, b in found:
            asked = f"Input:\n{question(a, b)}\nTarget:"
            rows.writerow([asked, scratchpad(a, b), spaced(a + b)])


def run(out: Path, problems: int, overrides: list[str]) -> Path:
    """Make the data and the recipe, and run it; the run's folder."""
    out.mkdir(parents=True, exist_ok=True)
    data, recipe, folder = out / "sums.csv", out / "sums.yaml", out / "run"
    star = [sys.executable, "-m", "star_mlx"]
    if not recipe.exists():
        write(data, problems)
        made = [*star, "init-task", str(data), "--model", "tiny", "--out", str(recipe)]
        subprocess.run(made, check=True)
    settings = [part for text in (*FORM, *overrides) for part in ("--set", text)]
    loop = [*star, "loop", "--recipe", str(recipe), "--run", str(folder), "--plain"]
    subprocess.run([*loop, *settings], check=True)
    return folder


def table(folder: Path) -> str:
    """Dev accuracy of every iteration, as Markdown."""
    lines = [
        "| iteration | kept | steps | dev, % [95%] | n | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for line in reading.read(folder).metrics:
        assert line.dev is not None
        steps = "" if line.train is None else line.train.steps
        kept = "" if line.examples is None else f"{line.examples} of {line.problems}"
        dev = f"{percent(line.dev.accuracy, 1)} [{interval(line.dev.ci95)}]"
        seconds = round(sum((line.seconds or {}).values()))
        lines.append(f"| {line.iteration} | {kept} | {steps} | {dev} | {line.dev.n} | {seconds} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    given = parser.parse_args()
    print(table(run(given.out, given.problems, given.overrides)))
