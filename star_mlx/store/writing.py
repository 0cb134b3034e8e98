"""A run folder open for writing: journalled work is on disk, and any other work is done again.

Its format is public (``docs/run-folder.md``). Rows of attempts are appended and flushed to the
disk before the journal names their extent in the file; rows after the last journalled extent are
an unfinished chunk. Everything else is written to a temporary name and renamed. Only a journalled
file is ever cut, and no symbolic link is followed.
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
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import yaml

from star_mlx.errors import RunError
from star_mlx.store import journal as journals
from star_mlx.store import names, reading, results, rows
from star_mlx.store.files import flush, flush_folder, json_line, replace, training_folder
from star_mlx.store.journal import Journal
from star_mlx.store.lock import locked
from star_mlx.store.metrics import Metrics, Served
from star_mlx.store.metrics import line as metrics_line
from star_mlx.store.reading import RunRecord
from star_mlx.store.results import Result
from star_mlx.types import Attempt, Example, Step, Trained

_LEFT_OF_A_START = {names.LOCK, names.RECIPE + names.PARTIAL}
_OF_TRAINING = (names.QUESTIONS, names.EXAMPLES, names.STEPS)


class Store:
    """A run folder open for writing; use ``opened``, which holds the lock.

    Every method that writes raises RunError if the folder is gone or cannot be written to; finished
    work is kept.
    """

    def __init__(self, path: Path, chunk_rows: int = 0) -> None:
        self.path = path
        self.metrics: list[Metrics] = []
        self.solved: dict[str, bool] = {}  # problem id -> whether its last direct attempt was right
        self._journal = Journal()
        self._lines: list[bytes] = []  # of metrics.jsonl, as written
        self._chunk_rows = chunk_rows  # the maximum number of rows of a chunk
        self._identity = _identity(path)
        self._resuming = False  # whether the journal still has to say that the run is resumed

    # ----------------------------------------------------------------------- attempts

    def chunk(self, iteration: int, kind: str, index: int) -> tuple[list[Attempt], float] | None:
        """The attempts of a finished chunk and the seconds they took, or None.

        Raises:
            RunError: the chunk is damaged.
        """
        entry = self._journal.chunk(iteration, kind, index)
        if entry is None:
            return None
        file = names.attempts(self.path, iteration, kind)
        [(_, data)] = reading.chunk_bytes(file, [entry])
        return reading.decoded(file, entry, data, Attempt), entry.seconds

    def has_chunk(self, iteration: int, kind: str, index: int) -> bool:
        """Whether a chunk is finished."""
        return self._journal.chunk(iteration, kind, index) is not None

    def save_chunk(
        self,
        iteration: int,
        kind: str,
        index: int,
        made: Sequence[Attempt],
        seconds: float,
        served: Served | None = None,
    ) -> None:
        """Append a chunk's attempts, then journal it, which makes it finished. ``served`` is the
        work of servers for it."""
        data = rows.attempts(made)
        file = names.attempts(self.path, iteration, kind)
        end = self._end(iteration, file.name)
        with self._writing(file):
            self._make(iteration)
            with open(os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+b") as rows_:
                _cut(rows_, file, end, max(len(made), self._chunk_rows))
                rows_.seek(end)
                rows_.write(data)
                flush(rows_)
        entry = {
            "iteration": iteration,
            "kind": kind,
            "index": index,
            "rows": len(made),
            "offset": end,
            "bytes": len(data),
            "seconds": round(seconds, 3),
            "sha256": reading.sha256(data),
            **({"served": msgspec.to_builtins(served)} if served else {}),
        }
        self.journal("chunk", **entry)

    def verdicts(self, iteration: int, kind: str) -> dict[str, bool]:
        """Problem id -> whether it is solved, from the finished chunks of a pass.

        Raises:
            RunError: a chunk is damaged.
        """
        file = names.attempts(self.path, iteration, kind)
        found: dict[str, bool] = {}
        for entry, data in reading.chunk_bytes(file, self._journal.of_pass(iteration, kind)):
            outcomes = reading.decoded(file, entry, data, rows.Outcome)
            found.update((outcome.id, outcome.solved) for outcome in outcomes)
        return found

    @property
    def has_chunks(self) -> bool:
        """Whether any chunk is finished."""
        return any(self._journal.chunks.values())

    def count(self, iteration: int, kind: str) -> int:
        """The number of attempts in the finished chunks of a pass."""
        return sum(chunk.rows for chunk in self._journal.of_pass(iteration, kind))

    def served(self, iteration: int | None = None) -> Served:
        """The work of servers for the finished chunks of an iteration, or of all."""
        numbers = self._journal.chunks if iteration is None else [iteration]
        chunks = (c for n in numbers for c in self._journal.chunks.get(n, {}).values())
        return sum((chunk.served for chunk in chunks if chunk.served), Served())

    def _end(self, iteration: int, name: str) -> int:
        """Where the journalled rows of a file of attempts end."""
        chunks = self._journal.of_file(iteration, name)
        return max((chunk.offset + chunk.bytes for chunk in chunks), default=0)

    # ----------------------------------------------------------------------- training

    def save_questions(self, iteration: int, questions: Sequence[rows.AddedQuestion]) -> None:
        """Write the questions that an iteration adds to its problems, atomically."""
        self._save_rows(iteration, names.QUESTIONS, rows.questions(questions))

    def save_examples(self, iteration: int, examples: Sequence[Example]) -> None:
        """Write the training set, atomically."""
        self._save_rows(iteration, names.EXAMPLES, rows.examples(examples))

    def examples(self, iteration: int) -> tuple[Example, ...]:
        """The examples kept in that iteration itself, without those carried over.

        Raises:
            RunError: the file is damaged.
        """
        every = self.record().examples(iteration)
        return tuple(example for example in every if example.iteration == iteration)

    def save_steps(self, iteration: int, steps: Sequence[Step]) -> None:
        """Write the figures of each optimizer step."""
        self._save_rows(iteration, names.STEPS, rows.steps(steps))

    def _save_rows(self, iteration: int, name: str, lines: Iterator[bytes]) -> None:
        file = names.iteration(self.path, iteration) / name
        with self._writing(file):
            self._make(iteration)
            replace(file, lines)

    @contextmanager
    def adapter_folder(self, iteration: int) -> Iterator[Path]:
        """A folder to write an adapter to; it is moved to its place if the block succeeds. It is
        empty, or has the state of a training that was stopped."""
        adapter = self.adapter(iteration)
        staging = adapter.with_name(adapter.name + names.PARTIAL)
        with self._writing(staging):
            self._make(iteration)
            training_folder(staging)
        yield staging
        with self._writing(adapter):
            shutil.rmtree(adapter, ignore_errors=True)
            os.replace(staging, adapter)
            flush_folder(adapter.parent)

    def adapter(self, iteration: int) -> Path:
        """The folder of an iteration's adapter, whether or not it exists yet."""
        return names.adapter(self.path, iteration)

    def save_trained(self, iteration: int, trained: Trained) -> Trained:
        """Journal that the adapter is complete, and return ``trained`` with its final folder."""
        trained = dataclasses.replace(trained, adapter=self.adapter(iteration))
        entry = {k: v for k, v in asdict(trained).items() if k != "adapter"}
        self.journal("trained", iteration=iteration, **entry, files=self._training_files(iteration))
        return trained

    def _training_files(self, iteration: int) -> dict[str, str]:
        """The SHA-256 of the files of a training, by their path in the iteration's folder."""
        folder = names.iteration(self.path, iteration)
        files = [folder / name for name in _OF_TRAINING if (folder / name).is_file()]
        files += sorted(p for p in self.adapter(iteration).rglob("*") if p.is_file())
        return {f.relative_to(folder).as_posix(): reading.file_sha256(f) for f in files}

    def trained(self, iteration: int) -> Trained | None:
        """The result of a finished training, or None.

        Raises:
            RunError: its adapter is damaged.
        """
        entry = self._journal.trained.get(iteration)
        adapter = self.adapter(iteration)
        if entry is None or not adapter.is_dir():
            return None
        reading.verify_adapter(self.path, self._journal, iteration)
        fields = {f.name: getattr(entry, f.name) for f in dataclasses.fields(Trained)[1:]}
        return Trained(adapter=adapter, **fields)

    # ----------------------------------------------------------------------- the run

    def finish(self, metrics: Metrics, direct: Sequence[Attempt] = ()) -> None:
        """Journal the verdicts of a finished iteration, then add its line to ``metrics.jsonl``.

        The line makes the iteration finished.
        """
        solved = dict.fromkeys(a.id for a in direct if a.correct)
        failed = dict.fromkeys(a.id for a in direct if a.id not in solved)
        line = metrics_line(metrics)
        self.journal(
            "iteration",
            iteration=metrics.iteration,
            solved=list(solved),
            failed=list(failed),
            metrics_sha256=reading.sha256(line),
        )
        self._enter(list(solved), list(failed))
        self.metrics.append(metrics)
        self._lines.append(line)
        self._save_metrics(self._lines)

    def _save_metrics(self, lines: Sequence[bytes]) -> None:
        with self._writing(self.path / names.METRICS):
            replace(self.path / names.METRICS, b"".join(line + b"\n" for line in lines))

    def save_result(self, result: Result) -> Path:
        """Write a measurement to ``results/<time>-<split>-<iteration>.json``, whole or not at all,
        and journal it."""
        folder = self.path / names.RESULTS
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        stem = f"{stamp}-{result.split}-{result.iteration:03d}"
        data = json_line(results.as_json(result))
        with self._writing(folder):
            folder.mkdir(exist_ok=True)
            stems = (stem if again == 1 else f"{stem}-{again}" for again in count(1))
            path = next(p for s in stems if not (p := folder / f"{s}.json").exists())
            replace(path, data)
        self.journal("result", file=path.name, sha256=reading.sha256(data))
        return path

    def take_over(self, other: RunRecord, last: int) -> None:
        """Copy the iterations 0 to ``last`` of another run, as if they had been made here."""
        taken = {line.iteration for line in other.metrics if line.iteration <= last}
        with self._writing(self.path):
            for number in taken:
                source = names.iteration(other.path, number)
                if source.is_dir():
                    target = names.iteration(self.path, number)
                    shutil.copytree(source, target, dirs_exist_ok=True)
        for _, head, line in journals.entries(other.path):
            entry = json.loads(line)
            if entry.get("iteration", last + 1) <= last:
                own = ("event", "time", "sum")
                self.journal(head.event, **{k: v for k, v in entry.items() if k not in own})
        lines = reading.metrics_lines(other.path)
        self._save_metrics([line for line in lines if json.loads(line)["iteration"] in taken])
        self._replay()

    def record(self) -> RunRecord:
        """The current content of the folder, as its readers see it."""
        return RunRecord(self.path, {}, self.metrics, {}, self._journal)

    @property
    def reason(self) -> str:
        """Why the run finished, if it did and no iteration was made or taken out since."""
        return self._journal.reason

    def begin(self) -> None:
        """Journal that the run is resumed, unless this was done. A run that has ended is resumed
        by its first work, so one with nothing left to do stays as it is."""
        if self._resuming:
            self._resuming = False
            self.journal("resumed")

    def end(self, reason: str) -> None:
        """Journal why the run finished, unless it says so."""
        if self.reason != reason:
            self.journal("finished", reason=reason)

    def journal(self, event: str, **fields: Any) -> None:
        """Append an entry to the journal, flush it to the disk, and apply it."""
        self.begin()
        with self._writing(self.path / names.JOURNAL):
            line = journals.append(self.path, event, fields)
        self._journal.enter(event, line)
        self._journal.exists = self._journal.verified = True

    def _enter(self, solved: Sequence[str], failed: Sequence[str]) -> None:
        self.solved.update(dict.fromkeys(solved, True))
        self.solved.update(dict.fromkeys(failed, False))

    def _make(self, iteration: int) -> None:
        """Make an iteration's folder, which must be inside the run's folder."""
        for folder in (self.path / names.ITERATIONS, names.iteration(self.path, iteration)):
            folder.mkdir(exist_ok=True)
            _refuse_link(folder)

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        """Turn an OSError in this block into one line: the path, and how to resume the run."""
        if _identity(self.path) != self._identity:
            raise RunError(
                f"{self.path} was moved or removed while it was in use: nothing more is written; "
                "move it back and resume with star-mlx loop --run FOLDER"
            )
        try:
            yield
        except OSError as error:
            raise RunError(
                f"{path} cannot be written: {error.strerror or error}; finished work is kept: "
                f"fix this and resume with star-mlx loop --run {self.path}"
            ) from error

    def _replay(self) -> None:
        """Read the journal, cut off rows that a crash left after its extents, and drop half-written
        files.

        Raises:
            RunError: the journal is missing, damaged or lacks finished work; a file is shorter than
                it says, has more rows than a crash can leave, or is a symbolic link.
        """
        for name in (names.JOURNAL, names.METRICS, names.ITERATIONS):
            _refuse_link(self.path / name)
        _drop_partial_line(self.path / names.JOURNAL)
        self._journal = journals.read(self.path)
        self._lines = reading.metrics_lines(self.path)
        self.metrics = reading.verified_metrics(self.path, self._lines, self._journal)
        finished = {line.iteration for line in self.metrics}
        self._refuse_lacking(finished)
        for number, name in self._journal.files():
            _refuse_link(names.iteration(self.path, number))
            self._cut_tail(number, name)
        self.solved = {}
        for verdicts in journals.verdicts(self.path):
            if verdicts.iteration in finished:
                self._enter(verdicts.solved, verdicts.failed)
        staging = f"{names.ITERATIONS}/*/{names.ADAPTER}{names.PARTIAL}"
        for folder in self.path.glob(staging):
            if not (folder.is_symlink() or (folder / names.TRAINING).is_file()):
                shutil.rmtree(folder)

    def _refuse_lacking(self, finished: set[int]) -> None:
        path = self.path / names.JOURNAL
        if not self._journal.exists and (finished or any(self.path.glob("iterations/*/*"))):
            raise RunError(
                f"{path} is missing, so it is not known which work of the run is finished: put it "
                f"back; star-mlx check {self.path} says what still holds"
            )
        if lacking := sorted(finished - self._journal.finished.keys()):
            raise RunError(
                f"{path} lacks iteration {lacking[0]}, which {names.METRICS} has, so it was cut "
                f"short: put it back; star-mlx check {self.path} says what still holds"
            )

    def _cut_tail(self, number: int, name: str) -> None:
        file, end = names.iteration(self.path, number) / name, self._end(number, name)
        chunks = self._journal.of_file(number, name)
        most = max(self._chunk_rows, *(chunk.rows for chunk in chunks))
        try:
            with open(os.open(file, os.O_RDWR | os.O_NOFOLLOW), "r+b") as rows_:
                _cut(rows_, file, end, most)
        except FileNotFoundError:
            raise RunError(
                f"{file} is missing, but the journal of {self.path} speaks of it"
            ) from None
        except OSError as error:
            _refuse_link(file)
            raise RunError(f"{file} cannot be written: {error.strerror or error}") from None


