"""Pass a run's events to the trackers, none of which can stop the run."""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from types import TracebackType

from star_mlx.events import (
    Emit,
    Event,
    IterationFinished,
    Notice,
    PhaseStarted,
    Progress,
    RunFinished,
    RunStarted,
    Sampled,
)
from star_mlx.formatting import harmless
from star_mlx.store import names, reading
from star_mlx.store.metrics import Metrics, as_json
from star_mlx.trackers import flat, kept
from star_mlx.trackers.tracker import SampleRow, Steps, Tracked, Tracker
from star_mlx.types import Phase

EVERY = 5.0  # maximum seconds between two deliveries of optimizer steps
MANY = 300  # maximum optimizer steps in a delivery
SAMPLES = 100  # maximum attempts of an iteration to log


class Trackers:
    """Called with a run's events: passes each on to ``emit``, and logs it to the trackers.

    A tracker that raises is left out from then on, with one warning through ``emit``. The run
    folder records what was logged to each, so that a resumed run continues there.
    """

    def __init__(
        self,
        trackers: Mapping[str, Callable[[], Tracker]],
        folder: Path,
        emit: Emit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make, self._folder, self._emit, self._clock = trackers, folder, emit, clock
        self._kept = kept.read(folder) if trackers else {}
        self._open: dict[str, Tracker] = {}
        self._trained: dict[int, int] = {}  # finished iteration -> its optimizer steps
        self._steps: list[tuple[int, Mapping[str, float]]] = []  # not delivered yet
        self._delivered = clock()
        self._phase: Phase = "evaluate"
        self._last: Progress | None = None  # the previous optimizer step of this training
        self._samples: dict[int, list[SampleRow]] = {}

    def __enter__(self) -> Trackers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._finish(done=kind is None)

    def __call__(self, event: Event) -> None:
        if isinstance(
            event, RunFinished
        ):  # it stays the last event: failures are reported before it
            self._finish(done=True)
        self._emit(event)
        if isinstance(event, RunStarted):
            self._start(event)
        elif not self._open:
            return
        elif isinstance(event, PhaseStarted):
            self._phase, self._last = event.phase, None
        elif isinstance(event, Progress) and event.phase == "train":
            self._step(event)
        elif isinstance(event, Sampled):
            rows = self._samples.setdefault(event.iteration, [])
            if len(rows) < SAMPLES:
                rows.append(flat.sample(event, self._phase))
        elif isinstance(event, IterationFinished):
            self._iteration(event.metrics)

    def _start(self, event: RunStarted) -> None:
        config = {**event.recipe, "base": dict(event.model)}
        for name, make in self._make.items():
            self._open[name] = make()
            entry = self._kept.setdefault(name, {"iteration": -1, "step": 0})
            self._tell(name, partial(self._begin, name, Tracked(self._folder, config, entry)))
        for line in event.completed:
            self._iteration(line)

    def _begin(self, name: str, run: Tracked) -> None:
        self._open[name].start(run)
        kept.write(self._folder, self._kept)

    def _step(self, event: Progress) -> None:
        before, self._last = self._last, event
        tokens = event.tokens - (before.tokens if before else 0)
        seconds = event.seconds - (before.seconds if before else 0.0)
        values = {
            "step/loss": event.loss,
            "step/gradient_norm": event.gradient_norm,
            "step/tokens_per_second": tokens / seconds if seconds > 0 else None,
        }
        step = self._before(event.iteration) + event.done
        self._steps.append((step, {k: v for k, v in values.items() if v is not None}))
        waited = self._clock() - self._delivered
        if event.done >= event.total or waited >= EVERY or len(self._steps) >= MANY:
            self._deliver()

    def _before(self, iteration: int) -> int:
        """The optimizer steps of all earlier iterations."""
        return sum(steps for number, steps in self._trained.items() if number < iteration)

    def _deliver(self) -> None:
        steps, self._steps, self._delivered = self._steps, [], self._clock()
        for name in list(self._open):
            self._tell(name, partial(self._training, name, steps))

    def _training(self, name: str, steps: Steps) -> None:
        """Log the steps that were not logged before: an interrupted training is repeated from its
        beginning, with the same results."""
        if new := [row for row in steps if row[0] > self._kept[name]["step"]]:
            self._open[name].steps(new)
            self._kept[name]["step"] = new[-1][0]
            kept.write(self._folder, self._kept)

    def _iteration(self, line: Metrics) -> None:
        number = line.iteration
        self._trained[number] = line.steps or 0
        self._deliver()
        rows = self._samples.pop(number, [])
        for name in list(self._open):
            if number > self._kept[name]["iteration"]:
                self._tell(name, partial(self._finished, name, line, rows))

    def _finished(self, name: str, line: Metrics, rows: Sequence[SampleRow]) -> None:
        """Log a finished iteration, and its training if that was not logged."""
        tracker, number = self._open[name], line.iteration
        if self._kept[name]["step"] < self._before(number + 1):
            self._training(name, self._stored(number))
        if rows:
            tracker.samples(number, rows)
        adapter = names.adapter(self._folder, number)
        if adapter.is_dir():
            tracker.artifact(number, adapter)
        tracker.metrics(number, flat.numbers(as_json(line)))
        self._kept[name]["iteration"] = number
        kept.write(self._folder, self._kept)

    def _stored(self, iteration: int) -> Steps:
        """The optimizer steps of an iteration, from the run folder."""
        before = self._before(iteration)
        steps = reading.read(self._folder).steps(iteration)
        return [
            (
                before + step.step,
                {"step/loss": step.loss, "step/gradient_norm": step.gradient_norm},
            )
            for step in steps
        ]

    def _finish(self, done: bool) -> None:
        self._deliver()
        for name, tracker in list(self._open.items()):
            self._tell(name, partial(tracker.finish, done))
        self._open.clear()

    def _tell(self, name: str, call: Callable[[], None]) -> None:
        try:
            with _quiet():
                call()
        except (
            Exception
        ) as error:  # libraries and networks can raise anything, which must not stop a run
            tracker = self._open.pop(name)
            with _quiet(), suppress(Exception):  # it has failed already, and is only closed
                tracker.finish(False)
            text = " ".join(harmless(str(error)).split())[:300] or type(error).__name__
            self._emit(Notice("warning", f"{name} failed and is left out from here on: {text}"))


class _Nowhere(io.TextIOBase):
    """Discards the output of a library. It is never closed, because a library may keep it."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)


_NOWHERE = _Nowhere()


@contextmanager
def _quiet() -> Iterator[None]:
    """Discard the output of libraries: standard output may be JSON, and the terminal a screen."""
    with redirect_stdout(_NOWHERE), redirect_stderr(_NOWHERE), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # not for users
        yield
