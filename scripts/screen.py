"""The live screen of a run as SVGs, drawn from the run folder: the pictures in the documentation.

python scripts/screen.py runs/arithmetic-001 docs/screen.svg

draws the end of the run there, its middle beside it in screen-running.svg, and both at the usual
sizes of a terminal, on a dark and on a light background, in the folder screens.

The yields, attempts and losses are those of the run. A run folder has no times inside a phase, so
these are interpolated, and no memory in use, so only its peak is shown.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.color import ColorTriplet
from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME

from star_mlx.events import Event, IterationFinished, PhaseStarted, Progress, RunStarted, Sampled
from star_mlx.progress.state import RunState
from star_mlx.recipe import opening
from star_mlx.store import reading
from star_mlx.store.metrics import Metrics
from star_mlx.tui import themed
from star_mlx.tui.live_screen import draw
from star_mlx.types import Phase

SIZE = 100, 32
SIZES = (80, 24), (120, 35), (200, 50)
PART = 0.8  # of the phase shown
DARK, LIGHT = SVG_EXPORT_THEME, DEFAULT_TERMINAL_THEME
LIGHT.foreground_color = ColorTriplet(36, 41, 47)


def json_lines(path: Path) -> Iterator[dict]:
    """The objects of a JSONL file."""
    return map(json.loads, path.read_bytes().splitlines())


class Replay:
    """The state of a run that is brought to a point of one of its iterations."""

    def __init__(self, run: Path, iteration: int) -> None:
        found = reading.read(run)
        self.state, self._n = RunState(), iteration
        self._line: Metrics = next(m for m in found.metrics if m.iteration == iteration)
        self._folder = run / f"iterations/{iteration:03d}"
        task, _ = opening.open_task(opening.resume_recipe(run))
        self._problems = {p.id: p for split in ("train", "dev") for p in task.problems(split)}
        attempts = [*json_lines(self._folder / "attempts.jsonl")]
        self._chunk = found.values["generate"]["chunk"]
        self._direct = [row for row in attempts if not row["hinted"]]
        self._hinted = [row for row in attempts if row["hinted"]]
        self._tell(RunStarted(str(run), found.values, found.provenance["base"]))
        for line in found.metrics:
            if line.iteration < iteration:
                self._tell(IterationFinished(line))

    def generated(self) -> None:
        """Both passes over the problems are over."""
        self._passed("generate", self._direct, 1.0)
        if self._hinted:
            self._passed("rationalize", self._hinted, 1.0)

    def training(self, part: float) -> None:
        """A part of the training is over."""
        [*steps] = json_lines(self._folder / "train.jsonl")
        taken = steps[max(0, round(part * len(steps)) - 1)]
        seconds = self._line.seconds["train"] * taken["step"] / taken["steps"]
        self._tell(PhaseStarted(self._n, "train", len(steps)))
        self._tell(
            Progress(
                self._n, "train", taken["step"], taken["steps"], taken["tokens"], seconds,
                taken["loss"], taken["gradient_norm"],
            )
        )  # fmt: skip

    def measuring(self, part: float) -> None:
        """A part of the measurement is over."""
        self._passed("evaluate", [*json_lines(self._folder / "eval.jsonl")], part)

    def _passed(self, phase: Phase, rows: list[dict], part: float) -> None:
        done = round(part * len(rows))
        judged = len(rows) if part == 1 else done // self._chunk * self._chunk
        self._tell(PhaseStarted(self._n, phase, len(rows)))
        followed = {row["id"] for row in self._direct[:: self._chunk]}
        for index, row in enumerate(rows[:judged]):
            second = phase == "rationalize" and row["id"] in followed
            if index % self._chunk == 0 or second:
                self._sample(phase, row)
        right = sum(row["correct"] for row in rows[:judged])
        kept = sum(_kept(row) for row in rows[:judged])
        self._tell(
            Progress(
                self._n, phase, done, len(rows), sum(row["tokens"] for row in rows[:done]),
                self._line.seconds[phase] * part, judged=judged,
                right=right, kept=None if phase == "evaluate" else kept,
            )
        )  # fmt: skip

    def _sample(self, phase: Phase, row: dict) -> None:
        problem = self._problems[row["id"]]
        first = None
        if phase == "rationalize":
            first = next(one for one in self._direct if one["id"] == row["id"])
        text, gold = problem.question.text, problem.answer
        self._tell(Sampled(self._n, text, gold, row, phase, first))

    def _tell(self, event: Event) -> None:
        self.state.apply(event)


def _kept(row: dict) -> bool:
    return row["correct"] and row["finish"] == "stop" and not row.get("rejected")


def picture(
    state: RunState, seconds: float, out: Path, size: tuple[int, int], theme: str = "dark"
) -> None:
    """Draw a state as a terminal of a size and a background shows it."""
    width, height = size
    os.environ["STAR_MLX_THEME"] = theme
    console = Console(
        record=True,
        width=width,
        height=height,
        file=io.StringIO(),
        force_terminal=True,
        color_system="256",
    )
    themed(console).print(draw(state, width, height, seconds))
    out.parent.mkdir(exist_ok=True)
    colours = LIGHT if theme == "light" else DARK
    console.save_svg(str(out), title="star-mlx", theme=colours)


def main() -> None:
    run, out = Path(sys.argv[1]), Path(sys.argv[2])
    found = reading.read(run)
    took = [sum(line.seconds.values()) for line in found.metrics]
    end = Replay(run, found.last)
    end.generated()
    end.training(1.0)
    end.measuring(PART)
    middle = max(1, found.last // 2)
    running = Replay(run, middle)
    running.generated()
    running.training(PART)
    picture(end.state, sum(took), out, SIZE)
    seconds = sum(took[: middle + 1])
    late = Replay(run, found.last)
    late.generated()
    late.training(PART)
    picture(running.state, seconds, out.with_name(f"{out.stem}-running{out.suffix}"), SIZE)
    for size in SIZES:
        for theme in ("dark", "light"):
            name = f"{size[0]}x{size[1]}-{theme}.svg"
            picture(late.state, sum(took), out.parent / "screens" / name, size, theme)


if __name__ == "__main__":
    main()
