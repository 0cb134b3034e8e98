"""Many problems as a sequence that is on the disk: a temporary file, and where each begins in it.

A data file of millions of rows is read once, from its beginning to its end. Its problems are
written to a file without a name, which the system removes when the process ends. In memory are 20
bytes of each problem, and 4 more in each part of them. Numbers, order and content are those of the
list that it stands for.
"""

from __future__ import annotations

import marshal
import os
import tempfile
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from star_mlx.errors import TaskError
from star_mlx.types import Problem, Question

if TYPE_CHECKING:
    import numpy as np

    Numbers = np.ndarray[Any, np.dtype[Any]]

IN_MEMORY = 200_000  # problems; more are stored
_BLOCK = 1024  # problems to read at once
_APART = 16  # read one by one if no more than one problem in so many is wanted
_LASTING = "/var/tmp"  # unlike /tmp, it is nowhere a part of the memory


class Storing:
    """Writes problems one by one; ``finished`` has them all."""

    def __init__(self) -> None:
        with _writing():
            self._file = tempfile.TemporaryFile(prefix="star-mlx-", dir=_folder())  # noqa: SIM115
        self._offsets = array("q", [0])
        self._hashes = array("q")
        self._places: dict[str, int] = {}  # the beginnings of places, such as "a.jsonl, line"

    def __len__(self) -> int:
        return len(self._hashes)

    def append(self, problem: Problem, place: str) -> None:
        """Store a problem, and the place of its row.

        Raises:
            TaskError: the file cannot be written.
        """
        head, _, tail = place.rpartition(" ")
        at = self._places.setdefault(head, len(self._places))
        asked = problem.question
        data = marshal.dumps(
            (problem.id, asked.text, asked.choices, problem.answer, problem.group,
             problem.rationale, at, tail)
        )  # fmt: skip
        with _writing():
            self._file.write(data)
        self._offsets.append(self._offsets[-1] + len(data))
        self._hashes.append(hash(problem.id))

    def finished(self) -> Stored:
        """The problems stored so far."""
        with _writing():
            self._file.flush()
        return Stored(_Rows(self._file, self._offsets, self._hashes, list(self._places)))


class _Rows:
    """All problems of a file, by their numbers from 0."""

    def __init__(
        self, file: Any, offsets: array[int], hashes: array[int], places: list[str]
    ) -> None:
        self._file, self.offsets, self.hashes, self._places = file, offsets, hashes, places

    def read(self, numbers: Sequence[int]) -> list[tuple[Any, ...]]:
        """The rows of ascending numbers: in one go, or one by one if they are far apart."""
        if not numbers:
            return []
        if numbers[-1] - numbers[0] >= _APART * len(numbers):
            return [row for number in numbers for row in self.read([number])]
        start, end = self.offsets[numbers[0]], self.offsets[numbers[-1] + 1]
        data = os.pread(self._file.fileno(), end - start, start)
        at = (self.offsets[n] - start for n in numbers)
        return [marshal.loads(memoryview(data)[first:]) for first in at]

    def place(self, number: int) -> str:
        [(*_, head, tail)] = self.read([number])
        return f"{self._places[head]} {tail}" if self._places[head] else tail

    @cached_property
    def _sorted(self) -> tuple[Numbers, Numbers]:
        """The hashes in ascending order, and the numbers of their problems."""
        import numpy as np

        hashes = np.frombuffer(self.hashes, np.int64)
        order = np.argsort(hashes, kind="stable").astype(np.uint32)
        return hashes[order], order

    def number_of(self, id: str) -> int | None:
        """The number of the first problem with an id."""
        import numpy as np

        hashes, order = self._sorted
        first, last = (int(np.searchsorted(hashes, hash(id), s)) for s in ("left", "right"))
        numbers = (int(n) for n in order[first:last])
        return next((n for n in numbers if self.read([n])[0][0] == id), None)

    def repeated(self) -> Iterator[tuple[int, int]]:
        """The numbers of problems whose id an earlier one has, and of the first with that id."""
        import numpy as np

        hashes, order = self._sorted
        new = np.concatenate([[True], hashes[1:] != hashes[:-1]])
        first = order[np.flatnonzero(new)][np.cumsum(new) - 1]
        later, of = order[~new], first[~new]
        for i in np.argsort(later, kind="stable"):
            number, before = int(later[i]), int(of[i])
            if self.read([number])[0][0] == self.read([before])[0][0]:
                yield number, before


