"""The screens for output that is not a terminal: plain lines, and JSON lines."""

from __future__ import annotations

import io
import json
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from rich.console import Console
from rich.filesize import decimal
from rich.text import Text

from star_mlx.errors import StarError
from star_mlx.events import (
    Event,
    IterationFinished,
    Notice,
    PhaseStarted,
    Progress,
    RankAt,
    RunFinished,
    RunStarted,
)
from star_mlx.formatting import DOING, describe, duration, harmless, program, rate
from star_mlx.measure import verdict
from star_mlx.measure.run_problems import try_command
from star_mlx.progress.state import RunState, changes
from star_mlx.progress.time_left import about, phase_left, seconds_left
from star_mlx.store import reading
from star_mlx.store.metrics import Metrics
from star_mlx.tui.tables import (
    change,
    class_cell,
    classes_of,
    loss,
    measured,
    summary,
)

WIDTH = 100  # of the table at the end


class PlainScreen:
    """One line per phase and per iteration, and sometimes one on progress, without ANSI codes.

    Progress within a phase is printed after 10 s and another tenth of it, or after a minute.
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

    def show(self, state: RunState) -> None:
        """Print what is new in a state."""
        for event in changes(self._state, state):
            self(event)
        self._state.idle = state.idle

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._state.metrics and not isinstance(error, BrokenPipeError):
            console = plain_console(self._file)
            console.print()
            console.print(summary(self._state.metrics, WIDTH))
            if self._state.finished:
                for line in ("", *judged(self._state), "", farewell(self._state)):
                    console.print(line, markup=False, soft_wrap=True)

    def _lines(self, event: Event) -> list[str]:
        if isinstance(event, RunStarted):
            return started(event)
        if isinstance(event, PhaseStarted):
            self._told = (self._clock(), 0)
            return [phase_line(event)]
        if isinstance(event, Progress):
            return self._progress(event)
        if isinstance(event, IterationFinished):
            return [iteration_line(event.metrics, self._state.metrics)]
        if isinstance(event, Notice):
            text = harmless(event.text)
            return [f"warning: {text}" if event.level == "warning" else text]
        if isinstance(event, RunFinished):
            return [f"finished in {duration(event.seconds)}: {harmless(event.reason)}"]
        return []

    def _progress(self, event: Progress) -> list[str]:
        now = self._clock()
        waited, more = now - self._told[0], event.done - self._told[1]
        if event.done >= event.total or waited < 10 or (more * 10 < event.total and waited < 60):
            return []
        self._told = (now, event.done)
        return [progress_text(self._state, event)]


class JsonScreen:
    """One JSON object per line, for each event (``Event.to_json``)."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def __enter__(self) -> JsonScreen:
        return self

    def __call__(self, event: Event) -> None:
        print(json.dumps(event.to_json(), default=str), file=self._file, flush=True)

    def __exit__(self, *_: object) -> None:
        return None


def plain_console(file: IO[str]) -> Console:
    """A console that writes no ANSI codes, regardless of the environment."""
    return Console(
        file=file, width=WIDTH, no_color=True, highlight=False, force_terminal=False,
        force_jupyter=False,
    )  # fmt: skip


def as_text(title: str, metrics: Sequence[Metrics], lines: Sequence[str] = ()) -> str:
    """A run as text: its title, the table of yields, the comparisons in words, and more lines."""
    file = io.StringIO()
    if metrics:
        plain_console(file).print(summary(metrics, WIDTH))
    table = "\n".join(line.rstrip() for line in file.getvalue().splitlines())
    parts = [harmless(title), table, harmless("\n".join(lines))]
    return "\n\n".join(part for part in parts if part)


def once(state: RunState, console: Console) -> None:
    """Print a run: its title, its iterations, and its current state."""
    lines = started(RunStarted(state.run, state.recipe, state.model))
    console.print(Text("\n".join(lines)), soft_wrap=True)
    console.print()
    if state.metrics:
        console.print(summary(state.metrics, console.width))
    else:
        console.print("no iteration is finished yet")
    said = [f"{notice.level}: {notice.text}" for notice in state.notices]
    if at := state.at:
        said.append(progress_text(state, at))
        said += memory(state)
        said += map(rank_text, state.ranks)
    if state.idle:
        said.append(state.idle)
    if done := state.finished:
        said.append(f"finished in {duration(done.seconds)}: {done.reason}")
        said += ["", *judged(state), "", farewell(state)]
    if said:
        console.print(Text("\n" + "\n".join(map(harmless, said))), soft_wrap=True)


