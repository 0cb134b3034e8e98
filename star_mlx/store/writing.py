"""The run folder: what is journalled is on disk, and what is not is done again.

Its format is public (``docs/run-folder.md``). Rows of attempts are appended and flushed to the
disk before the journal names their extent in the file; whatever stands behind the last journalled
extent is a chunk that was cut off, and is removed when the run is opened again. Everything else is
written beside its place and renamed into it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from star_mlx.errors import RunError
from star_mlx.store import outcomes
from star_mlx.store.files import (
    drop_partial_line,
    flush,
    flush_folder,
    json_line,
    json_lines,
    replace,
    truncate,
)
from star_mlx.store.reading import RunRecord as RunRecord
from star_mlx.store.reading import iteration_folder
from star_mlx.store.reading import read as read
from star_mlx.types import Attempt, Example, Step, Trained

Kind = str  # direct and hinted passes, dev, and further measurements, each in a file of its name
_FILE = {"direct": "attempts.jsonl", "hinted": "attempts.jsonl", "dev": "eval.jsonl"}


def attempts(rows: Sequence[Mapping[str, Any]]) -> list[Attempt]:
    names = ("id", "hinted", "completion", "answer", "correct", "finish")
    return [
        Attempt(
            **{name: row[name] for name in names},
            token_ids=tuple(row["token_ids"]),
            rejected=row.get("rejected", ""),
        )
        for row in rows
    ]


def attempt_row(attempt: Attempt) -> dict[str, Any]:
    return {**_fields(attempt), "tokens": len(attempt.token_ids)}


def _fields(row: Attempt | Example) -> dict[str, Any]:
    """As ``asdict``, but without a deep copy of the token ids, which takes 30 times as long."""
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


class Store:
    """A run folder open for writing; use ``opened``, which holds the lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._chunks: dict[tuple[int, Kind, int], dict[str, Any]] = {}
        self._trained: dict[int, Trained] = {}
        self.metrics: list[dict[str, Any]] = []
        self.solved: dict[str, bool] = {}  # problem id -> was its last direct attempt right

    def chunk(self, iteration: int, kind: Kind, index: int) -> tuple[list[Attempt], float] | None:
        """The attempts of a finished chunk and the seconds they took, or None."""
        entry = self._chunks.get((iteration, kind, index))
        if entry is None:
            return None
        rows = self._rows(entry).splitlines()
        return attempts([json.loads(row) for row in rows]), entry["seconds"]

    def _rows(self, entry: Mapping[str, Any]) -> bytes:
        """The rows of a finished chunk, by its journal entry."""
        with open(_file(self.path, entry["iteration"], entry["kind"]), "rb") as file:
            file.seek(entry["offset"])
            return file.read(entry["bytes"])

    def save_chunk(
        self, iteration: int, kind: Kind, index: int, rows: Sequence[Attempt], seconds: float
    ) -> None:
        """Append a chunk's attempts, then journal it: from then on it counts."""
        folder = iteration_folder(self.path, iteration)
        folder.mkdir(parents=True, exist_ok=True)
        data = b"".join(json_line(attempt_row(row)) for row in rows)
        with open(_file(self.path, iteration, kind), "ab") as file:
            offset = file.tell()
            file.write(data)
            flush(file)
        entry = {
            "iteration": iteration,
            "kind": kind,
            "index": index,
            "rows": len(rows),
            "offset": offset,
            "bytes": len(data),
            "seconds": round(seconds, 3),
        }
        self.journal("chunk", **entry)
        self._chunks[iteration, kind, index] = entry

    def verdicts(self, iteration: int, kind: Kind) -> dict[str, bool]:
        """Problem id -> solved or not, by the attempts of every finished chunk of a pass."""
        found: dict[str, bool] = {}
        index = 0
        while (entry := self._chunks.get((iteration, kind, index))) is not None:
            try:
                found.update((id, solved) for id, _, solved in outcomes.of(self._rows(entry)))
            except outcomes.Damaged as damage:
                file = _file(self.path, iteration, kind)
                raise RunError(f"{file}: chunk {index} is damaged, {damage}") from None
            index += 1
        return found

    def save_examples(self, iteration: int, examples: Sequence[Example]) -> None:
        """Write the training set, whole or not at all."""
        folder = iteration_folder(self.path, iteration)
        folder.mkdir(parents=True, exist_ok=True)
        replace(folder / "examples.jsonl", (json_line(_fields(example)) for example in examples))

    def examples(self, iteration: int) -> tuple[Example, ...]:
        """The examples kept in that iteration itself, without those carried over."""
        rows = json_lines(iteration_folder(self.path, iteration) / "examples.jsonl")
        return tuple(
            Example(**{**row, "token_ids": tuple(row["token_ids"])})
            for row in rows
            if row["iteration"] == iteration
        )

    def save_steps(self, iteration: int, steps: Sequence[Step]) -> None:
        """Write what each optimizer step came to."""
        path = iteration_folder(self.path, iteration) / "train.jsonl"
        replace(path, (json_line(asdict(step)) for step in steps))

    @contextmanager
    def adapter_folder(self, iteration: int) -> Iterator[Path]:
        """A fresh folder to write an adapter to; it takes its place when the block ends well."""
        folder = iteration_folder(self.path, iteration)
        staging = folder / "adapter.partial"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        yield staging
        shutil.rmtree(self.adapter(iteration), ignore_errors=True)
        os.replace(staging, self.adapter(iteration))
        flush_folder(folder)

    def adapter(self, iteration: int) -> Path:
        return iteration_folder(self.path, iteration) / "adapter"

    def save_trained(self, iteration: int, trained: Trained) -> Trained:
        """Journal that the adapter in its place is whole; the same with its final folder."""
        trained = dataclasses.replace(trained, adapter=self.adapter(iteration))
        entry = {k: v for k, v in asdict(trained).items() if k != "adapter"}
        self.journal("trained", iteration=iteration, **entry)
        self._trained[iteration] = trained
        return trained

    def trained(self, iteration: int) -> Trained | None:
        """What a finished training left, or None."""
        return self._trained.get(iteration) if self.adapter(iteration).is_dir() else None

    def finish(self, metrics: Mapping[str, Any], direct: Sequence[Attempt] = ()) -> None:
        """Journal the verdicts of a finished iteration, then add its line to ``metrics.jsonl``.

        The line is what makes the iteration count.
        """
        solved = dict.fromkeys(a.id for a in direct if a.correct)
        failed = dict.fromkeys(a.id for a in direct if a.id not in solved)
        verdicts = {"solved": list(solved), "failed": list(failed)}
        self.journal("iteration", iteration=metrics["iteration"], **verdicts)
        self._enter(verdicts)
        self.metrics.append(dict(metrics))
        replace(self.path / "metrics.jsonl", map(json_line, self.metrics))

    def take_over(self, other: RunRecord, last: int) -> None:
        """Copy the iterations 0 to ``last`` of another run, as if they had been made here."""
        for line in other.metrics:
            if line["iteration"] <= last:
                name = f"{line['iteration']:03d}"
                source = other.path / "iterations" / name
                if source.is_dir():
                    shutil.copytree(source, self.path / "iterations" / name, dirs_exist_ok=True)
        for entry in json_lines(other.path / "journal.jsonl"):
            if entry.get("iteration", last + 1) <= last:
                fields = {k: v for k, v in entry.items() if k not in ("event", "time")}
                self.journal(entry["event"], **fields)
        lines = [line for line in other.metrics if line["iteration"] <= last]
        replace(self.path / "metrics.jsonl", map(json_line, lines))
        self._replay()

    def _enter(self, verdicts: Mapping[str, Any]) -> None:
        self.solved.update(dict.fromkeys(verdicts["solved"], True))
        self.solved.update(dict.fromkeys(verdicts["failed"], False))

    def journal(self, event: str, **fields: Any) -> None:
        """Append one line to the journal and flush it to the disk."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        with open(self.path / "journal.jsonl", "ab") as file:
            file.write(json_line({"event": event, "time": now, **fields}))
            flush(file)

    def _replay(self) -> None:
        """Read the journal, cut off what it does not vouch for, and drop half-written files."""
        journal = self.path / "journal.jsonl"
        drop_partial_line(journal)
        self.metrics = list(json_lines(self.path / "metrics.jsonl"))
        finished = {line["iteration"] for line in self.metrics}
        sizes: dict[Path, int] = {}
        for entry in json_lines(journal):
            if entry["event"] == "chunk":
                key = (entry["iteration"], entry["kind"], entry["index"])
                self._chunks[key] = entry
                file = _file(self.path, entry["iteration"], entry["kind"])
                sizes[file] = max(sizes.get(file, 0), entry["offset"] + entry["bytes"])
            elif entry["event"] == "trained":
                number = entry["iteration"]
                fields = {k: v for k, v in entry.items() if k not in ("event", "time", "iteration")}
                fields["too_long"] = tuple(fields["too_long"])
                self._trained[number] = Trained(adapter=self.adapter(number), **fields)
            elif entry["event"] == "iteration" and entry["iteration"] in finished:
                self._enter(entry)
        for file in self.path.glob("iterations/*/*.jsonl"):
            if file.name not in ("examples.jsonl", "train.jsonl"):  # these are written whole
                truncate(file, sizes.get(file, 0))
        for file in sizes:
            if not file.exists():
                raise RunError(f"{file} is missing, but the journal of {self.path} speaks of it")
        for staging in self.path.glob("iterations/*/adapter.partial"):
            shutil.rmtree(staging)


def check(path: Path) -> bool:
    """Whether the folder holds a run already; nothing is written.

    Raises:
        RunError: it cannot become or is not a run folder.
    """
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file: a run needs a folder; give another --run")
    if path.is_dir() and (path / "recipe.yaml").is_file():
        if not os.access(path, os.W_OK):
            raise RunError(f"{path} cannot be written to: change its permissions")
        return True
    if path.is_dir() and any(item.name != ".lock" for item in path.iterdir()):
        raise RunError(f"{path} is not a run folder (it has no recipe.yaml) and is not empty")
    parent = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise RunError(f"{path} cannot be made: {parent} is not a folder that can be written to")
    return False


@contextmanager
def opened(path: Path, recipe: Mapping[str, Any]) -> Iterator[Store]:
    """A run folder, made with this recipe if there is none, locked for as long as the block lasts.

    Raises:
        RunError: see ``check``; or another process is writing to the run.
    """
    exists = check(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"{path} is in use: another loop is running on it") from None
    except OSError as error:
        raise RunError(f"{path} cannot be written to: {error.strerror or error}") from None
    try:
        store = Store(path)
        if exists:
            store._replay()
            store.journal("resumed")
        else:
            text = yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True)
            replace(path / "recipe.yaml", text.encode())
            store.journal("created")
        yield store
    finally:
        lock.release()


def _file(path: Path, iteration: int, kind: Kind) -> Path:
    return iteration_folder(path, iteration) / _FILE.get(kind, f"{kind}.jsonl")
