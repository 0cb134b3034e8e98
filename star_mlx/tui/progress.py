"""The progress of a single task on standard error: a bar on a terminal, otherwise one line."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from star_mlx import events
from star_mlx.formatting import DOING, harmless


class ProgressBar:
    """A context manager called with each event; it writes nothing to standard output."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._lines = not console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=self._lines,
        )
        self._work = self._bar.add_task("", total=None)

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.PhaseStarted):
            doing = f"{DOING[event.phase]} {event.note}".rstrip()
            self._bar.reset(self._work, total=event.total, description=doing)
            if self._lines:
                print(f"{doing}: {event.total}", file=sys.stderr, flush=True)
        elif isinstance(event, events.Progress):
            self._bar.update(self._work, completed=event.done)
        elif isinstance(event, events.Notice):
            self._bar.console.print(harmless(f"{event.level}: {event.text}"), markup=False)
