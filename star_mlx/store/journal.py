"""``journal.jsonl``: the finished work of a run, in order, with the checksums of its files.

Lines are only ever appended. Each ends in ``sum``, a CRC-32 of the line without it; an entry for
data has the data's SHA-256. Journals written before checksums existed have neither, and can still
be read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from star_mlx.errors import RunError
from star_mlx.store import names
from star_mlx.store.files import flush, json_line
from star_mlx.store.metrics import Served
from star_mlx.store.rows import Damaged, decode

_SUM = b',"sum":"'
_TAIL = len(_SUM) + 8 + len(b'"}')


class Head(msgspec.Struct, frozen=True):
    """The fields that every entry has."""

    event: str
    time: str
    reason: str = ""  # why a run finished


class Created(msgspec.Struct, frozen=True):
    recipe_sha256: str = ""


class Chunk(msgspec.Struct, frozen=True):
    """The rows of a finished chunk: their place in the file of their pass."""

    iteration: int
    kind: str
    index: int
    rows: int
    offset: int
    bytes: int
    seconds: float = 0.0
    sha256: str = ""
    served: Served | None = None  # the work of servers for it


class TrainedEntry(msgspec.Struct, frozen=True):
    """A finished training; ``files`` has the SHA-256 of each file, by its path in the iteration's
    folder."""

    iteration: int
    steps: int
    epochs: float
    tokens: int
    first_loss: float
    last_loss: float
    seconds: float
    too_long: tuple[str, ...] = ()
    padding: float = 0.0
    files: dict[str, str] = {}


class Finished(msgspec.Struct, frozen=True):
    """A finished iteration, with the SHA-256 of its line of metrics.jsonl."""

    iteration: int
    metrics_sha256: str = ""


class Verdicts(msgspec.Struct, frozen=True):
    """The problems that an iteration attempted directly: those with a right attempt, and the
    others."""

    iteration: int
    solved: list[str] = []
    failed: list[str] = []


class ResultEntry(msgspec.Struct, frozen=True):
    """A measurement's file in results/."""

    file: str
    sha256: str


class Dropped(msgspec.Struct, frozen=True):
    """A unit that `star-mlx check --repair` took out, to be made again: the chunks of a pass from
    ``index`` on, the training or the metrics line of an iteration, or a result."""

    what: str  # "chunks", "trained", "iteration" or "result"
    iteration: int = 0
    kind: str = ""
    index: int = 0
    file: str = ""


@dataclass
class Journal:
    """The finished work that a journal records.

    ``chunks`` are by iteration, then by (kind, index); ``exists`` says whether there is a journal
    at all, ``verified`` whether its lines have checksums.
    """

    chunks: dict[int, dict[tuple[str, int], Chunk]] = field(default_factory=dict)
    trained: dict[int, TrainedEntry] = field(default_factory=dict)
    finished: dict[int, Finished] = field(default_factory=dict)
    results: dict[str, ResultEntry] = field(default_factory=dict)
    created: str = ""  # when
    reason: str = ""  # why the run finished, if it did and nothing was added or taken out since
    recipe_sha256: str = ""
    exists: bool = False
    repeats: bool = False  # whether an iteration may have finished more than once
    verified: bool = False

    def chunk(self, number: int, kind: str, index: int) -> Chunk | None:
        """A finished chunk, or None."""
        return self.chunks.get(number, {}).get((kind, index))

    def of_pass(self, number: int, kind: str) -> list[Chunk]:
        """The finished chunks of a pass, from the first up to a gap."""
        found: list[Chunk] = []
        while chunk := self.chunk(number, kind, len(found)):
            found.append(chunk)
        return found

    def of_file(self, number: int, name: str) -> list[Chunk]:
        """The chunks in a file of attempts of an iteration, in the order of the file."""
        chunks = self.chunks.get(number, {}).values()
        found = [chunk for chunk in chunks if names.attempts_name(chunk.kind) == name]
        return sorted(found, key=lambda chunk: chunk.offset)

    def files(self) -> Iterator[tuple[int, str]]:
        """The iteration and the name of every file of attempts in the journal."""
        for number, chunks in self.chunks.items():
            for name in dict.fromkeys(names.attempts_name(kind) for kind, _ in chunks):
                yield number, name

    def enter(self, event: str, line: bytes) -> None:
        """Add an entry. An unknown event is ignored.

        Raises:
            Damaged: it does not have the fields of its event.
        """
        if event in ("trained", "iteration", "dropped"):
            self.reason = ""
        if event == "chunk":
            [chunk] = decode(line, Chunk)
            self.chunks.setdefault(chunk.iteration, {})[chunk.kind, chunk.index] = chunk
        elif event == "trained":
            [trained] = decode(line, TrainedEntry)
            self.trained[trained.iteration] = trained
        elif event == "iteration":
            [finished] = decode(line, Finished)
            self.repeats |= finished.iteration in self.finished
            self.finished[finished.iteration] = finished
        elif event == "finished":
            self.reason = decode(line, Head)[0].reason
        elif event == "created":
            self.recipe_sha256 = decode(line, Created)[0].recipe_sha256
            self.created = decode(line, Head)[0].time
        elif event == "result":
            [result] = decode(line, ResultEntry)
            self.results[result.file] = result
        elif event == "dropped":
            self._drop(decode(line, Dropped)[0])

    def _drop(self, dropped: Dropped) -> None:
        if dropped.what == "chunks":
            chunks = self.chunks.get(dropped.iteration, {})
            for kind, index in list(chunks):
                if kind == dropped.kind and index >= dropped.index:
                    del chunks[kind, index]
        elif dropped.what == "trained":
            self.trained.pop(dropped.iteration, None)
        elif dropped.what == "iteration":
            self.repeats |= self.finished.pop(dropped.iteration, None) is not None
        elif dropped.what == "result":
            self.results.pop(dropped.file, None)


