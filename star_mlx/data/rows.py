"""Read the rows of data files one at a time, with the place of every row that cannot be read.

JSONL, JSON (a list of objects), CSV and TSV with a header line, and Parquet (needs the extra
``data``). Text is UTF-8, with or without a byte order mark, unless an encoding is given.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from star_mlx.data import csv_rows, json_list
from star_mlx.data import encoding as encodings
from star_mlx.data.files_of import KINDS, SplitName, files_of
from star_mlx.data.row import Row
from star_mlx.errors import TaskError


def rows(
    path: Path,
    *,
    split: SplitName = "train",
    delimiter: str | None = None,
    encoding: str | None = None,
) -> Iterator[Row]:
    """The rows of a file, by its extension; a row that cannot be read comes with its error.

    Empty lines are skipped.

    Args:
        path: a file, a folder (then its files of the split are read in order) or a pattern of
            names such as ``data/train-*.parquet``.
        split: the files to take of a folder.
        delimiter: between the cells of a CSV file; by default it is found in the file.
        encoding: of the text, if it is not UTF-8.

    Raises:
        TaskError: there is no such file, its kind is unknown, it is damaged as a whole, or it has
            no rows.
    """
    here = path
    any_row = False
    try:
        for here in files_of(path, split):
            for row in _rows(here, delimiter, encoding):
                any_row = True
                yield row
    except UnicodeError as error:
        raise TaskError(
            f"data file {here} is not {encoding} text ({one_line(error)}): give another encoding"
        ) from None
    except OSError as error:
        raise TaskError(f"data file {here}: {error.strerror or one_line(error)}") from None
    if not any_row:
        raise TaskError(f"data file {path} holds no rows")


def _rows(path: Path, delimiter: str | None, encoding: str | None) -> Iterator[Row]:
    kind = path.suffix.lower()
    if not path.is_file():
        raise TaskError(f"data file {path} does not exist")
    if kind not in KINDS:
        raise TaskError(f"data file {path}: give a file that ends in {', '.join(KINDS)}")
    if kind == ".parquet":
        return _parquet(path)
    name = codecs.lookup(encoding).name if encoding else "utf-8"
    if not name.startswith(("utf-16", "utf-32")):
        encodings.refuse_wide(path)
    own = None if name == "utf-8" else encoding
    if kind in (".csv", ".tsv"):
        return csv_rows.read(path, delimiter, own)
    return json_list.read(path, own) if kind == ".json" else _jsonl(path, own)


def one_line(error: Exception) -> str:
    """The text of an exception, as one line of limited length."""
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:200] + "..."


# --------------------------------------------------------------------------- JSON lines


def _jsonl(path: Path, encoding: str | None) -> Iterator[Row]:
    if encoding is not None:
        with open(path, encoding=encoding, newline="\n") as texts:
            for number, text in enumerate(texts, 1):
                if text.strip():
                    yield Row(f"{path}, line {number}", _object(text))
        return
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield Row(f"{path}, line {number}", _line(line))


def _line(line: bytes) -> Mapping[str, Any] | str:
    try:
        return _object(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        name = encodings.likely(line)
        return (
            f"is not UTF-8 text (byte {error.start + 1}) but seems to be {name}: "
            f"{encodings.mend(name)}"
        )


def _object(line: str) -> Mapping[str, Any] | str:
    try:
        item = json_list.decoded(line)
    except (ValueError, RecursionError) as error:
        return f"is not JSON: {one_line(error)}"
    return item if isinstance(item, dict) else json_list.no_object(item)


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
