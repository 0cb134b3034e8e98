"""The live screen of a finished run as an SVG, drawn from the run folder: the picture in README.

python scripts/screen.py runs/arithmetic-001 docs/screen.svg
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console

from star_mlx import prepare, store
from star_mlx.files import json_lines
from star_mlx.state import RunState
from star_mlx.tui.live import draw
from star_mlx.types import IterationFinished, PhaseStarted, Progress, RunStarted, Sampled

WIDTH, HEIGHT = 100, 30


def state(run: Path) -> RunState:
    """What the screen showed near the run's end: the last iteration being evaluated."""
    record = store.read(run)
    task, _ = prepare.open_task(prepare.resume_recipe(run))
    gold = {p.id: p for split in ("train", "dev") for p in task.problems(split)}
    shown = RunState()
    shown.apply(RunStarted(str(run), record.recipe, record.recipe["provenance"]["base"]))
    for line in record.metrics[:-1]:
        shown.apply(IterationFinished(line))
    last = record.metrics[-1]
    row = max(json_lines(run / f"iterations/{record.last:03d}/eval.jsonl"), key=lambda r: r["id"])
    problem = gold[row["id"]]
    n, seconds = last["eval"]["n"], last["seconds"]["evaluate"]
    shown.apply(PhaseStarted(record.last, "evaluate", n))
    shown.apply(Sampled(record.last, problem.question.text, problem.answer, row))
    done = n * 4 // 5
    shown.apply(Progress(record.last, "evaluate", done, n, row["tokens"] * done, seconds * 0.8))
    return shown


def main() -> None:
    run, out = Path(sys.argv[1]), Path(sys.argv[2])
    console = Console(
        record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), force_terminal=True
    )
    took = sum(sum(line["seconds"].values()) for line in store.read(run).metrics)
    console.print(draw(state(run), WIDTH, HEIGHT, took))
    console.save_svg(str(out), title="star-mlx loop --task arithmetic")


if __name__ == "__main__":
    main()
