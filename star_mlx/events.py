"""The events of a run. The run emits them; the screen, the trackers and callers of the Python API
receive them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from star_mlx.store.metrics import Metrics, as_json
from star_mlx.types import Phase


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run; ``to_json`` names its class in snake case.

    >>> Notice("warning", "3 rows left out").to_json()
    {'event': 'notice', 'level': 'warning', 'text': '3 rows left out'}
    """

    def to_json(self) -> dict[str, Any]:
        name = type(self).__name__
        kind = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
        return {"event": kind, **asdict(self)}


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """The run folder is open and the model is loaded; the work begins."""

    run: str
    recipe: Mapping[str, Any]
    model: Mapping[str, Any]
    completed: tuple[Metrics, ...] = ()  # the iterations finished before, if the run is resumed

    def to_json(self) -> dict[str, Any]:
        return {**Event.to_json(self), "completed": [as_json(line) for line in self.completed]}


@dataclass(frozen=True, slots=True)
class PhaseStarted(Event):
    """An iteration begins to generate, rationalize, train or evaluate."""

    iteration: int
    phase: Phase
    total: int  # problems, or optimizer steps
    note: str = ""  # how or where it measures, such as "without examples" or "on test"


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """The progress of a phase; in training, one event per optimizer step."""

    iteration: int
    phase: Phase
    done: int  # problems, or optimizer steps
    total: int
    tokens: int  # since the phase began
    seconds: float
    loss: float | None = None  # nats per token, of the last optimizer step
    gradient_norm: float | None = None  # of that step, before clipping
    memory: tuple[int, int] | None = None  # bytes in use by the engine: now, and the peak so far
    judged: int | None = None  # attempts judged so far: those of the finished chunks
    right: int | None = None  # of the judged ones
    kept: int | None = None  # of the judged ones, each distinct rationale once; None in measuring


@dataclass(frozen=True, slots=True)
class RankAt:
    """One of the processes that share a run: how fast it is, and when it was last heard of."""

    rank: int
    rate: float  # tokens a second in this phase
    held: int  # bytes in use by its engine
    peak: int
    silent: float  # seconds since it was heard of; 0 for rank 0, which tells


@dataclass(frozen=True, slots=True)
class RanksSeen(Event):
    """The processes that share a run, once a second while they work."""

    ranks: tuple[RankAt, ...]


@dataclass(frozen=True, slots=True)
class Sampled(Event):
    """An attempt to show: the first of its chunk, right or wrong, or the second one at a problem of
    which the first was shown."""

    iteration: int
    question: str
    gold: str
    attempt: Mapping[str, Any]
    phase: Phase | None = None  # in which it was made; None if unknown
    first: Mapping[str, Any] | None = None  # the attempt without the hint that this one follows


@dataclass(frozen=True, slots=True)
class IterationFinished(Event):
    """An iteration is finished and on disk; 0 is the base."""

    metrics: Metrics

    def to_json(self) -> dict[str, Any]:
        return {**Event.to_json(self), "metrics": as_json(self.metrics)}


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """A message to the user, in one sentence."""

    level: Literal["info", "warning"]
    text: str


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """The run has ended by itself; ``reason`` says why, such as ``done``.

    ``verdict`` says in plain sentences whether it helped (``measure.verdict``).
    """

    run: str
    reason: str
    seconds: float
    verdict: tuple[str, ...] = ()


Emit = Callable[[Event], None]