def _cut(file: Any, path: Path, end: int, most: int) -> None:
    """Cut off the rows after ``end``, which a crash left of a chunk of at most ``most`` rows.

    Raises:
        RunError: the file is shorter than ``end``, or has more rows than that.
    """
    size = file.seek(0, os.SEEK_END)
    if size < end:
        raise RunError(f"{path} is shorter than its journal says: the run folder is damaged")
    if size == end:
        return
    file.seek(end)
    if file.read().count(b"\n") > most:
        raise RunError(
            f"{path} has more rows than its journal names, so the journal was cut short: put it "
            f"back, or move the file away to have its rows made again"
        )
    file.truncate(end)


def _drop_partial_line(path: Path) -> None:
    """Cut off an incomplete last line, which a crash can leave."""
    if path.exists():
        data = path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            os.truncate(path, end)


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise RunError(f"{path} is a symbolic link: a run is written to its own folder alone")


def _identity(path: Path) -> tuple[int, int] | None:
    """The identity of a folder, which differs if another takes its place; None if there is none."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def check(path: Path) -> bool:
    """Whether the folder already holds a run; nothing is written.

    Raises:
        RunError: it is not a run folder, and cannot become one.
    """
    try:
        if path.exists() and not path.is_dir():
            raise RunError(f"{path} is a file: a run needs a folder; give another --run")
        if path.is_dir() and (path / names.RECIPE).is_file():
            if not os.access(path, os.W_OK):
                raise RunError(f"{path} cannot be written to: change its permissions")
            return True
        if path.is_dir() and any(item.name not in _LEFT_OF_A_START for item in path.iterdir()):
            raise RunError(f"{path} is not a run folder (it has no recipe.yaml) and is not empty")
        parent = next(p for p in (path, *path.absolute().parents) if p.exists())
    except OSError as error:
        raise RunError(f"{path} cannot be made: {error.strerror or error}") from None
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise RunError(f"{path} cannot be made: {parent} is not a folder that can be written to")
    return False


@contextmanager
def opened(path: Path, recipe: Mapping[str, Any]) -> Iterator[Store]:
    """Open a run folder, made with this recipe if there is none, and lock it inside the block.

    Raises:
        RunError: see ``check``; or another process is writing to the run, or has just started it
            with another recipe; or the run is damaged.
    """
    exists = check(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{path} cannot be written to: {error.strerror or error}") from None
    with locked(path):
        store = Store(path, _chunk_rows(recipe))
        if exists:
            store._replay()
            store._resuming = True
            if not store.reason:
                store.begin()
        elif (path / names.RECIPE).is_file():
            raise RunError(f"{path} was begun by another loop just now: give another --run")
        else:
            text = yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True).encode()
            with store._writing(path / names.RECIPE):
                replace(path / names.RECIPE, text)
            store.journal("created", recipe_sha256=reading.sha256(text))
        yield store


def _chunk_rows(recipe: Mapping[str, Any]) -> int:
    """The maximum number of rows of a recipe's chunks; 0 if the recipe does not say."""
    generate = recipe.get("generate")
    return generate["chunk"] * generate["samples"] if isinstance(generate, Mapping) else 0