class Stored(Sequence[Problem]):
    """Stored problems, all or some of them; ``numbers`` are ascending."""

    def __init__(self, rows: _Rows, numbers: Numbers | None = None) -> None:
        import numpy as np

        self._rows = rows
        every = len(rows.hashes)
        self._numbers = np.arange(every, dtype=np.uint32) if numbers is None else numbers
        self._without: tuple[frozenset[str], Sequence[Problem]] = frozenset(), self

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, at: int) -> Problem: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Problem]: ...
    def __getitem__(self, at: int | slice) -> Problem | Sequence[Problem]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        if not -len(self) <= at < len(self):
            raise IndexError(f"problem {at} of {len(self)}")
        return _problem(self._rows.read([int(self._numbers[at])])[0])

    def __iter__(self) -> Iterator[Problem]:
        for first in range(0, len(self), _BLOCK):
            for row in self._rows.read(self._numbers[first : first + _BLOCK].tolist()):
                yield _problem(row)

    def where(self, keep: Callable[[Problem], bool]) -> Sequence[Problem]:
        """The problems for which ``keep`` is true; a list if they are few."""
        import numpy as np

        kept = np.fromiter(map(keep, self), bool, len(self))
        return self._some(self._numbers[kept])

    def without(self, ids: frozenset[str]) -> Sequence[Problem]:
        """All problems but those with some ids."""
        import numpy as np

        if self._without[0] != ids:
            out = [n for id in ids if (n := self._rows.number_of(id)) is not None]
            kept = ~np.isin(self._numbers, np.asarray(out, np.uint32))
            self._without = ids, self if kept.all() else self._some(self._numbers[kept])
        return self._without[1]

    def _some(self, numbers: Numbers) -> Sequence[Problem]:
        some = Stored(self._rows, numbers)
        return some if len(some) > IN_MEMORY else list(some)

    def with_id(self, id: str) -> Problem | None:
        """The problem with an id, or None if there is none."""
        import numpy as np

        number = self._rows.number_of(id)
        if number is None:
            return None
        at = int(np.searchsorted(self._numbers, number))
        there = at < len(self) and self._numbers[at] == number
        return self[at] if there else None

    def place_of(self, id: str) -> str | None:
        """The place of the row with an id, or None if there is none."""
        number = self._rows.number_of(id)
        return None if number is None else self._rows.place(number)

    def repeated(self) -> Iterator[tuple[str, str, str]]:
        """The ids that are used again, in order: the place, the id, and where it is used first."""
        for number, first in self._rows.repeated():
            yield self._rows.place(number), self._rows.read([first])[0][0], self._rows.place(first)

    def once(self) -> Sequence[Problem]:
        """The problems without those whose id an earlier one has."""
        import numpy as np

        again = np.fromiter((n for n, _ in self._rows.repeated()), np.uint32)
        return self._some(self._numbers[~np.isin(self._numbers, again)]) if again.size else self


def where(problems: Sequence[Problem], keep: Callable[[Problem], bool]) -> Sequence[Problem]:
    """The problems for which ``keep`` is true, in order."""
    if isinstance(problems, Stored):
        return problems.where(keep)
    return [problem for problem in problems if keep(problem)]


def without(problems: Sequence[Problem], ids: frozenset[str]) -> Sequence[Problem]:
    """The problems whose ids are not in ``ids``, in order."""
    if isinstance(problems, Stored):
        return problems.without(ids)
    return [problem for problem in problems if problem.id not in ids]


def by_id(problems: Sequence[Problem]) -> Mapping[str, Problem]:
    """The problems by their ids."""
    return _ById(problems) if isinstance(problems, Stored) else {p.id: p for p in problems}


class _ById(Mapping[str, Problem]):
    def __init__(self, problems: Stored) -> None:
        self._problems = problems

    def __getitem__(self, id: str) -> Problem:
        if (found := self._problems.with_id(id)) is None:
            raise KeyError(id)
        return found

    def __iter__(self) -> Iterator[str]:
        return (problem.id for problem in self._problems)

    def __len__(self) -> int:
        return len(self._problems)


def _problem(row: tuple[Any, ...]) -> Problem:
    id, text, choices, answer, group, rationale, _, _ = row
    return Problem(id, Question(text, choices), answer, group, rationale)


def _folder() -> str | None:
    """The folder for the file; None for the system's own choice."""
    if os.environ.get("TMPDIR") or not os.access(_LASTING, os.W_OK):
        return None
    return _LASTING


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TaskError(
            "the problems do not fit into the memory, and the temporary file for them cannot be "
            f"written: {error.strerror or error}; give TMPDIR a folder with more room"
        ) from None
