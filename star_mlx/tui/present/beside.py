"""The projector view beside a run that this process computes."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from types import TracebackType
from typing import Any

from rich.console import Console

from star_mlx.events import Event, RunStarted
from star_mlx.progress.state import RunState
from star_mlx.tasks import own
from star_mlx.tui.live_screen import leave
from star_mlx.tui.plain import PlainScreen

PATIENCE = 5.0  # seconds for the view to restore the terminal


class PresentedScreen:
    """Shows a run's slides by a process of its own, ``star-mlx present RUN``.

    The view reads the run folder, so the loop neither waits for the class nor is slowed by it. If
    the class leaves the view before the run is finished, plain lines follow; if the run is finished
    first, ``__exit__`` waits for the class.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._state = RunState()
        self._started: RunStarted | None = None
        self._view: subprocess.Popen[bytes] | None = None
        self._terminal: Any = None  # its modes before the view
        self._plain = PlainScreen(sys.stdout)

    def __enter__(self) -> PresentedScreen:
        return self

    def __call__(self, event: Event) -> None:
        self._state.apply(event)
        if isinstance(event, RunStarted):
            self._started = event
        elif self._started is not None and self._view is None:  # its live.json is written by now
            self._begin(self._started)
        elif self._view is not None and self._view.poll() is not None:
            self._restore(self._view)
            self._plain.show(self._state)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._view is not None:
            with suppress(KeyboardInterrupt):  # of a view that is over, not of the run
                self._end(self._view, error)
        leave(self._state, self._console)

    def _begin(self, event: RunStarted) -> None:
        import termios

        self._terminal = termios.tcgetattr(sys.stdin.fileno())
        command = [sys.executable, "-m", "star_mlx", "present", "--", event.run]
        self._view = subprocess.Popen(
            command, stdin=sys.stdin, stdout=sys.stdout, env=_environment(event)
        )

    def _end(self, view: subprocess.Popen[bytes], error: BaseException | None) -> None:
        """Wait for the class, or end the view if the run failed."""
        try:
            if error is None:
                view.wait()
            elif isinstance(error, KeyboardInterrupt):  # Ctrl-C has reached the view as well
                view.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _terminated(view)
            self._restore(view)

    def _restore(self, view: subprocess.Popen[bytes]) -> None:
        """Restore the terminal after a view that may have been killed before it did."""
        import termios

        if view.returncode and self._terminal is not None:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, self._terminal)
            self._console.set_alt_screen(False)
            self._console.show_cursor()
            self._terminal = None


def _terminated(view: subprocess.Popen[bytes]) -> None:
    """End a process, by force if it does not end when it is asked to."""
    if view.poll() is None:
        view.terminate()
        try:
            view.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            view.kill()
            view.wait()


def _environment(event: RunStarted) -> dict[str, str]:
    """The environment, in which the view finds the run's task if it is one of the user's own."""
    found, task = dict(os.environ), str(event.recipe.get("task", {}).get("name", ""))
    if own.SEPARATOR in task:
        found[own.ALLOWED] = f"{found.get(own.ALLOWED, '')} {task}".strip()
    return found
