"""Read a run folder. All its rows are read here, and compared with their checksums.

Nothing is locked or written, so a run can be read while another process writes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from star_mlx.data import yaml_text
from star_mlx.errors import RunError
from star_mlx.store import journal as journals
from star_mlx.store import names, rows
from star_mlx.store.journal import Chunk, Journal
from star_mlx.store.metrics import Metrics
from star_mlx.store.results import Result
from star_mlx.store.results import decoded as decoded_result
from star_mlx.store.rows import AddedQuestion
from star_mlx.store.which import most_accurate
from star_mlx.types import Example, Step

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The content of a run folder.

    ``recipe`` is the resolved recipe and ``provenance`` what the run depends on beyond it;
    ``metrics`` are the lines of metrics.jsonl; ``journal`` has the finished rows' checksums.
    """

    path: Path
    recipe: dict[str, Any]
    metrics: list[Metrics]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    journal: Journal = field(default_factory=Journal)

    @property
    def values(self) -> dict[str, Any]:
        """The content of recipe.yaml: the recipe, with the provenance under that key."""
        return {**self.recipe, "provenance": dict(self.provenance)} if self.provenance else {
            **self.recipe
        }  # fmt: skip

    @property
    def last(self) -> int:
        """The last finished iteration; 0 is the base."""
        return max((line.iteration for line in self.metrics), default=0)

    @property
    def best(self) -> int:
        """The finished iteration with the highest dev accuracy, the earliest of equals; the last
        if none was evaluated. It may be 0, the base."""
        scores = {line.iteration: line.dev.accuracy for line in self.metrics if line.dev}
        found = most_accurate(scores)
        return self.last if found is None else found

    def adapter(self, iteration: int) -> Path | None:
        """The adapter of a finished iteration, verified; None for iteration 0, the base.

        Raises:
            RunError: the run has no such iteration, or its adapter is damaged.
        """
        if iteration == 0:
            return None
        folder = names.adapter(self.path, iteration)
        if iteration > self.last or not folder.is_dir():
            raise RunError(f"{self.path} has no iteration {iteration}: its last is {self.last}")
        verify_adapter(self.path, self.journal, iteration)
        return folder

    def rows(
        self, number: int, name: str, type: type[T], *, kind: str | None = None
    ) -> Iterator[list[T]]:
        """The rows of a file of attempts of an iteration, one chunk at a time; none if there is no
        such file. Rows after the journal's last chunk are unfinished and not read. With ``kind``,
        only the chunks of that pass.

        Raises:
            RunError: a chunk is damaged, or the file is missing although the journal names it.
        """
        file = names.iteration(self.path, number) / name
        chunks = self.journal.of_file(number, name)
        if not chunks:  # a folder without its journal: nothing to compare with
            yield from rows.read(file, type)
            return
        wanted = [chunk for chunk in chunks if kind in (None, chunk.kind)]
        for chunk, data in chunk_bytes(file, wanted):
            yield decoded(file, chunk, data, type)

    def examples(self, number: int) -> Iterator[Example]:
        """The training set of an iteration; empty if it has none.

        Raises:
            RunError: the file is damaged.
        """
        return self._whole(number, names.EXAMPLES, Example)

    def questions(self, number: int) -> Iterator[AddedQuestion]:
        """The questions that an iteration added to its problems; empty if there are none.

        Raises:
            RunError: the file is damaged.
        """
        return self._whole(number, names.QUESTIONS, AddedQuestion)

    def steps(self, number: int) -> Iterator[Step]:
        """The optimizer steps of an iteration.

        Raises:
            RunError: the file is damaged.
        """
        return self._whole(number, names.STEPS, Step)

    def _whole(self, number: int, name: str, type: type[T]) -> Iterator[T]:
        verify_file(self.path, self.journal, number, name)
        file = names.iteration(self.path, number) / name
        return (row for block in rows.read(file, type) for row in block)

    def results(self) -> Iterator[tuple[Path, Result | None]]:
        """Every file of results/, with what it holds; None for one that is damaged or foreign."""
        for file in names.results(self.path):
            yield file, self._result(file)

    def _result(self, file: Path) -> Result | None:
        known = self.journal.results.get(file.name)
        try:
            data = file.read_bytes()
        except OSError:
            return None
        return decoded_result(data) if known is None or sha256(data) == known.sha256 else None

    def test_reads(self) -> int:
        """How often the test split was read in this run, including for deleted results."""
        every = {file.name for file in names.results(self.path)} | self.journal.results.keys()
        return sum("-test-" in name for name in every)


def read(path: Path) -> RunRecord:
    """Read a run folder.

    Raises:
        RunError: no such folder, not a run, or a file in it cannot be read or is damaged.
    """
    if not path.is_dir():
        raise RunError(f"{path} is not a run folder: there is no such folder")
    if not (path / names.RECIPE).is_file():
        raise RunError(f"{path} is not a run folder: it has no {names.RECIPE}")
    data = _bytes(path / names.RECIPE)
    lines = metrics_lines(path)  # read before the journal, which then has at least as much
    journal = journals.read(path)
    values = recipe_values(path / names.RECIPE, data)
    provenance = values.pop("provenance", None) or {}
    if not isinstance(provenance, dict):
        raise damaged(path, path / names.RECIPE, "its provenance is not a mapping")
    return RunRecord(path, values, verified_metrics(path, lines, journal), provenance, journal)


