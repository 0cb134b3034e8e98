"""Time spent inside functions, by what they are for, measured from outside.

Functions are replaced by ones that take the time and call them. A second counts once: for the
innermost of the functions that are under way, or for ``OTHER`` where there is none.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

OTHER = "python: other"
Totals = dict[str, float]  # kind -> seconds


class Spans:
    """``seconds[phase][kind]`` of the thread that watches, and of the lanes it waits for."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str | None, Totals] = defaultdict(lambda: defaultdict(float))
        self._clock, self._here, self._phase = clock, threading.local(), None

    @contextmanager
    def watch(self, totals: Totals | None = None) -> Iterator[None]:
        """Take this thread's time while the block lasts; into ``totals``, or by phase."""
        here = self._here
        here.stack, here.totals, here.mark = [OTHER], totals, self._clock()
        try:
            yield
        finally:
            self._settle()
            here.stack = []

    def enter(self, phase: str | None) -> None:
        """What is done from now on belongs to this phase."""
        self._settle()
        self._phase = phase

    def timed(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with the time in it counted as ``kind``."""

        @functools.wraps(function)
        def call(*arguments: Any, **more: Any) -> Any:
            stack = getattr(self._here, "stack", None)
            if not stack:  # not a thread that is watched
                return function(*arguments, **more)
            self._settle()
            stack.append(kind)
            try:
                return function(*arguments, **more)
            finally:
                self._settle()
                stack.pop()

        return call

    def side_by_side(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """``Lanes.run``, with its time shared out as its jobs spent theirs."""

        @functools.wraps(run)
        def call(lanes: Any, jobs: Any, hear: Any) -> Any:
            stack = getattr(self._here, "stack", None)
            if not stack or len(jobs) == 1:
                return run(lanes, jobs, hear)
            apart: list[Totals] = [defaultdict(float) for _ in jobs]

            def watched(job: Any, totals: Totals) -> Callable[[Any], None]:
                def work(report: Any) -> None:
                    with self.watch(totals):
                        job(report)

                return work

            self._settle()
            self._here.stack, start = [], self._clock()
            try:
                pairs = zip(jobs, apart, strict=True)
                return run(lanes, [watched(job, totals) for job, totals in pairs], hear)
            finally:
                self._here.stack, self._here.mark = stack, self._clock()
                whole = sum(sum(totals.values()) for totals in apart) or 1.0
                for totals in apart:
                    for kind, seconds in totals.items():
                        share = seconds / whole * (self._here.mark - start)
                        self.seconds[self._phase][kind] += share

        return call

    def _settle(self) -> None:
        """Count the time since the last change for what was under way."""
        here, now = self._here, self._clock()
        totals = self.seconds[self._phase] if here.totals is None else here.totals
        totals[here.stack[-1]] += now - here.mark
        here.mark = now


@contextmanager
def replaced(changes: list[tuple[Any, str, Callable[[Any], Any]]]) -> Iterator[None]:
    """Replace attributes by what is made of them while the block lasts; (owner, name, make)."""
    with ExitStack() as stack:
        for owner, name, make in changes:
            stack.enter_context(mock.patch.object(owner, name, make(getattr(owner, name))))
        yield
