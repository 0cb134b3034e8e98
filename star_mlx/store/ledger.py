"""The ledger: the history of every problem over the iterations of a run, read from its files."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from star_mlx.errors import RunError
from star_mlx.store import names, reading, rows
from star_mlx.store.reading import RunRecord

Fate = Literal["direct", "hinted", "never"]


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


@dataclass(frozen=True, slots=True)
class Ledger:
    """The history of every problem by id, in the order of first attempts, and every iteration."""

    problems: dict[str, History]
    iterations: list[Tally]

    def of(self, fate: Fate) -> list[str]:
        """The ids of the problems with that fate."""
        return [id for id, history in self.problems.items() if history.fate == fate]

    def totals(self) -> dict[str, int]:
        """The counts of problems: all, ever solved directly, only with a hint, never solved."""
        fates = {"direct": 0, "hinted": 0, "never": 0}
        for history in self.problems.values():
            fates[history.fate] += 1
        return {
            "problems": len(self.problems),
            "direct": fates["direct"],
            "hinted_only": fates["hinted"],
            "never": fates["never"],
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
    record = reading.read(path)
    if record.last and (kind := record.recipe.get("baseline")) not in (None, "rft"):
        raise RunError(
            f"{path} is the baseline {kind}: it attempts no problem, so it has no ledger"
        )
    problems: dict[str, History] = {}
    tallies = []
    for number in sorted(line.iteration for line in record.metrics):
        if number > 0:  # the base is only measured
            made = _iteration(record, number)
            tallies.append(_enter(problems, number, *made))
    return Ledger(problems, tallies)


def _enter(
    problems: dict[str, History],
    number: int,
    attempted: dict[str, None],
    direct: set[str],
    hinted: set[str],
) -> Tally:
    """Add an iteration to the histories, and return its counts."""
    newly_solved = forgotten = 0
    for id in attempted:
        history = problems.get(id)
        if history is None:
            history = problems[id] = History()
        elif history.won:
            forgotten += id not in direct
        else:
            newly_solved += id in direct
        history.attempted.append(number)
        if id in direct:
            history.direct.append(number)
        if id in hinted:
            history.hinted.append(number)
    counts = len(attempted), len(direct), len(hinted - direct)
    return Tally(number, *counts, newly_solved, forgotten)


def _iteration(record: RunRecord, number: int) -> tuple[dict[str, None], set[str], set[str]]:
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
