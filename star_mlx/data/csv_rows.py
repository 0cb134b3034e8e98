"""Read CSV and TSV files: the delimiter is found in the file, and a header names the columns."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from star_mlx.data import encoding as encodings
from star_mlx.data.row import Row
from star_mlx.errors import TaskError

DELIMITERS = (",", ";", "\t", "|")
_SAMPLE = 1 << 16  # characters from which the delimiter is found
_LINES = 20
_EXCEL = re.compile(r"\ufeff?sep=([,;:|\t])\r?\n", re.IGNORECASE)  # Excel's line on the delimiter


def read(path: Path, delimiter: str | None = None, encoding: str | None = None) -> Iterator[Row]:
    """The rows of a file with a header line. Without a delimiter it is found by ``sniffed``.

    Raises:
        TaskError: the header cannot name the columns, a quotation mark is not closed, or the file
            is not in the given encoding.
    """
    delimiter = delimiter or delimiter_of(path, encoding)
    with _opened(path, encoding) as file:
        yield from _rows(path, csv.reader(file, delimiter=delimiter, strict=True))


def delimiter_of(path: Path, encoding: str | None = None) -> str:
    """The delimiter of a file, found in its first lines."""
    with _opened(path, encoding) as file:
        sample = file.read(_SAMPLE)
    said = _EXCEL.match(sample)
    return said[1] if said else sniffed(sample, usual(path))


def usual(path: Path) -> str:
    """The delimiter that a file should have by its name."""
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _opened(path: Path, encoding: str | None) -> TextIO:
    handler = "surrogateescape" if encoding is None else "strict"
    return open(path, encoding=encoding or "utf-8-sig", errors=handler, newline="")


def _rows(path: Path, reader: Any) -> Iterator[Row]:
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
        if first == 1 and re.fullmatch("sep=.?", cells[0], re.IGNORECASE) and not any(cells[1:]):
            continue  # Excel's line on the delimiter
        if header is None:
            header = _header(path, cells)
        else:
            yield Row(f"{path}, line {first}", _cells(header, cells))


def sniffed(sample: str, first: str) -> str:
    """The delimiter of the beginning of a file.

    It is the ``first`` one if that parts the header, and the next rows into as many cells. Else it
    is the one that does so with the most cells: a decimal comma parts the rows, but not in the same
    way as the header.
    """
    parted = {d: _parted(sample, d) for d in dict.fromkeys((first, *DELIMITERS))}
    if parted[first][0] >= 2 and parted[first][1] >= 0.5:
        return first
    cells, alike, best = max(
        ((n, share, d) for d, (n, share) in parted.items() if share >= 0.5 or d == first),
        key=lambda found: (found[0] >= 2 and found[1] >= 0.5, found[0], found[1]),
    )
    return best if cells >= 2 and alike >= 0.5 else first


def _parted(sample: str, delimiter: str) -> tuple[int, float]:
    """The cells of the header, and the share of the next rows that have as many."""
    rows: list[list[str]] = []
    try:
        for cells in csv.reader(io.StringIO(sample), delimiter=delimiter):
            if any(cell.strip() for cell in cells):
                rows.append(cells)
            if len(rows) > _LINES:
                break
    except csv.Error:
        pass
    if not rows:
        return 0, 0.0
    header, *others = rows
    alike = sum(len(cells) == len(header) for cells in others)
    return len(header), alike / len(others) if others else 1.0


def _header(path: Path, cells: Sequence[str]) -> Sequence[str]:
    """The names in the first line.

    Raises:
        TaskError: they cannot name the columns.
    """
    names = [cell.strip() for cell in cells]
    named = [name for name in names if name]  # a column of numbers often has no name
    if wrong := _foreign("".join(names)):
        raise TaskError(f"{path}: its first line {wrong}")
    if twice := next((name for name in named if named.count(name) > 1), None):
        raise TaskError(f"{path}: two columns are named {twice!r}: rename one in the first line")
    if len(names) == 1 and (other := next((c for c in DELIMITERS if c in names[0]), None)):
        raise TaskError(
            f"{path}: its first line has {other!r} between the names: give it as "
            "task.options.delimiter (in init-task: --delimiter)"
        )
    return names


def _cells(header: Sequence[str], cells: Sequence[str]) -> Mapping[str, Any] | str:
    if len(cells) != len(header):
        more = " (a cell that holds the delimiter needs quotes)" * (len(cells) > len(header))
        return f"has {len(cells)} cells where the header has {len(header)}{more}"
    if wrong := _foreign("".join(cells)):
        return wrong
    return {name: cell for name, cell in zip(header, cells, strict=True) if name}


def _foreign(text: str) -> str | None:
    """What is wrong with a text that was not UTF-8: its bytes were read as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        try:
            name = encodings.likely(text.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:  # a real half of a surrogate pair, in a file of another encoding
            return "holds half a surrogate pair, which is no character"
        return f"is not UTF-8 text but seems to be {name}: {encodings.mend(name)}"
    return None
