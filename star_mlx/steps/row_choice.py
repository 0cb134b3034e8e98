"""Choose the rows of a file to train on: those of some types, and of these a sample.

The rows may be more than fit into memory, so only the number and a label of each are kept.
"""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from star_mlx.data import OnBadRow
from star_mlx.data.row import Row
from star_mlx.errors import TaskError
from star_mlx.formatting import clipped
from star_mlx.settings import RowsSpec

_SHOWN = 12  # types in a message


class RowLabel(NamedTuple):
    """What is counted of a row. ``type`` may be empty; a foreign row's ``iteration`` is 1."""

    format: str
    type: str
    iteration: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """The numbers of the chosen rows among those of their file, from 0, with their labels.

    ``usable`` is the number of rows from which they were drawn, and ``total`` that of all rows.
    ``skipped`` are the errors of the rows that were left out.
    """

    numbers: array[int]
    labels: Sequence[RowLabel]
    usable: int
    total: int
    skipped: tuple[str, ...]

    def count(self, of: Callable[[RowLabel], str]) -> dict[str, int]:
        """The number of rows by a part of their labels, the most frequent first."""
        each = Counter(self.labels)
        found: Counter[str] = Counter()
        for label, n in each.items():
            if name := of(label):
                found[name] += n
        return dict(found.most_common())


def choose(
    path: Path,
    rows: Iterable[Row],
    described: Callable[[Row], tuple[str, int]],
    choice: RowsSpec,
    seed: int,
    on_bad_row: OnBadRow,
) -> Chosen:
    """Choose among the rows of a file.

    A sample is drawn from the numbers of all usable rows of the types, so that every set of rows of
    its size is equally likely. It stays in the order of the file; training shuffles it by the seed
    in every epoch.

    Args:
        described: the format and the iteration of a row; raises ``TaskError`` if it cannot be used.
        choice: the types, and how many rows to draw.
        seed: of that draw.
        on_bad_row: whether a row of the types that cannot be used is an error, or is left out.

    Raises:
        TaskError: a row cannot be used, or none can, or no row has one of the types.
    """
    numbers, labels, skipped = array("q"), list[RowLabel](), list[str]()
    types: Counter[str] = Counter()
    known: dict[RowLabel, RowLabel] = {}  # one object for all rows with an equal label
    total = 0
    for total, row in enumerate(rows, 1):
        name = _type(row)
        if choice.types is not None:
            types[name] += 1
            if name not in choice.types and not isinstance(row.values, str):
                continue
        try:
            kind, iteration = described(row)
        except TaskError as error:
            text = f"{row.place}: {error}"
            if on_bad_row == "fail":
                raise TaskError(
                    f"{text}; fix it, or leave such rows out with --on-bad-row skip"
                ) from None
            skipped.append(text)
            continue
        label = RowLabel(kind, name, iteration)
        numbers.append(total - 1)
        labels.append(known.setdefault(label, label))
    if wrong := next((name for name in choice.types or () if not types[name]), None):
        raise TaskError(f"rows.types: {_no_type(path, wrong, types)}")
    if not numbers:
        raise TaskError(f"none of the {len(skipped)} rows can be used; the first: {skipped[0]}")
    usable = len(numbers)
    if choice.sample is not None and choice.sample < usable:
        drawn = sorted(random.Random(f"{seed}/rows").sample(range(usable), choice.sample))
        numbers = array("q", (numbers[i] for i in drawn))
        labels = [labels[i] for i in drawn]
    return Chosen(numbers, labels, usable, total, tuple(skipped))


def _type(row: Row) -> str:
    """The ``type`` of a row; empty if it has none."""
    name = "" if isinstance(row.values, str) else row.values.get("type")
    return name if isinstance(name, str) else ""


def _no_type(path: Path, wrong: str, types: Counter[str]) -> str:
    """What to say of a type that no row has, with those that there are."""
    there = [(name, n) for name, n in types.most_common() if name]
    shown = ", ".join(f"{clipped(name)} ({n:,})" for name, n in there[:_SHOWN])
    more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
    near = get_close_matches(wrong, [name for name, _ in there], n=1)
    meant = f"did you mean {clipped(near[0])}? " if near else ""
    has = f"{meant}there are {shown}{more}" if there else "no row has a field `type` with a text"
    return f"no row of {path} has the type {clipped(wrong)!r}: {has}"
