"""The runs in a folder: what each is of, how far it is and how good, read from its files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from star_mlx.errors import RunError
from star_mlx.progress import watch
from star_mlx.store import names
from star_mlx.store.metrics import Measured


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A run in a list.

    ``done`` of ``planned`` iterations are finished; both are None for a baseline. ``best`` is the
    iteration with the best dev accuracy, which is ``dev``. ``when`` is the run's last sign of life.
    ``fault`` says what is wrong with a damaged run, of which nothing else is known.
    """

    path: Path
    state: watch.Standing | Literal["damaged"]
    task: str = ""
    model: str = ""
    baseline: str | None = None
    done: int | None = None
    planned: int | None = None
    best: int | None = None
    dev: Measured | None = None
    when: datetime | None = None
    fault: str = ""


def listed(folder: Path, now: datetime | None = None) -> list[ListedRun]:
    """The runs in a folder, the one with the latest sign of life last.

    Raises:
        RunError: the folder does not exist or cannot be read.
    """
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise RunError(f"{folder} cannot be read: {error.strerror or error}") from None
    now = now or datetime.now(timezone.utc)
    found = [_listed(path, now) for path in inside if _is_run(path)]
    return sorted(found, key=lambda run: run.when or datetime.min.replace(tzinfo=timezone.utc))


def _is_run(path: Path) -> bool:
    return any((path / name).is_file() for name in (names.RECIPE, names.JOURNAL, names.METRICS))


def _listed(path: Path, now: datetime) -> ListedRun:
    try:
        files = watch.Files(path)
    except RunError as error:
        return ListedRun(path, "damaged", when=_changed(path), fault=" ".join(str(error).split()))
    record = files.record
    state, last = files.standing(now)
    best = next((line for line in record.metrics if line.iteration == record.best), None)
    kind = record.recipe.get("baseline")
    planned = None if kind else _number(record.recipe, "star", "iterations")
    if planned and record.last >= planned and state == "stopped":
        state = "finished"  # one of an earlier version, or measured since
    return ListedRun(
        path,
        state,
        task=_text(record.recipe, "task", "name"),
        model=_text(record.recipe, "model", "path"),
        baseline=None if kind is None else str(kind),
        done=None if kind else record.last,
        planned=planned,
        best=record.best if best and best.dev else None,
        dev=best.dev if best else None,
        when=last or _changed(path),
    )


def _text(values: Any, *keys: str) -> str:
    found = _value(values, *keys)
    return "" if found is None else str(found)


def _number(values: Any, *keys: str) -> int | None:
    found = _value(values, *keys)
    return found if isinstance(found, int) else None


def _value(values: Any, *keys: str) -> Any:
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _changed(path: Path) -> datetime | None:
    """When the newest file of a run folder was written."""
    try:
        times = [file.stat().st_mtime for file in path.iterdir()]
    except OSError:
        return None
    return datetime.fromtimestamp(max(times), timezone.utc) if times else None