def recipe_values(file: Path, data: bytes) -> dict[str, Any]:
    """The mapping in a recipe.yaml.

    Raises:
        RunError: it is not YAML, or not a recipe.
    """
    try:
        values = yaml_text.load_own(data.decode("utf-8"))
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
        raise damaged(file.parent, file, " ".join(str(why).split())) from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise damaged(file.parent, file, "it holds no recipe")
    return values


def metrics_lines(run: Path) -> list[bytes]:
    """The lines of metrics.jsonl as bytes, without their newlines.

    Raises:
        RunError: the file was cut short; it is only ever written as a whole.
    """
    file = run / names.METRICS
    *lines, rest = (_bytes(file) if file.exists() else b"").split(b"\n")
    if rest:
        raise damaged(run, f"{file}, line {len(lines) + 1}", "it is cut short")
    return lines


def verified_metrics(run: Path, lines: list[bytes], journal: Journal) -> list[Metrics]:
    """The metrics lines, each compared with its checksum.

    Raises:
        RunError: a line is damaged; names its number.
    """
    found = []
    for number, line in enumerate(lines, 1):
        place = f"{run / names.METRICS}, line {number}"
        try:
            [entry] = rows.decode(line, Metrics)
        except (rows.Damaged, ValueError) as error:
            why = error.why if isinstance(error, rows.Damaged) else "it is empty"
            raise damaged(run, place, why) from None
        known = journal.finished.get(entry.iteration)
        if known and known.metrics_sha256 and sha256(line) != known.metrics_sha256:
            raise damaged(run, place, "its checksum does not match")
        found.append(entry)
    return found


def chunk_bytes(file: Path, chunks: list[Chunk]) -> Iterator[tuple[Chunk, bytes]]:
    """The bytes of chunks of a file, each compared with its checksum.

    Raises:
        RunError: a chunk is damaged, or the file is missing.
    """
    if not chunks:
        return
    run = file.parents[2]
    try:
        with open(file, "rb") as opened:
            for chunk in chunks:
                opened.seek(chunk.offset)
                data = opened.read(chunk.bytes)
                if len(data) < chunk.bytes:
                    raise damaged(run, file, f"{unit(chunk)} is cut short")
                if chunk.sha256 and sha256(data) != chunk.sha256:
                    raise damaged(run, file, f"the checksum of {unit(chunk)} does not match")
                yield chunk, data
    except FileNotFoundError:
        raise RunError(f"{file} is missing, but the journal of {run} speaks of it") from None
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror or error}") from None


def decoded(file: Path, chunk: Chunk, data: bytes, type: type[T]) -> list[T]:
    """The rows of a chunk.

    Raises:
        RunError: a row is not a ``type``, or their number differs from the journal's.
    """
    try:
        found = rows.decode(data, type)
    except rows.Damaged as damage:
        why = f"{unit(chunk)}, row {damage.line}: {damage.why}"
        raise damaged(file.parents[2], file, why) from None
    if len(found) != chunk.rows:
        why = f"{unit(chunk)} has {len(found)} rows instead of {chunk.rows}"
        raise damaged(file.parents[2], file, why)
    return found


def verify_adapter(run: Path, journal: Journal, number: int) -> None:
    """Compare an adapter's files with their checksums, if it has any.

    Raises:
        RunError: a file is damaged or missing.
    """
    trained = journal.trained.get(number)
    for name in trained.files if trained else ():
        if name.startswith(f"{names.ADAPTER}/"):
            verify_file(run, journal, number, name)


def verify_file(run: Path, journal: Journal, number: int, name: str) -> None:
    """Compare a file of an iteration with its checksum, if it has one.

    Raises:
        RunError: it is damaged or missing.
    """
    trained = journal.trained.get(number)
    known = trained.files.get(name) if trained else None
    file = names.iteration(run, number) / name
    if known is None:
        return
    if not file.is_file():
        raise RunError(f"{file} is missing, but the journal of {run} speaks of it")
    if file_sha256(file) != known:
        raise damaged(run, file, "its checksum does not match")


def unit(chunk: Chunk) -> str:
    """The name of a chunk in a message."""
    return f"chunk {chunk.index} of the pass {chunk.kind} of iteration {chunk.iteration}"


def damaged(run: Path, place: Path | str, why: str) -> RunError:
    """The error for damaged data: where, why, and what to do."""
    return RunError(f"{place} is damaged: {why}; star-mlx check {run} says what still holds")


def sha256(data: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        RunError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(file, "rb") as data:
            while block := data.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror or error}") from None
    return digest.hexdigest()


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror or error}") from None
