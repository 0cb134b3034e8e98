"""The state of a run, built from its events and independent of any display."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from star_mlx.events import (
    Event,
    IterationFinished,
    Notice,
    PhaseStarted,
    Progress,
    RankAt,
    RanksSeen,
    RunFinished,
    RunStarted,
    Sampled,
)
from star_mlx.store.metrics import Metrics

SAMPLES = 8  # number of latest attempts to keep for display


@dataclass
class RunState:
    """The state of a run after the events so far.

    ``at`` is the progress of the current phase, None between phases; ``past`` are the finished
    phases of the current iteration, as they ended. ``held`` and ``peak`` are bytes in use by the
    engine, now and at most; 0 if unknown. ``ranks`` are the processes that share the run, if there
    are several. ``seconds`` and ``idle`` are for watching a run of
    another process: how long that has been running, and why nothing happens.
    """

    run: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    metrics: list[Metrics] = field(default_factory=list)
    at: Progress | None = None
    past: list[Progress] = field(default_factory=list)
    held: int = 0
    peak: int = 0
    ranks: tuple[RankAt, ...] = ()
    samples: deque[Sampled] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    notices: list[Notice] = field(default_factory=list)
    finished: RunFinished | None = None
    seconds: float = 0.0
    idle: str = ""

    def apply(self, event: Event) -> None:
        """Apply one event. An unknown kind is ignored."""
        if isinstance(event, RunStarted):
            self.run, self.recipe, self.model = event.run, event.recipe, event.model
            self.metrics = []
            for line in event.completed:
                self._enter(line)
        elif isinstance(event, PhaseStarted):
            if self.at is not None:
                self.past.append(self.at)
            self.past = [at for at in self.past if at.iteration == event.iteration]
            self.at = Progress(event.iteration, event.phase, 0, event.total, 0, 0.0)
        elif isinstance(event, Progress):
            self.at = event
            if event.memory:
                self.held, self.peak = event.memory[0], max(self.peak, *event.memory)
        elif isinstance(event, RanksSeen):
            self.ranks = event.ranks
        elif isinstance(event, Sampled):
            self._show(event)
        elif isinstance(event, IterationFinished):
            self._enter(event.metrics)
            self.at, self.past = None, []
        elif isinstance(event, Notice):
            self.notices.append(event)
        elif isinstance(event, RunFinished):
            self.finished, self.at = event, None

    def _show(self, sample: Sampled) -> None:
        """Add a sample. The second attempt at a problem takes the place of the first."""
        if sample.attempt.get("hinted"):
            for old in [old for old in self.samples if _same(old, sample)]:
                self.samples.remove(old)
                sample = sample if sample.first else replace(sample, first=old.attempt)
        self.samples.append(sample)

    def _enter(self, line: Metrics) -> None:
        number = line.iteration
        self.metrics = [m for m in self.metrics if m.iteration != number] + [line]
        self.peak = max(self.peak, line.peak_memory_bytes or 0)


def _same(old: Sampled, new: Sampled) -> bool:
    """Whether two samples are of the same problem in the same iteration, the old without hint."""
    ids = (old.iteration, old.attempt.get("id")), (new.iteration, new.attempt.get("id"))
    return ids[0] == ids[1] and not old.attempt.get("hinted") and old.phase != "evaluate"


def changes(old: RunState, new: RunState) -> Iterator[Event]:
    """Events that lead from one state of a run to another, as far as plain lines show them."""
    if not old.run:
        yield RunStarted(new.run, new.recipe, new.model)
    known = {line.iteration for line in old.metrics}
    for line in new.metrics:
        if line.iteration not in known:
            yield IterationFinished(line)
    for notice in new.notices:
        if notice not in old.notices:
            yield notice
    if new.at is not None and new.at != old.at:
        if old.at is None or _another(old.at, new.at):
            yield PhaseStarted(new.at.iteration, new.at.phase, new.at.total, _note(new, new.at))
        yield new.at
    if new.idle and new.idle != old.idle:
        yield Notice("warning", new.idle)
    if new.finished and not old.finished:
        yield new.finished


def _note(state: RunState, at: Progress) -> str:
    """How or where a phase measures: the base is evaluated twice, and perhaps the test split once
    the loop is over."""
    if any(line.iteration >= at.iteration for line in state.metrics):
        return "on test"
    again = at.iteration == 0 and any(past.phase == "evaluate" for past in state.past)
    return "without examples" if again else ""


def _another(old: Progress, new: Progress) -> bool:
    """Whether the phase has changed; the base is evaluated twice."""
    same = (old.iteration, old.phase, old.total) == (new.iteration, new.phase, new.total)
    return not same or new.done < old.done
