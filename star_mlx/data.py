"""Files of questions and answers -> problems, and every row that cannot be one named by its place.

JSONL, JSON (a list of objects), CSV and TSV with a header line, and Parquet (needs the extra
``data``).
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from star_mlx.types import Problem, TaskError

OnBadRow = Literal["fail", "skip"]
LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file: its place ("FILE, line 3"), and its fields or what is wrong with it."""

    place: str
    values: Mapping[str, Any] | str


def rows(path: Path) -> Iterator[Row]:
    """The rows of a file, by its ending; a row that cannot be read comes as what is wrong with it.

    Raises:
        TaskError: there is no such file, or it is of no kind that can be read.
    """
    kinds = {
        ".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet,
    }  # fmt: skip
    if path.suffix.lower() not in kinds:
        raise TaskError(f"{path}: give a file that ends in {', '.join(kinds)}")
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise TaskError(f"data file {path} {what}")
    try:
        yield from kinds[path.suffix.lower()](path)
    except OSError as error:
        raise TaskError(f"data file {path}: {error.strerror or error}") from None


def _jsonl(path: Path) -> Iterator[Row]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield Row(f"{path}, line {number}", _object(line))


def _json(path: Path) -> Iterator[Row]:
    try:
        items = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{path} is not JSON: {' '.join(str(error).split())}") from None
    if not isinstance(items, list):
        raise TaskError(f"{path} should hold a list of objects; one object a line is .jsonl")
    for number, item in enumerate(items, 1):
        yield Row(f"{path}, item {number}", item if isinstance(item, dict) else _no_object(item))


def _csv(path: Path) -> Iterator[Row]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        header = next(reader, [])
        while True:
            first = reader.line_num + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise TaskError(f"{path}, line {first} is no CSV: {error}") from None
            if cells is None:
                return
            if cells:
                yield Row(f"{path}, line {first}", _cells(header, cells))


def _cells(header: Sequence[str], cells: Sequence[str]) -> Mapping[str, Any] | str:
    if len(cells) != len(header):
        return f"has {len(cells)} cells where the header has {len(header)}"
    if any("\udc80" <= c <= "\udcff" for cell in cells for c in cell):
        return "is not UTF-8 text (save the file as UTF-8)"
    return dict(zip(header, cells, strict=True))


def _parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow.parquet as parquet
        from pyarrow import ArrowException
    except ImportError:
        raise TaskError(
            f'{path}: reading Parquet needs pyarrow: pip install "star-mlx[data]"'
        ) from None
    try:
        table = parquet.read_table(path)
    except ArrowException as error:
        raise TaskError(f"{path} is no Parquet file: {' '.join(str(error).split())}") from None
    number = 0
    for batch in table.to_batches(max_chunksize=1000):
        for values in batch.to_pylist():
            number += 1
            yield Row(f"{path}, row {number}", values)


def _object(line: bytes) -> Mapping[str, Any] | str:
    try:
        item = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return f"is not UTF-8 text (byte {error.start + 1}; save the file as UTF-8)"
    except (ValueError, RecursionError) as error:
        return f"is not JSON: {' '.join(str(error).split())}"
    return item if isinstance(item, dict) else _no_object(item)


def _no_object(item: object) -> str:
    return f"is not an object with fields but {type(item).__name__}"


# --------------------------------------------------------------------------- fields of a row


def text(row: Mapping[str, Any], name: str) -> str:
    """A field as text; ``a.b`` is the field ``b`` inside ``a``. Numbers are written out.

    Raises:
        TaskError: it is missing, blank, or no text.
    """
    value = value_of(row, name)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        what = "is missing" if value is None else f"should be text, not {type(value).__name__}"
        raise TaskError(f"its {name} {what}")
    if not str(value).strip():
        raise TaskError(f"its {name} is blank")
    return str(value).strip()


def value_of(row: Mapping[str, Any], name: str) -> Any:
    """A field, or None: by its whole name, else by its path of names."""
    if name in row:
        return row[name]
    here: Any = row
    for part in name.split("."):
        here = here.get(part) if isinstance(here, Mapping) else None
    return here


