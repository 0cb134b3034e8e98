"""Compare answers in a process of their own, which is ended and replaced at its time limit.

There is one for each process, started with the first answer that is no plain number; threads take
turns. It survives a fork (the child starts its own) and Ctrl-C, and ends with the process.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from functools import lru_cache
from typing import Any

from star_mlx.answers.math.decide import Judged, at_once, plain_number
from star_mlx.answers.math.limits import LONGEST, SECONDS
from star_mlx.errors import TaskError

START_SECONDS = 60.0
SECOND_OPINION_SECONDS = 20.0  # importing sympy is part of the first one

_CODE = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    "from star_mlx.answers.math.worker import serve; serve()"
)


class CheckerError(RuntimeError):
    """The process that compares answers failed: a bug, or a broken installation."""


class Checker:
    """A process that compares answers, started when it is needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._late = False

    def ask(self, what: str, *arguments: str, seconds: float = SECONDS) -> Any:
        """The reply to a request; None if it took longer than it may.

        Raises:
            TaskError: a library that it needs is not installed.
            CheckerError: it failed.
        """
        request = json.dumps([what, seconds, *arguments]).encode() + b"\n"
        with self._lock:
            for last in (False, True):
                process = self._running()
                try:
                    reply = self._reply(process, request, seconds)
                except BaseException:  # Ctrl-C too: a reply is left that nobody reads
                    self._end()
                    raise
                if reply or self._late:
                    break
                self._end()  # it had ended before it was asked; ask another one
                if last:
                    raise CheckerError(f"the process that compares answers ended, asked {what}")
        return self._result(json.loads(reply)) if reply else None

    def _result(self, reply: Any) -> Any:
        if isinstance(reply, dict) and "error" in reply:
            raise (TaskError if reply["missing"] else CheckerError)(reply["error"])
        return reply

    def _reply(self, process: subprocess.Popen[bytes], request: bytes, seconds: float) -> bytes:
        """A line of the process; empty if it ended, at its limit (``_late``) or of itself."""
        assert process.stdin is not None and process.stdout is not None
        self._late = False

        def end() -> None:
            self._late = True
            process.kill()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(request)
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            timer.cancel()
        if self._late:
            self._end()
        return line if line.endswith(b"\n") else b""

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = self._start()
        return self._process

    def _start(self) -> subprocess.Popen[bytes]:
        """Start the process; this takes as long as to import the package."""
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                [sys.executable, "-c", _CODE, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,  # not the terminal, which may hold a screen
                start_new_session=True,  # Ctrl-C in a terminal is not for it
            )
            try:
                ready = self._reply(process, b"", START_SECONDS)
            except BaseException:
                process.kill()
                raise
            if ready != b'"ready"\n':
                process.kill()
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip().rpartition("\n")[2]
                raise CheckerError(f"the process that compares answers did not start: {said}")
        return process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            process.wait()

    def close(self) -> None:
        """End the process, if it runs."""
        with self._lock:
            self._end()

    def forget(self) -> None:
        """In the child of a fork: leave the process to the parent."""
        if self._process is not None:
            _OF_PARENTS.append(self._process)  # closing its pipes could write to them
        self._process, self._lock = None, threading.Lock()


_OF_PARENTS: list[subprocess.Popen[bytes]] = []
_CHECKER = Checker()
atexit.register(_CHECKER.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_CHECKER.forget)


@lru_cache(maxsize=20_000)
def judge(answer: str, gold: str) -> Judged:
    """Whether an answer is mathematically the right one; undecided, with the reason, if it is not
    known.

    >>> judge(r"\\frac{\\sqrt{8}}{2}", r"\\sqrt{2}").decision
    'right'

    Raises:
        TaskError: mpmath is needed and not installed.
    """
    known = at_once(answer, gold)
    if known is not None:
        return known
    if len(answer) > LONGEST:
        return Judged("undecided", f"the answer has more than {LONGEST} characters")
    found = _CHECKER.ask("judge", answer, gold)
    if found is None:
        return Judged("undecided", f"comparing took more than {SECONDS:g} seconds")
    if "undecided" in found:
        return Judged("undecided", found["undecided"])
    return Judged(**found)


@lru_cache(maxsize=20_000)
def unreadable(gold: str) -> str:
    """Why a right answer cannot be read; empty if it can."""
    if plain_number(gold.strip()) is not None:
        return ""
    found = _CHECKER.ask("unreadable", gold)
    if found is None or isinstance(found, dict):
        return (
            f"reading it took more than {SECONDS:g} seconds" if found is None else "it is too large"
        )
    return str(found)


def second_opinions(answer: str, gold: str) -> dict[str, bool | None]:
    """What other checkers say, by their names; None if one cannot say.

    Raises:
        TaskError: math-verify is not installed.
    """
    found = _CHECKER.ask("second", answer, gold, seconds=SECOND_OPINION_SECONDS)
    return found if isinstance(found, dict) and "undecided" not in found else {}