def started(event: RunStarted) -> list[str]:
    task = harmless(str(event.recipe.get("task", {}).get("name", "")))
    what = [task, ", ".join(describe(event.model)), f"seed {event.recipe.get('seed', 0)}"]
    lines = [f"run {event.run}: {'; '.join(what)}"]
    if event.completed:
        lines.append(f"resumed after iteration {event.completed[-1].iteration}")
    return lines


def phase_line(event: PhaseStarted) -> str:
    unit = "steps" if event.phase == "train" else "problems"
    doing = f"{DOING[event.phase]} {event.note}".rstrip()
    return f"iteration {event.iteration}: {doing}, {event.total} {unit}"


def progress_text(state: RunState, at: Progress) -> str:
    """``"iteration 2: training 40 of 120 steps, 2.1 steps/s, 4100 tokens/s, loss 0.312, 38 s left,
    run: ~3 min left"``."""
    parts = [f"{DOING[at.phase]} {at.done} of {at.total} {_unit(at)}", *rates(at)]
    if rest := phase_left(state):
        parts.append(f"{duration(rest)} left")
    if (left := seconds_left(state)) is not None:
        parts.append(f"run: {about(left)} left")
    return f"iteration {at.iteration}: {', '.join(parts)}"


def rates(at: Progress) -> list[str]:
    """The rates of a phase per second, and the loss of its last step."""
    parts = []
    if speed := rate(at.done, at.seconds):
        parts.append(f"{speed} {_unit(at)}/s")
    if tokens := rate(at.tokens, at.seconds):
        parts.append(f"{tokens} tokens/s")
    if at.loss is not None:
        parts.append(f"loss {at.loss:.3f}")
    return parts


def memory(state: RunState) -> list[str]:
    """``["memory 412 MB, peak 530 MB"]``; empty if unknown."""
    if not state.peak:
        return []
    now = f"memory {_bytes(state.held)}, " if state.held else "memory "
    return [f"{now}peak {_bytes(state.peak)}"]


def rank_text(at: RankAt) -> str:
    """``"rank 2  310 tokens/s  memory 412 MB, peak 530 MB  seen 1 s ago"``."""
    parts = [f"rank {at.rank}", f"{rate(at.rate, 1.0) or 0} tokens/s"]
    if at.peak:
        parts.append(f"memory {_bytes(at.held)}, peak {_bytes(at.peak)}")
    if at.rank:
        parts.append(f"seen {at.silent:.0f} s ago")
    return "  ".join(parts)


def _bytes(number: int) -> str:
    return decimal(number, precision=1 if number >= 1e9 else 0)


def _unit(at: Progress) -> str:
    return "steps" if at.phase == "train" else "problems"


def iteration_line(line: Metrics, metrics: Sequence[Metrics] = ()) -> str:
    """An iteration in one line; ``metrics`` has those before it."""
    before = [other for other in metrics if other.iteration < line.iteration]
    parts = []
    if line.problems is not None:
        parts = [
            f"{line.problems} problems",
            f"{line.solved or 0} solved",
            f"{line.rationalized or 0} with hint",
            f"{line.examples or 0} kept",
        ]
        changes = {"newly solved": line.newly_solved, "forgotten": line.forgotten}
        parts += [f"{n} {words}" for words, n in changes.items() if n is not None]
        parts.append(f"{line.steps or 0} steps")
        if last_loss := loss(line):
            parts.append(f"loss {last_loss}")
    if line.dev:
        points = change(before, line)
        against = f" ({points} against the best before)" if points else ""
        parts.append(f"dev {measured(line.dev)} %{against}")
        if names := classes_of([line]):
            cells = [f"{harmless(n)}: {class_cell(line.by_class[n], False)}" for n in names]
            parts.append(f"by class {' '.join(cells)}")
    parts.append(duration(line.total_seconds))
    return f"iteration {line.iteration} done: {', '.join(parts)}"


def judged(state: RunState) -> list[str]:
    """The verdict on a finished run: as its last event says it, or else from its folder, which is
    all that there is if another process has driven it."""
    lines = state.finished.verdict if state.finished else ()
    if state.finished and not lines:
        with suppress(StarError):
            lines = verdict.of_run(reading.read(Path(state.run))).lines
    return [harmless(line) for line in lines]


def farewell(state: RunState) -> str:
    """What to do with the finished run: commands that can be copied as they are."""
    run = Path(state.run)
    looped = any(line.problems for line in state.metrics) and not state.recipe.get("baseline")
    trace = f"{program()} trace {shlex.quote(state.run)}"
    follow = f"; follow one problem through it: {trace}" if looped else ""
    return harmless(f"the run is in {state.run}; ask it: {try_command(run)}{follow}")