def choices(value: Any) -> tuple[tuple[str, str], ...]:
    """The (label, text) pairs of a multiple-choice question.

    ``[{"label": "A", "text": ...}, ...]``, ``{"label": [...], "text": [...]}``, a mapping of
    labels to texts, a list of texts (labelled A, B, ...), or such a list in JSON text (in CSV).

    Raises:
        TaskError: it is none of these, has fewer than two choices, or a label twice.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise TaskError("its choices are text, but not a JSON list") from None
    pairs = _pairs(value)
    if pairs is None or not all(isinstance(part, str) and part.strip() for p in pairs for part in p):
        raise TaskError("its choices should be a list of texts, or of labels with their texts")
    if len(pairs) < 2:
        raise TaskError(f"it has {len(pairs)} choices: two are the least")
    if len({label for label, _ in pairs}) < len(pairs):
        raise TaskError("a label stands twice among its choices")
    return tuple((label.strip(), text.strip()) for label, text in pairs)


def _pairs(value: Any) -> list[tuple[Any, Any]] | None:
    if isinstance(value, Mapping) and set(value) == {"label", "text"}:
        labels, texts = value["label"], value["text"]
        fit = isinstance(labels, list) and isinstance(texts, list) and len(labels) == len(texts)
        return list(zip(labels, texts, strict=True)) if fit else None
    if isinstance(value, Mapping):
        return list(value.items())
    if not isinstance(value, list) or len(value) > len(LABELS):
        return None
    if all(isinstance(item, Mapping) for item in value):
        return [(item.get("label"), item.get("text")) for item in value]
    return list(zip(LABELS, value, strict=False))


def official(folder: str | None, file: str, repository: str, hub_file: str) -> Iterator[Row]:
    """The rows of a public data set: the official file in ``folder``, or the Hub's where it is None.

    Raises:
        TaskError: the file is not there, or the Hub cannot give it.
    """
    if folder is None:
        from star_mlx.hub_data import fetch

        yield from rows(fetch(repository, [hub_file])[0])
        return
    place = Path(folder).expanduser()
    if not (place / file).is_file():
        what = f"holds no {file}" if place.is_dir() else "is no folder"
        raise TaskError(f"{place} {what}: give the folder with the official files")
    yield from rows(place / file)


# --------------------------------------------------------------------------- rows to problems


@dataclass(slots=True)
class Reader:
    """Makes problems of rows; ``skipped`` names the rows left out, ``seen`` the place of each id.

    Use one reader for all the files of a task, so that an id stands in one of them only.
    """

    pose: Callable[[Mapping[str, Any]], Problem]
    on_bad_row: OnBadRow = "fail"
    skipped: list[str] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)

    def problems(self, rows: Iterable[Row], name: str) -> list[Problem]:
        """The problems of rows, in order; one without an id is named ``NAME-<number>``.

        Raises:
            TaskError: a row cannot be used and ``on_bad_row`` is "fail"; the text has its place.
        """
        found: list[Problem] = []
        for number, row in enumerate(rows, 1):
            try:
                found.append(self._problem(row, f"{name}-{number}"))
            except TaskError as error:
                text = f"{row.place}: {error}"
                if self.on_bad_row == "fail":
                    raise TaskError(
                        f"{text}; mend it, or leave such rows out with task.options.on_bad_row=skip"
                    ) from None
                self.skipped.append(text)
        return found

    def _problem(self, row: Row, name: str) -> Problem:
        if isinstance(row.values, str):
            raise TaskError(f"the row {row.values}")
        problem = self.pose(row.values)
        if not problem.question.text.strip():
            raise TaskError("its question is missing or blank")
        if not problem.id:
            problem = Problem(
                name, problem.question, problem.answer, problem.group, problem.rationale
            )
        if problem.id in self.seen:
            raise TaskError(f"its id {problem.id!r} stands already in {self.seen[problem.id]}")
        self.seen[problem.id] = row.place
        return problem


def cut(
    problems: Sequence[Problem], size: int, seed: int, what: str
) -> tuple[list[Problem], list[Problem]]:
    """(the rest, a cut of ``size``): chosen by a hash of the question and the seed.

    What asks the same question as one in the cut goes to neither, so that nothing is trained on
    that is measured on.

    Raises:
        TaskError: there are not more than ``size`` problems.
    """
    if len(problems) <= size:
        raise TaskError(
            f"{len(problems)} problems leave none to train on beside a {what} set of {size}: "
            f"give more, or a smaller task.options.{what}"
        )

    def rank(problem: Problem) -> str:
        return hashlib.sha256(f"{what}/{seed}/{problem.question}".encode()).hexdigest()

    taken = sorted(problems, key=rank)[:size]
    asked, ids = {p.question for p in taken}, {p.id for p in taken}
    held = [p for p in problems if p.id in ids]
    return [p for p in problems if p.question not in asked], held
