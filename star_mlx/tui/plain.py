"""The screens for what is no terminal: plain lines, and JSON lines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import IO, Any

from rich.console import Console

from star_mlx.state import RunState
from star_mlx.text import DOING, describe, duration, harmless, rate
from star_mlx.tui.tables import class_cell, classes_of, dev_cell, summary
from star_mlx.types import (
    Event,
    IterationFinished,
    Notice,
    PhaseStarted,
    Progress,
    RunFinished,
    RunStarted,
)

WIDTH = 100  # of the table at the end


class PlainScreen:
    """A line a phase, a line an iteration, now and then one on the progress, no ANSI codes.

    Progress within a phase is told after 10 s and a tenth of it more, or after a minute.
    """

    def __init__(self, file: IO[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._clock = file, clock
        self._state = RunState()
        self._told = (0.0, 0)  # when, and what was done then

    def __enter__(self) -> PlainScreen:
        return self

    def __call__(self, event: Event) -> None:
        self._state.apply(event)
        for line in self._lines(event):
            print(line, file=self._file, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._state.metrics and not isinstance(error, BrokenPipeError):
            console = Console(
                file=self._file, width=WIDTH, no_color=True, force_terminal=False, highlight=False
            )
            console.print()
            console.print(summary(self._state.metrics, WIDTH))
            if self._state.finished:
                console.print(f"\n{farewell(self._state)}", markup=False, soft_wrap=True)

    def _lines(self, event: Event) -> list[str]:
        if isinstance(event, RunStarted):
            return started(event)
        if isinstance(event, PhaseStarted):
            self._told = (self._clock(), 0)
            return [phase_line(event)]
        if isinstance(event, Progress):
            return self._progress(event)
        if isinstance(event, IterationFinished):
            return [iteration_line(event.metrics)]
        if isinstance(event, Notice):
            text = harmless(event.text)
            return [f"warning: {text}" if event.level == "warning" else text]
        if isinstance(event, RunFinished):
            return [f"finished in {duration(event.seconds)}: {event.reason}"]
        return []

    def _progress(self, event: Progress) -> list[str]:
        now = self._clock()
        waited, more = now - self._told[0], event.done - self._told[1]
        if event.done >= event.total or waited < 10 or (more * 10 < event.total and waited < 60):
            return []
        self._told = (now, event.done)
        return [f"iteration {event.iteration}: {progress_text(event)}"]


class JsonScreen:
    """A JSON object a line, one for each event (``Event.to_json``)."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def __enter__(self) -> JsonScreen:
        return self

    def __call__(self, event: Event) -> None:
        print(json.dumps(event.to_json(), default=str), file=self._file, flush=True)

    def __exit__(self, *_: object) -> None:
        return None


def started(event: RunStarted) -> list[str]:
    task = event.recipe.get("task", {}).get("name", "")
    what = [task, ", ".join(describe(event.model)), f"seed {event.recipe.get('seed', 0)}"]
    lines = [f"run {event.run}: {'; '.join(what)}"]
    if event.completed:
        lines.append(f"resumed after iteration {event.completed[-1]['iteration']}")
    return lines


def phase_line(event: PhaseStarted) -> str:
    unit = "steps" if event.phase == "train" else "problems"
    return f"iteration {event.iteration}: {DOING[event.phase]}, {event.total} {unit}"


def progress_text(at: Progress) -> str:
    """``"training 40 of 120 steps, 2.1/s, 4100 tokens/s, loss 0.312, 38 s left"``."""
    unit = "steps" if at.phase == "train" else "problems"
    parts = [f"{DOING[at.phase]} {at.done} of {at.total} {unit}"]
    if speed := rate(at.done, at.seconds):
        parts.append(f"{speed}/s")
    if tokens := rate(at.tokens, at.seconds):
        parts.append(f"{tokens} tokens/s")
    if at.loss is not None:
        parts.append(f"loss {at.loss:.3f}")
    if at.done and at.seconds > 0:
        parts.append(f"{duration(at.seconds / at.done * (at.total - at.done))} left")
    return ", ".join(parts)


def iteration_line(line: Mapping[str, Any]) -> str:
    parts = []
    if "problems" in line:
        kept = line.get("kept", line.get("examples", 0))
        parts = [
            f"{line['problems']} problems",
            f"{line.get('solved', 0)} solved",
            f"{line.get('rationalized', 0)} rationalized",
            f"{kept} kept",
            f"{line.get('train', {}).get('steps', 0)} steps",
        ]
    if "eval" in line:
        parts.append(f"dev {dev_cell(line)} %")
        by_class = line["eval"]["by_class"]
        if names := classes_of([line]):
            cells = [f"{harmless(name)}: {class_cell(by_class[name], False)}" for name in names]
            parts.append(f"by class {' '.join(cells)}")
    parts.append(duration(sum(line.get("seconds", {}).values())))
    return f"iteration {line['iteration']} done: {', '.join(parts)}"


def farewell(state: RunState) -> str:
    """What to do with the finished run."""
    return f"the run is in {state.run}; ask it: star-mlx try {state.run} QUESTION"
