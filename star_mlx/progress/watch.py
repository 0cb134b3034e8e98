"""Follow a run that another process drives, by reading its files. Nothing is locked or written."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from star_mlx.errors import RunError
from star_mlx.events import RunFinished
from star_mlx.progress import live_json
from star_mlx.progress.state import RunState
from star_mlx.store import names, reading

Standing = Literal["running", "stopped", "finished"]

LONG = 600.0  # seconds without a sign of life after which that is shown, or the run counts as ended
REDRAW = (
    1.0  # maximum seconds between two states, so that the screen follows the size of its window
)
TAIL = 1 << 16  # bytes at the end of the journal in which its last line is looked for


def states(
    run: Path,
    interval: float = 1.0,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[RunState]:
    """Yield the states of a run until it is finished: read every ``interval`` seconds, and yielded
    at least every second.

    Raises:
        RunError: no such folder, or not a run.
    """
    files = Files(run)
    due, state = 0.0, RunState()
    while True:
        if not state.run or clock() >= due:
            state, due = files.state(), clock() + interval
        yield state
        if state.finished:
            return
        sleep(min(interval, REDRAW))


class Files:
    """A run's files, read again if they have changed. If one cannot be read because it is being
    written, its earlier content is kept."""

    def __init__(self, run: Path) -> None:
        found = reading.read(run)
        self._run, self._record = run, found
        self._read = _version(run / names.METRICS)
        self._seen: live_json.Seen | None = None

    def state(self, now: datetime | None = None) -> RunState:
        """The state of the run at the time ``now``."""
        now = now or datetime.now(timezone.utc)
        self._refresh()
        seen, journal = self._seen or live_json.Seen(), _last_entry(self._run / names.JOURNAL)
        state = replace(seen.state)
        state.run, state.recipe, state.metrics = (
            str(self._run),
            self._record.values,
            list(self._record.metrics),
        )
        state.model = state.model or dict(self._record.provenance.get("base", {}))
        state.peak = max([state.peak, *(m.peak_memory_bytes or 0 for m in state.metrics)])
        if any(line.iteration > seen.last for line in self._record.metrics):
            state.at, state.past = None, []  # that iteration is over
        reason = seen.reason or (journal["reason"] if journal["event"] == "finished" else "")
        if reason:
            took = state.seconds or sum(m.total_seconds for m in state.metrics)
            state.apply(RunFinished(state.run, reason, took))
        else:
            times = [time for time in (seen.time, journal["time"]) if time]
            _judge(state, seen, max(times) if times else None, now)
        return state

    @property
    def record(self) -> reading.RunRecord:
        """The recipe and the metrics as they were read last."""
        return self._record

    def standing(self, now: datetime) -> tuple[Standing, datetime | None]:
        """Whether the run goes on, and its last sign of life."""
        seen, journal = (
            live_json.read(self._run / names.LIVE),
            _last_entry(self._run / names.JOURNAL),
        )
        seen = seen or live_json.Seen()
        times = [time for time in (seen.time, journal["time"]) if time]
        last = max(times) if times else None
        if seen.reason or journal["event"] == "finished":
            return "finished", last
        return ("stopped" if _left(seen, last, now) else "running"), last

    def _refresh(self) -> None:
        if (version := _version(self._run / names.METRICS)) != self._read:
            with suppress(RunError):
                self._record, self._read = reading.read(self._run), version
        self._seen = live_json.read(self._run / names.LIVE) or self._seen


def _judge(state: RunState, seen: live_json.Seen, last: datetime | None, now: datetime) -> None:
    """Set whether a process drives the run, and for how long."""
    when = _when(last, now) if last else "unknown"
    if _left(seen, last, now):
        state.idle = (
            f"no process is driving this run (last sign of life {when}); resume with: "
            f"star-mlx loop --run {shlex.quote(state.run)}"
        )
        return
    state.idle = ""
    if _age(last, now) > LONG:
        state.idle = f"nothing has been written since {when}, but process {seen.pid} is alive"
    if seen.time:
        state.seconds += max(0.0, (now - seen.time).total_seconds())


def _left(seen: live_json.Seen, last: datetime | None, now: datetime) -> bool:
    """Whether no process drives the run any more."""
    known = seen.host == live_json.here()
    ended = seen.time is not None and (not seen.running or (known and not _alive(seen.pid)))
    return ended or (_age(last, now) > LONG and not known)


def _age(last: datetime | None, now: datetime) -> float:
    return (now - last).total_seconds() if last else 0.0


def _when(then: datetime, now: datetime) -> str:
    """``"14:02"``, with the date if that is another day."""
    local = then.astimezone()
    return f"{local:%H:%M}" if local.date() == now.astimezone().date() else f"{local:%F %H:%M}"


def _alive(pid: int) -> bool:
    """Whether this machine has a process with this id."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _last_entry(journal: Path) -> Mapping[str, Any]:
    """``event``, ``time`` and ``reason`` of the journal's last complete line; empty if there is
    none, or if it is very long, which the last line of a finished run is not."""
    nothing = {"event": "", "time": None, "reason": ""}
    try:
        with open(journal, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            whole, _, _ = file.read().rpartition(b"\n")
        entry = json.loads(whole.rpartition(b"\n")[2])
        time = datetime.fromisoformat(entry["time"]).astimezone(timezone.utc)
        return {"event": entry["event"], "time": time, "reason": str(entry.get("reason", ""))}
    except (OSError, ValueError, TypeError, KeyError):
        return nothing
