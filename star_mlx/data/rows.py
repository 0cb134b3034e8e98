"""Read the rows of data files one at a time, with the place of every row that cannot be read.

JSONL, JSON (a list of objects), CSV and TSV with a header line, and Parquet (needs the extra
``data``). Text is UTF-8, with or without a byte order mark.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_mlx.errors import TaskError

_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # UTF-32's marks begin with the first


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file: its place ("FILE, line 3"), and its fields or the error in it."""

    place: str
    values: Mapping[str, Any] | str


def rows(path: Path) -> Iterator[Row]:
    """The rows of a file, by its extension; a row that cannot be read comes with its error.

    Empty lines are skipped.

    Raises:
        TaskError: there is no such file, its kind is unknown, it is damaged as a whole, or it has
            no rows.
    """
    kinds = {
        ".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet,
    }  # fmt: skip
    read = kinds.get(path.suffix.lower())
    any_row = False
    try:
        if not path.is_file():
            what = "is a folder: give a file in it" if path.is_dir() else "does not exist"
            raise TaskError(f"data file {path} {what}")
        if read is None:
            raise TaskError(f"data file {path}: give a file that ends in {', '.join(kinds)}")
        if read is not _parquet:
            _refuse_wide(path)
        for row in read(path):
            any_row = True
            yield row
    except OSError as error:
        raise TaskError(f"data file {path}: {error.strerror or one_line(error)}") from None
    if not any_row:
        raise TaskError(f"data file {path} holds no rows")


def one_line(error: Exception) -> str:
    """The text of an exception, as one line of limited length."""
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:200] + "..."


def _refuse_wide(path: Path) -> None:
    with open(path, "rb") as file:
        if file.read(4).startswith(_WIDE):
            raise TaskError(f"data file {path} is UTF-16 text: save it as UTF-8")


# --------------------------------------------------------------------------- JSON


def _jsonl(path: Path) -> Iterator[Row]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield Row(f"{path}, line {number}", _object(line))


def _object(line: bytes) -> Mapping[str, Any] | str:
    try:
        item = _loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return f"is not UTF-8 text (byte {error.start + 1}; save the file as UTF-8)"
    except (ValueError, RecursionError) as error:
        return f"is not JSON: {one_line(error)}"
    return item if isinstance(item, dict) else _no_object(item)


def _json(path: Path) -> Iterator[Row]:
    try:
        items = _loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise TaskError(f"{path}, line {line} is not UTF-8 text: save the file as UTF-8") from None
    except (ValueError, RecursionError) as error:
        lines = "; one object a line is .jsonl" if "Extra data" in str(error) else ""
        raise TaskError(f"{path} is not JSON: {one_line(error)}{lines}") from None
    if not isinstance(items, list):
        raise TaskError(f"{path} should hold a list of objects; one object a line is .jsonl")
    for number, item in enumerate(items, 1):
        yield Row(f"{path}, item {number}", item if isinstance(item, dict) else _no_object(item))


def _loads(text: str) -> Any:
    if not text.strip():
        return []
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object without duplicate fields; Python's reader would silently drop the first of two."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the field {next(n for n in names if names.count(n) > 1)!r} occurs twice")
    return found


def _no_object(item: object) -> str:
    kind = type(item).__name__
    return f"is not an object with fields but {'null' if item is None else kind}"


# --------------------------------------------------------------------------- CSV and TSV


def _csv(path: Path) -> Iterator[Row]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        header: Sequence[str] | None = None
        while True:
            first = reader.line_num + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:  # the beginning of the next row is unknown
                raise TaskError(
                    f"{path}, line {first} is no CSV: {error} (a quotation mark that is not "
                    'closed, or not doubled inside quotes: "")'
                ) from None
            if cells is None:
                return
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = _header(path, cells)
            else:
                yield Row(f"{path}, line {first}", _cells(header, cells))


def _header(path: Path, cells: Sequence[str]) -> Sequence[str]:
    """The names in the first line.

    Raises:
        TaskError: they cannot name the columns.
    """
    names = [cell.strip() for cell in cells]
    named = [name for name in names if name]  # a column of numbers often has no name
    if not _is_text("".join(names)):
        raise TaskError(f"{path}: its first line is not UTF-8 text: save the file as UTF-8")
    if twice := next((name for name in named if named.count(name) > 1), None):
        raise TaskError(f"{path}: two columns are named {twice!r}: rename one in the first line")
    if len(names) == 1 and (other := next((c for c in ";\t|" if c in names[0]), None)):
        raise TaskError(
            f"{path}: its first line has {other!r} between the names: separate the cells by "
            "commas, or by tabs in a .tsv file"
        )
    return names


def _cells(header: Sequence[str], cells: Sequence[str]) -> Mapping[str, Any] | str:
    if len(cells) != len(header):
        return f"has {len(cells)} cells where the header has {len(header)}"
    if not _is_text("".join(cells)):
        return "is not UTF-8 text (save the file as UTF-8)"
    return {name: cell for name, cell in zip(header, cells, strict=True) if name}


def _is_text(text: str) -> bool:
    """Whether a text is valid UTF-8: invalid bytes were read as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# --------------------------------------------------------------------------- Parquet


def _parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise TaskError(
            f'data file {path}: reading Parquet needs pyarrow: pip install "star-mlx[data]"'
        ) from None
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise TaskError(f"data file {path}: two columns are named {twice!r}")
            for batch in file.iter_batches(batch_size=1000):
                for values in _python(batch):
                    number += 1
                    yield Row(f"{path}, row {number}", values)
    except (pyarrow.ArrowException, OSError) as error:
        after = f" (after row {number})" if number else ""
        raise TaskError(
            f"data file {path} is damaged or no Parquet file{after}: {one_line(error)}"
        ) from None


def _python(batch: Any) -> Iterator[Mapping[str, Any] | str]:
    """The rows of an Arrow batch; read one by one if a value in it cannot be read."""
    try:
        yield from batch.to_pylist()
    except (ValueError, OverflowError):
        for i in range(batch.num_rows):
            try:
                row = batch.slice(i, 1).to_pylist()[0]
            except (ValueError, OverflowError) as error:
                row = f"cannot be read: {one_line(error)}"
            yield row
