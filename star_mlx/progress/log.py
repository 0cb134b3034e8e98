"""Send the output of libraries during a run to a file: warnings, log records, progress bars."""

from __future__ import annotations

import io
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

from star_mlx.formatting import harmless


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


class Log(io.TextIOBase):
    """A text stream whose lines are appended to a file, each with its time.

    The first line creates the file. If a line is overwritten (with carriage returns, as progress
    bars do), its last state is kept. If the file cannot be written to, ``fault`` says why and
    nothing more is written. After it is closed, text goes to standard error.
    """

    def __init__(self, path: Path, now: Callable[[], str] = _now) -> None:
        self.path, self._now = path, now
        self.lines = 0  # written
        self.fault = ""
        self._part = ""  # of a line that has not ended
        self._lock = threading.Lock()
        self._ended = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self._ended:
            sys.stderr.write(text)
            return len(text)
        with self._lock:
            *lines, rest = (self._part + text).split("\n")
            shown, _, over = rest.rpartition("\r")
            self._part = over if over.strip() or not shown else f"{_last(shown)}\r{over}"
            for line in lines:
                self._keep(_last(line))
        return len(text)

    def end(self) -> None:
        """Write the unfinished last line, and accept no more."""
        with self._lock:
            self._keep(_last(self._part))
            self._part, self._ended = "", True

    def _keep(self, line: str) -> None:
        if not line.strip() or self.fault:
            return
        try:
            with open(self.path, "ab") as file:
                file.write(f"{self._now()} {harmless(line.rstrip())}\n".encode())
        except OSError as error:
            self.fault = error.strerror or str(error)
        self.lines += 1


@contextmanager
def captured(path: Path) -> Iterator[Log]:
    """Inside the block, send to a file what libraries would print on the terminal.

    That is ``warnings.warn``, log records from WARNING on, and text written to standard error,
    also by existing handlers. Everything is restored afterwards. Exceptions of the block are not
    affected.
    """
    log = Log(path)
    root, handlers = logging.getLogger(), _on_terminal()
    own = logging.StreamHandler(log)
    own.setLevel(logging.WARNING)
    own.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    adds = not any(
        handler in root.handlers for handler, _ in handlers
    )  # else records are written twice
    show, terminal = warnings.showwarning, sys.stderr
    try:
        for handler, _ in handlers:
            handler.setStream(log)
        if adds:
            root.addHandler(own)
        warnings.showwarning = _shown_in(log)
        sys.stderr = log
        yield log
    finally:
        sys.stderr, warnings.showwarning = terminal, show
        root.removeHandler(own)
        for handler, stream in handlers:
            handler.setStream(stream)
        log.end()


def _on_terminal() -> list[tuple[logging.StreamHandler[Any], Any]]:
    """Every logger's handlers that write to standard error, with their streams."""
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    found = {
        handler: handler.stream
        for logger in loggers
        if isinstance(logger, logging.Logger)
        for handler in logger.handlers
        if isinstance(handler, logging.StreamHandler)
        and handler.stream in (sys.stderr, sys.__stderr__)
    }
    return list(found.items())


def _shown_in(log: Log) -> Callable[..., None]:
    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        (file or log).write(f"{category.__name__}: {message} ({filename}:{lineno})\n")

    return show


def _last(line: str) -> str:
    """The last state of a line that was overwritten."""
    return next((part for part in reversed(line.split("\r")) if part.strip()), "")