def read(run: Path) -> Journal:
    """Read a run's journal. An incomplete last line, which a crash can leave, is ignored.

    Raises:
        RunError: a line is damaged; names its number.
    """
    found = Journal()
    for number, head, line in entries(run):
        with _named(run, number):
            found.enter(head.event, line)
        found.verified = found.verified or _SUM in line[-_TAIL:]
        found.exists = True
    return found


def verdicts(run: Path) -> Iterator[Verdicts]:
    """The verdicts of every finished iteration of the journal, in order.

    Raises:
        RunError: see ``read``.
    """
    for number, head, line in entries(run):
        if head.event == "iteration":
            with _named(run, number):
                [found] = decode(line, Verdicts)
            yield found


def entries(run: Path) -> Iterator[tuple[int, Head, bytes]]:
    """Yield every complete line: its number from 1, its head and its bytes, after comparing its
    checksum.

    Raises:
        RunError: a line is damaged (names its number), or the file cannot be read.
    """
    path = run / names.JOURNAL
    try:
        file = open(path, "rb")  # noqa: SIM115 (closed below)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from None
    with file:
        summed = False
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            line = line[:-1]
            with _named(run, number):
                summed = _verified(line, number, summed)
                [head] = decode(line, Head)
            yield number, head, line


def _verified(line: bytes, number: int, summed: bool) -> bool:
    """Compare a line with its checksum, and return whether it has one. After a line with one
    (``summed``), every line must have one.

    Raises:
        Damaged: the checksum does not match, or is missing.
    """
    if line[-_TAIL:-10] != _SUM:
        if summed:
            raise Damaged(number, "it has no checksum")
        return False
    if line[-10:-2] != _sum(line[:-_TAIL] + b"}"):
        raise Damaged(number, "its checksum does not match")
    return True


@contextmanager
def _named(run: Path, number: int) -> Iterator[None]:
    """Turn ``Damaged`` into an error that names the journal and the line."""
    try:
        yield
    except Damaged as damage:
        raise RunError(
            f"{run / names.JOURNAL}, line {number} is damaged: {damage.why}; star-mlx check {run} "
            "says what still holds"
        ) from None


def line(event: str, fields: Mapping[str, Any]) -> bytes:
    """A new entry with the current time, as a line."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    text = json_line({"event": event, "time": now, **fields}).removesuffix(b"\n")
    return text.removesuffix(b"}") + _SUM + _sum(text) + b'"}\n'


def append(run: Path, event: str, fields: Mapping[str, Any]) -> bytes:
    """Append an entry, flush it to the disk, and return the line without its newline."""
    made = line(event, fields)
    with open(run / names.JOURNAL, "ab") as file:
        file.write(made)
        flush(file)
    return made.removesuffix(b"\n")


def _sum(data: bytes) -> bytes:
    return f"{zlib.crc32(data):08x}".encode()
