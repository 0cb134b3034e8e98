"""``RUN/live.json``: the current state of a run, written for processes that watch it (see
``watch.py``)."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, get_args

from star_mlx.events import (
    Emit,
    Event,
    IterationFinished,
    Notice,
    PhaseStarted,
    Progress,
    RankAt,
    RanksSeen,
    RunFinished,
    Sampled,
)
from star_mlx.progress import log
from star_mlx.progress.state import RunState
from star_mlx.store import names
from star_mlx.store.files import json_line
from star_mlx.types import Phase

EVERY = 1.0  # minimum seconds between two writes of progress; other events are written at once
SHARE = 0.002  # maximum share of the time for writing progress
TEXT = 3000  # maximum characters of a sample's texts
NOTICES = 20  # number of latest notices to keep


@dataclass(frozen=True)
class Seen:
    """The content of ``live.json``. ``state`` has its progress, samples and notices; ``reason`` is
    why the run finished, empty if it has not; ``last`` is the last iteration finished at that time,
    -1 for none."""

    pid: int = 0
    host: str = ""
    time: datetime | None = None
    running: bool = False
    reason: str = ""
    last: int = -1
    state: RunState = field(default_factory=RunState)


class Live:
    """Passes events on, and keeps ``RUN/live.json`` up to date with them.

    The file of a run that has ``ended`` is left as it is until new work begins. If the file cannot
    be written, it emits one notice and stops writing; the run goes on.
    """

    def __init__(
        self,
        run: Path,
        emit: Emit,
        clock: Callable[[], float] = time.monotonic,
        *,
        ended: bool = False,
    ) -> None:
        self._ended = ended
        self._path, self._emit, self._clock = run / names.LIVE, emit, clock
        self._state = RunState()
        self._began = clock()
        self._next = 0.0
        self._broken = False

    def __call__(self, event: Event) -> None:
        self._state.apply(event)
        self._emit(event)
        self._ended = self._ended and not isinstance(event, PhaseStarted | IterationFinished)
        now = self._clock()
        if now >= self._next or not isinstance(event, Progress | RanksSeen | Sampled):
            self._write(now, running=self._state.finished is None)

    def close(self) -> None:
        """Record that no process drives the run any more."""
        if self._state.finished is None:
            self._write(self._clock(), running=False)

    def _write(self, now: float, *, running: bool) -> None:
        if self._broken or self._ended:
            return
        began = time.perf_counter()
        data = json_line(snapshot(self._state, running=running, seconds=now - self._began))
        partial = self._path.with_name("live.json.partial")
        try:  # not flushed to the disk: it has no value after a crash of the machine
            partial.write_bytes(data)
            os.replace(partial, self._path)
        except OSError as error:
            self._broken = True
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            text = f"{self._path} cannot be written ({error.strerror}): star-mlx watch shows less"
            self._emit(Notice("warning", text))
        self._next = now + max(EVERY, (time.perf_counter() - began) / SHARE)


@contextmanager
def shared(run: Path, emit: Emit, *, ended: bool = False) -> Iterator[Emit]:
    """``emit``, with ``RUN/live.json`` kept beside it and what libraries say in ``RUN/log.txt``.
    For ``ended`` see ``Live``."""
    with log.captured(run / names.LOG) as said:
        live, mentioned = Live(run, emit, ended=ended), False

        def passed(event: Event) -> None:
            nonlocal mentioned
            live(event)
            if said.lines and not mentioned:
                mentioned = True
                live(_heard(said))

        try:
            yield passed
        finally:
            live.close()


def _heard(said: log.Log) -> Notice:
    if said.fault:
        text = f"a library printed a message, but {said.path} cannot be written ({said.fault})"
        return Notice("warning", text)
    return Notice("info", f"a library printed a message: see {said.path}")


def here() -> str:
    """An identifier of this machine that does not contain its name, as run folders are shared."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:12]


def snapshot(state: RunState, *, running: bool, seconds: float) -> dict[str, Any]:
    """A state in the form of ``live.json``; ``seconds`` is the running time of the process."""
    return {
        "pid": os.getpid(),
        "host": here(),
        "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "running": running,
        "reason": state.finished.reason if state.finished else "",
        "seconds": round(state.finished.seconds if state.finished else seconds, 3),
        "last": max((line.iteration for line in state.metrics), default=-1),
        "model": state.model,
        "at": asdict(state.at) if state.at else None,
        "past": [asdict(at) for at in state.past],
        "held": state.held,
        "peak": state.peak,
        **({"ranks": [asdict(rank) for rank in state.ranks]} if state.ranks else {}),
        "samples": [_sample(sample) for sample in state.samples],
        "notices": [asdict(notice) for notice in state.notices[-NOTICES:]],
    }


def _sample(sample: Sampled) -> dict[str, Any]:
    return {
        "iteration": sample.iteration,
        "question": sample.question[:TEXT],
        "gold": sample.gold[:TEXT],
        "attempt": _cut(sample.attempt),
        "phase": sample.phase,
        "first": _cut(sample.first) if sample.first else None,
    }


def _cut(attempt: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v[:TEXT] if isinstance(v, str) else v for k, v in attempt.items()}


def read(path: Path) -> Seen | None:
    """Read a ``live.json``; None if there is none, or it cannot be understood."""
    try:
        return _seen(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None  # written by another program or version, or gone


def _seen(entry: Mapping[str, Any]) -> Seen:
    state = RunState(
        model=dict(entry["model"]),
        at=_progress(entry["at"]) if entry["at"] else None,
        past=[_progress(at) for at in entry["past"]],
        held=int(entry["held"]),
        peak=int(entry["peak"]),
        seconds=float(entry["seconds"]),
        ranks=tuple(map(_rank, entry.get("ranks", ()))),
    )
    for row in entry["samples"]:
        state.apply(_sampled(row))
    for row in entry["notices"]:
        state.apply(Notice("warning" if row["level"] == "warning" else "info", str(row["text"])))
    reason = str(entry["reason"])
    if reason:
        state.apply(RunFinished("", reason, state.seconds))
    return Seen(
        pid=int(entry["pid"]),
        host=str(entry["host"]),
        time=datetime.fromisoformat(entry["time"]).astimezone(timezone.utc),
        running=bool(entry["running"]),
        reason=reason,
        last=int(entry["last"]),
        state=state,
    )


def _sampled(row: Mapping[str, Any]) -> Sampled:
    phase, first = row.get("phase"), row.get("first")  # older versions do not write these
    return Sampled(
        int(row["iteration"]),
        str(row["question"]),
        str(row["gold"]),
        dict(row["attempt"]),
        phase if phase in get_args(Phase) else None,
        dict(first) if first else None,
    )


def _rank(row: Mapping[str, Any]) -> RankAt:
    numbers = {name: int(row[name]) for name in ("rank", "held", "peak")}
    return RankAt(**numbers, rate=float(row["rate"]), silent=float(row["silent"]))


def _progress(row: Mapping[str, Any]) -> Progress:
    if row["phase"] not in get_args(Phase):
        raise ValueError(row["phase"])
    numbers = {name: int(row[name]) for name in ("iteration", "done", "total", "tokens")}
    memory = row.get("memory")
    return Progress(
        **numbers,
        phase=row["phase"],
        seconds=float(row["seconds"]),
        loss=_number(row.get("loss")),
        gradient_norm=_number(row.get("gradient_norm")),
        memory=(int(memory[0]), int(memory[1])) if memory else None,
        judged=_whole(row.get("judged")),
        right=_whole(row.get("right")),
        kept=_whole(row.get("kept")),
    )


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
