"""The files of a person's data: which are read, in which form, and how much is held out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_mlx import data
from star_mlx.data import csv_rows, files_of

MOST_TEST = 500
MOST_DEV = 200
_FEWEST = 5  # problems of which some can be held out


@dataclass(frozen=True, slots=True)
class DataFiles:
    """The data of a task: ``path`` and how it is read, and held-out files if there are any.

    ``tests`` are the candidates for the test split, the best first.
    """

    path: Path
    delimiter: str | None = None
    encoding: str | None = None
    tests: tuple[Path, ...] = ()

    def rows(self) -> Iterator[data.Row]:
        """The rows of the training file."""
        return data.rows(self.path, delimiter=self.delimiter, encoding=self.encoding)

    def options(self) -> dict[str, Any]:
        """How the files are read, as in ``task.options``."""
        found = {"delimiter": self.delimiter, "encoding": self.encoding}
        return {key: value for key, value in found.items() if value is not None}


def data_files(path: Path, delimiter: str | None = None, encoding: str | None = None) -> DataFiles:
    """Find the files of a path: a file, a folder or a pattern of names.

    Raises:
        TaskError: there are none, or their text is in another encoding, which is named.
    """
    tests: list[Path] = []
    files = files_of.files_of(path)
    if path.is_dir():
        by_split = files_of.by_split(path)
        tests = [files_of.pattern(by_split[s]) for s in ("test", "validation") if s in by_split]
        path = files_of.pattern(files)
    for file in files:
        if not file.is_file() or file.suffix.lower() == ".parquet":
            continue
        if encoding is None:
            data.encoding.refuse_foreign(file)
        if delimiter is None and file.suffix.lower() in (".csv", ".tsv"):
            found = csv_rows.delimiter_of(file, encoding)
            delimiter = found if found != csv_rows.usual(file) else None
    return DataFiles(path, delimiter, encoding, tuple(tests))


def held_out_size(questions: int) -> int | None:
    """How many of so many different questions to hold out for the test split; None: too few."""
    return min(MOST_TEST, questions // 5) if questions >= _FEWEST else None


def dev_size(questions: int) -> int:
    """How many of so many different questions, without those of the test split, to use as dev."""
    return min(MOST_DEV, max(1, questions // 5))


def beside_notes(file: Path) -> list[str]:
    """A note on a test file that lies beside a training file, and is not read."""
    if not file.is_file():
        return []
    by_split = files_of.by_split(file.parent)
    if file not in by_split.get("train", []):
        return []
    return [
        f"{other} lies beside it: to measure on it, give it as task.options.test"
        for other in by_split.get("test", [])[:1]
        if other.suffix == file.suffix
    ]
