"""Events -> the state of a run, apart from any drawing."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from star_mlx.types import (
    Event,
    IterationFinished,
    Notice,
    PhaseStarted,
    Progress,
    RunFinished,
    RunStarted,
    Sampled,
)

SAMPLES = 8  # how many of the latest attempts are kept to be shown


@dataclass
class RunState:
    """What is known of a run after the events so far.

    ``at`` is how far the current phase is, None between phases.
    """

    run: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    metrics: list[Mapping[str, Any]] = field(default_factory=list)
    at: Progress | None = None
    samples: deque[Sampled] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    notices: list[Notice] = field(default_factory=list)
    finished: RunFinished | None = None

    def apply(self, event: Event) -> None:
        """Take in one event. An unknown kind changes nothing."""
        if isinstance(event, RunStarted):
            self.run, self.recipe, self.model = event.run, event.recipe, event.model
            self.metrics = list(event.completed)
        elif isinstance(event, PhaseStarted):
            self.at = Progress(event.iteration, event.phase, 0, event.total, 0, 0.0)
        elif isinstance(event, Progress):
            self.at = event
        elif isinstance(event, Sampled):
            self.samples.append(event)
        elif isinstance(event, IterationFinished):
            number = event.metrics["iteration"]
            self.metrics = [m for m in self.metrics if m["iteration"] != number] + [event.metrics]
            self.at = None
        elif isinstance(event, Notice):
            self.notices.append(event)
        elif isinstance(event, RunFinished):
            self.finished, self.at = event, None
