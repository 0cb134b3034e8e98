"""Parallel work on a CPU: a thread and a stream of mlx for each processor.

mlx runs the operations of a stream one after the other, and all but the matrix products on one
thread. With one stream per processor, each taking its share of the rows, no processor waits. (Two
streams evaluated by one thread hardly run in parallel: mlx limits the operations in progress.) On
other devices there is one lane, and the work is done in the calling thread.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import mlx.core as mx

from star_mlx.engine import blas
from star_mlx.engine.device import on_cpu

NARROW = 192  # hidden size below which one product is faster on one thread than on two (measured)
ROWS = 8  # rows that justify a lane: every lane reads all weights


class Stopped(Exception):
    """Another lane failed, or the work was cancelled."""


class DeviceLanes(NamedTuple):
    """As far as a device decides how work is divided: whether it is a CPU, and its lanes."""

    cpu: bool
    width: int = 1

    @classmethod
    def here(cls) -> DeviceLanes:
        """This device."""
        return cls(True, blas.processors()) if on_cpu() else cls(False)


def lanes(rows: int, hidden: int, most: int) -> int:
    """The number of lanes for decoding ``rows`` rows, of ``most``; a narrow model gains nothing by
    more than one."""
    return 1 if hidden < NARROW else max(1, min(most, rows // ROWS))


class Lanes:
    """The threads among which a model's work is divided.

    Args:
        hidden_size: the model's width, on which the use of threads by one product depends.
    """

    def __init__(self, hidden_size: int) -> None:
        self._cpu, self.width = DeviceLanes.here()
        self._hidden, self._narrow = hidden_size, hidden_size < NARROW
        self._pool: ThreadPoolExecutor | None = None
        self._here = threading.local()
        self._use(1)

    def count(self, rows: int) -> int:
        """The number of lanes for decoding ``rows`` rows; a narrow model gains nothing by more."""
        return lanes(rows, self._hidden, self.width)

    def run(
        self, jobs: Sequence[Callable[[Callable[[Any], None]], None]], hear: Callable[[Any], None]
    ) -> None:
        """Run jobs in parallel, each on its own lane, and receive their reports in this thread.

        A job calls its argument to report; the call raises ``Stopped`` if the work is cancelled.
        The first exception of a job, or of ``hear``, is raised when all lanes have stopped.
        """
        if len(jobs) == 1:
            jobs[0](hear)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.width, "lane")
        reports: queue.SimpleQueue[Any] = queue.SimpleQueue()
        given_up = threading.Event()
        ended = object()

        def report(value: Any) -> None:
            if given_up.is_set():
                raise Stopped
            reports.put(value)

        def work(job: Callable[[Callable[[Any], None]], None]) -> None:
            try:
                with mx.stream(self._stream()):
                    job(report)
            except BaseException:
                given_up.set()
                raise
            finally:
                reports.put(ended)

        self._use(len(jobs))
        futures = [self._pool.submit(work, job) for job in jobs]
        try:
            left = len(jobs)
            while left:
                value = reports.get()
                if value is ended:
                    left -= 1
                else:
                    hear(value)
        finally:
            given_up.set()
            errors = [e for f in futures if (e := f.exception()) is not None]
            self._use(1)
        for error in sorted(errors, key=lambda e: isinstance(e, Stopped)):
            raise error

    def _stream(self) -> Any:
        """This thread's stream."""
        if not hasattr(self._here, "stream"):
            self._here.stream = mx.new_stream(mx.cpu)
        return self._here.stream

    def _use(self, lanes: int) -> None:
        """Divide the processors among ``lanes`` lanes."""
        if self._cpu:
            blas.use_threads(1 if self._narrow else max(1, self.width // lanes))
