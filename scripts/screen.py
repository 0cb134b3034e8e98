"""The live screen of a run as SVGs, drawn from the run folder: the pictures in the documentation.

python scripts/screen.py runs/arithmetic-001 docs/screen.svg

draws the end of the run there, and its middle beside it, in screen-running.svg.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from star_mlx.events import IterationFinished, PhaseStarted, Progress, RunStarted, Sampled
from star_mlx.progress.state import RunState
from star_mlx.recipe import opening
from star_mlx.store import reading
from star_mlx.tui.live_screen import draw

WIDTH, HEIGHT = 100, 30
PART = 0.8  # of the phase shown


def json_lines(path: Path) -> Iterator[dict]:
    """The objects of a JSONL file."""
    return map(json.loads, path.read_bytes().splitlines())


def at_end(run: Path) -> RunState:
    """What the screen showed near the run's end: the last iteration being evaluated."""
    found = reading.read(run)
    shown = begun(run, found.last)
    last = found.metrics[-1]
    [*rows] = json_lines(run / f"iterations/{found.last:03d}/eval.jsonl")
    n, seconds = last.dev.n, last.seconds["evaluate"]
    shown.apply(PhaseStarted(found.last, "evaluate", n))
    sample(run, shown, found.last, max(rows, key=lambda row: row["id"]))
    done = round(PART * n)
    tokens = sum(row["tokens"] for row in rows[:done])
    held = (last.peak_memory_bytes * 9 // 10, last.peak_memory_bytes)
    shown.apply(
        Progress(found.last, "evaluate", done, n, tokens, seconds * PART, memory=held),
    )
    return shown


def in_training(run: Path, iteration: int) -> RunState:
    """What the screen showed while an iteration's adapter was trained."""
    line = next(m for m in reading.read(run).metrics if m.iteration == iteration)
    shown = begun(run, iteration)
    folder = run / f"iterations/{iteration:03d}"
    rows = [row for row in json_lines(folder / "attempts.jsonl") if row["hinted"]]
    if rows:
        sample(run, shown, iteration, max(rows, key=lambda row: row["id"]))
    for phase, total in (
        ("generate", line.problems),
        ("rationalize", line.problems - line.solved),
    ):
        shown.apply(PhaseStarted(iteration, phase, total))
        shown.apply(Progress(iteration, phase, total, total, 0, line.seconds[phase]))
    [*steps] = json_lines(folder / "train.jsonl")
    taken = steps[round(PART * len(steps)) - 1]
    shown.apply(PhaseStarted(iteration, "train", len(steps)))
    shown.apply(
        Progress(
            iteration,
            "train",
            taken["step"],
            taken["steps"],
            taken["tokens"],
            line.seconds["train"] * taken["step"] / taken["steps"],
            taken["loss"],
            taken["gradient_norm"],
            (line.peak_memory_bytes * 9 // 10, line.peak_memory_bytes),
        )
    )
    return shown


def begun(run: Path, iteration: int) -> RunState:
    """The state when an iteration began."""
    found = reading.read(run)
    shown = RunState()
    shown.apply(RunStarted(str(run), found.values, found.provenance["base"]))
    for line in found.metrics:
        if line.iteration < iteration:
            shown.apply(IterationFinished(line))
    return shown


def sample(run: Path, shown: RunState, iteration: int, row: dict) -> None:
    """Show an attempt of the run."""
    task, _ = opening.open_task(opening.resume_recipe(run))
    problems = {p.id: p for split in ("train", "dev") for p in task.problems(split)}
    problem = problems[row["id"]]
    shown.apply(Sampled(iteration, problem.question.text, problem.answer, row))


def picture(run: Path, shown: RunState, seconds: float, out: Path) -> None:
    console = Console(
        record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), force_terminal=True
    )
    console.print(draw(shown, WIDTH, HEIGHT, seconds))
    console.save_svg(str(out), title="star-mlx loop --task arithmetic")


def main() -> None:
    run, out = Path(sys.argv[1]), Path(sys.argv[2])
    found = reading.read(run)
    took = [sum(line.seconds.values()) for line in found.metrics]
    picture(run, at_end(run), sum(took), out)
    middle = max(1, found.last // 2)
    running = out.with_name(f"{out.stem}-running{out.suffix}")
    picture(run, in_training(run, middle), sum(took[: middle + 1]), running)


if __name__ == "__main__":
    main()
