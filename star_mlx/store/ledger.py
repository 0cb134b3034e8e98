"""The ledger: the history of every problem over the iterations of a run, read from its files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from star_mlx.errors import RunError
from star_mlx.store import journal as journals
from star_mlx.store import names, reading, rows
from star_mlx.store.journal import Verdicts
from star_mlx.store.metrics import Metrics
from star_mlx.store.reading import RunRecord

if TYPE_CHECKING:
    import numpy as np

    Places = np.ndarray[Any, np.dtype[np.int64]]

Fate = Literal["direct", "hinted", "never"]
ATTEMPTED, DIRECT, HINTED = 1, 2, 4  # what is said of a problem in an iteration, as a sum


@dataclass(slots=True)
class History:
    """The iterations in which a problem was attempted, solved directly, and solved with a hint.

    A problem is solved directly if any of its direct attempts is right, and with a hint if a
    rationalization of it was kept: right, and not cut off by the length limit.
    """

    attempted: list[int] = field(default_factory=list)
    direct: list[int] = field(default_factory=list)
    hinted: list[int] = field(default_factory=list)

    @property
    def fate(self) -> Fate:
        """The best result of all iterations."""
        return "direct" if self.direct else "hinted" if self.hinted else "never"

    @property
    def won(self) -> bool:
        """Whether the last iteration that attempted it solved it directly."""
        return bool(self.direct) and self.direct[-1] == self.attempted[-1]


@dataclass(frozen=True, slots=True)
class Tally:
    """The problem counts of one iteration; ``hinted`` counts those solved only with a hint.

    ``newly_solved`` and ``forgotten`` are those of ``metrics.jsonl``: problems whose last earlier
    attempt failed and that are now solved directly, and the reverse.
    """

    iteration: int
    attempted: int
    direct: int
    hinted: int
    newly_solved: int
    forgotten: int


@dataclass(frozen=True)
class Ledger:
    """What became of every problem in every iteration.

    Attributes:
        ids: the problems, in the order of first attempts.
        states: uint8 (problems, iterations), the sum of ``ATTEMPTED``, ``DIRECT`` and ``HINTED``.
        iterations: the counts of each.
    """

    ids: Sequence[str]
    states: np.ndarray[Any, np.dtype[np.uint8]]
    iterations: list[Tally]

    @cached_property
    def problems(self) -> dict[str, History]:
        """The history of every problem by id, in the order of first attempts."""
        return {id: self._history(place) for place, id in enumerate(self.ids)}

    @cached_property
    def _places(self) -> dict[str, int]:
        return {id: place for place, id in enumerate(self.ids)}

    def history(self, id: str) -> History | None:
        """The history of one problem, or None if there is no such problem."""
        place = self._places.get(id)
        return None if place is None else self._history(place)

    def _history(self, place: int) -> History:
        states = self.states[place].tolist()
        there = [(t.iteration, s) for t, s in zip(self.iterations, states, strict=True) if s]
        return History(
            [n for n, _ in there],
            [n for n, state in there if state & DIRECT],
            [n for n, state in there if state & HINTED],
        )

    def of(self, fate: Fate) -> list[str]:
        """The ids of the problems with that fate."""
        return [self.ids[place] for place in self._fates()[fate]]

    def totals(self) -> dict[str, int]:
        """The counts of problems: all, ever solved directly, only with a hint, never solved."""
        fates = self._fates()
        return {
            "problems": len(self.ids),
            "direct": len(fates["direct"]),
            "hinted_only": len(fates["hinted"]),
            "never": len(fates["never"]),
        }

    def _fates(self) -> dict[Fate, list[int]]:
        """The places of the problems with each fate."""
        states = self.states
        solved = [((states & state) > 0).sum(axis=1) > 0 for state in (DIRECT, HINTED)]
        direct, hinted = solved[0], solved[1] & ~solved[0]
        never = ~(direct | hinted)
        return {
            "direct": direct.nonzero()[0].tolist(),
            "hinted": hinted.nonzero()[0].tolist(),
            "never": never.nonzero()[0].tolist(),
        }

    def as_json(self) -> dict[str, Any]:
        """The whole ledger as plain data."""
        return {
            "problems": {
                id: {"direct": h.direct, "hinted": h.hinted, "attempted": h.attempted}
                for id, h in self.problems.items()
            },
            "iterations": [asdict(tally) for tally in self.iterations],
            "totals": self.totals(),
        }


def read(path: Path) -> Ledger:
    """Read the ledger of the finished iterations of a run folder, one block of attempts at a time.

    Raises:
        RunError: not a run folder, a trained baseline, or the attempts of a finished iteration are
            missing or damaged.
    """
    return of_run(reading.read(path))


def of_run(record: RunRecord) -> Ledger:
    """The ledger of the finished iterations of a run; see ``read``."""
    if record.last and (kind := record.recipe.get("baseline")) not in (None, "rft"):
        raise RunError(
            f"{record.path} is the baseline {kind}: it attempts no problem, so it has no ledger"
        )
    found = _Columns()
    verdicts = _verdicts(record)
    for line in sorted(record.metrics, key=lambda line: line.iteration):
        if line.iteration > 0:  # the base is only measured
            known = next((v for v in verdicts if v.iteration == line.iteration), None)
            made = known and _journalled(record, line, known, found)
            found.enter(line.iteration, *(made or map(found.at, _attempts(record, line.iteration))))
    return found.ledger()


class _Columns:
    """The states of the problems, one iteration after the other."""

    def __init__(self) -> None:
        import numpy as np

        self.places: dict[str, int] = {}
        self._columns: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
        self._tallies: list[Tally] = []
        self._won = np.zeros(0, np.int8)  # the last direct attempt: 1 right, 0 wrong, -1 none

    def at(self, ids: Iterable[str]) -> Places:
        """The places of problems; new ones are put behind the others."""
        import numpy as np

        return np.array([self.places.setdefault(id, len(self.places)) for id in ids], np.int64)

    def known(self, ids: Collection[str]) -> Places | None:
        """The places of problems, or None if one is new."""
        import numpy as np

        try:
            return np.fromiter(map(self.places.__getitem__, ids), np.int64, len(ids))
        except KeyError:
            return None

    def enter(self, number: int, attempted: Places, direct: Places, hinted: Places) -> None:
        """Add an iteration: the places of the problems attempted, solved and solved with a hint."""
        import numpy as np

        states = np.zeros(len(self.places), np.uint8)
        states[attempted] = ATTEMPTED
        states[direct] |= DIRECT
        states[hinted] |= HINTED
        before = np.full(len(self.places), -1, np.int8)
        before[: len(self._won)] = self._won
        there, right = states > 0, (states & DIRECT) > 0
        told = ((states & HINTED) > 0) & ~right
        newly, lost = right & (before == 0), there & ~right & (before == 1)
        counts = (int(which.sum()) for which in (there, right, told, newly, lost))
        self._tallies.append(Tally(number, *counts))
        self._won = np.where(there, right, before).astype(np.int8)
        self._columns.append(states)

    def ledger(self) -> Ledger:
        """All that was entered."""
        import numpy as np

        states = np.zeros((len(self.places), len(self._columns)), np.uint8)
        for column, found in enumerate(self._columns):
            states[: len(found), column] = found
        return Ledger(list(self.places), states, self._tallies)


def _verdicts(record: RunRecord) -> Iterator[Verdicts]:
    """The verdicts of the iterations, in order, if the journal has each once."""
    if not record.journal.repeats:
        yield from journals.verdicts(record.path)


def _journalled(
    record: RunRecord, line: Metrics, verdicts: Verdicts, columns: _Columns
) -> tuple[Places, Places, Places] | None:
    """The places of what ``_attempts`` returns, with the direct attempts from the journal.

    None if it has problems that no earlier iteration had, whose order is that of their attempts, or
    if the journal and the files do not agree.
    """
    import numpy as np

    file = names.iteration(record.path, line.iteration) / names.ATTEMPTS
    chunks = record.journal.of_file(line.iteration, names.ATTEMPTS)
    end = max((chunk.offset + chunk.bytes for chunk in chunks), default=0)
    whole = file.is_file() and 0 < end <= file.stat().st_size
    if not whole or len(verdicts.solved) + len(verdicts.failed) != line.problems:
        return None
    solved, failed = columns.known(verdicts.solved), columns.known(verdicts.failed)
    if solved is None or failed is None:
        return None
    blocks = record.rows(line.iteration, names.ATTEMPTS, rows.Outcome, kind="hinted")
    hinted = {row.id for block in blocks for row in block if row.hinted and row.solved}
    told = columns.known(hinted)
    return None if told is None else (np.concatenate([solved, failed]), solved, told)


def _attempts(record: RunRecord, number: int) -> tuple[Iterable[str], Iterable[str], Iterable[str]]:
    """The problems attempted, in order, those solved directly and those solved with a hint."""
    file = names.iteration(record.path, number) / names.ATTEMPTS
    if not file.is_file():
        raise RunError(f"{file} is missing, but metrics.jsonl says that the iteration is finished")
    attempted: dict[str, None] = {}
    direct: set[str] = set()
    by_hint: set[str] = set()
    for block in record.rows(number, names.ATTEMPTS, rows.Outcome):
        attempted.update(dict.fromkeys([row.id for row in block]))
        direct.update([row.id for row in block if row.correct and not row.hinted])
        by_hint.update([row.id for row in block if row.hinted and row.solved])
    return attempted, direct, by_hint
