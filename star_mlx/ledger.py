"""What became of every problem over the iterations of a run, from its folder's files alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from star_mlx import store
from star_mlx.types import RunError

Fate = Literal["direct", "hinted", "never"]
_TOKENS = ',"token_ids":['


@dataclass(slots=True)
class History:
    """The iterations in which a problem was attempted, solved directly, and solved by hint.

    A problem is solved directly if any of its direct attempts is right, and by hint if a
    rationalization of it was kept: right, and not cut off by the length limit.
    """

    attempted: list[int] = field(default_factory=list)
    direct: list[int] = field(default_factory=list)
    hinted: list[int] = field(default_factory=list)

    @property
    def fate(self) -> Fate:
        """The best that ever came of it."""
        return "direct" if self.direct else "hinted" if self.hinted else "never"

    def enter(self, iteration: int, *, hinted: bool, solved: bool) -> None:
        """Take note of one attempt; an iteration's attempts come together."""
        _once(self.attempted, iteration)
        if solved:
            _once(self.hinted if hinted else self.direct, iteration)


@dataclass(frozen=True, slots=True)
class Tally:
    """One iteration in problems; ``hinted`` counts those solved by hint and not directly.

    ``newly_solved`` and ``forgotten`` are those of ``metrics.jsonl``: problems whose last earlier
    attempt failed and that now are solved directly, and the reverse.
    """

    iteration: int
    attempted: int
    direct: int
    hinted: int
    newly_solved: int
    forgotten: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """Every problem's history by id, in the order they were first met, and every iteration."""

    problems: dict[str, History]
    iterations: list[Tally]

    def of(self, fate: Fate) -> list[str]:
        """The ids of the problems with that fate."""
        return [id for id, history in self.problems.items() if history.fate == fate]

    def totals(self) -> dict[str, int]:
        """Problems seen: ever solved directly, only ever by hint, never solved."""
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
        """All of it as plain data."""
        return {
            "problems": {
                id: {"direct": h.direct, "hinted": h.hinted, "attempted": h.attempted}
                for id, h in self.problems.items()
            },
            "iterations": [asdict(tally) for tally in self.iterations],
            "totals": self.totals(),
        }


def read(path: Path) -> Ledger:
    """The ledger of a run folder: of the iterations that are finished, one attempt at a time.

    Raises:
        RunError: not a run folder, or the attempts of a finished iteration are missing or damaged.
    """
    record = store.read(path)
    problems: dict[str, History] = {}
    tallies = []
    for number in sorted(line["iteration"] for line in record.metrics):
        if number == 0:  # the base is only evaluated
            continue
        met: set[str] = set()
        for id, hinted, solved in _attempts(path / "iterations" / f"{number:03d}"):
            met.add(id)
            history = problems.get(id)
            if history is None:
                history = problems[id] = History()
            history.enter(number, hinted=hinted, solved=solved)
        tallies.append(_tally(number, [problems[id] for id in met]))
    return Ledger(problems, tallies)


def _attempts(folder: Path) -> Iterator[tuple[str, bool, bool]]:
    """(id, hinted, solved) of every attempt of an iteration."""
    file = folder / "attempts.jsonl"
    if not file.is_file():
        raise RunError(f"{file} is missing, but metrics.jsonl says that the iteration is finished")
    with open(file, encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = _without_tokens(line)
                hinted, solved = row["hinted"], row["correct"]
                if hinted and row["finish"] != "stop":
                    solved = False  # not kept
                yield row["id"], hinted, solved
            except (json.JSONDecodeError, KeyError, TypeError):
                raise RunError(f"{file}, line {number} is no attempt: it is damaged") from None


def _without_tokens(line: str) -> Any:
    """A row without its token ids, which are most of it: nearly three times as fast to read.

    Within a string of JSON the quotes of ``_TOKENS`` would be escaped.
    """
    head, found, _ = line.partition(_TOKENS)
    return json.loads(head + "}" if found else line)


def _tally(number: int, attempted: list[History]) -> Tally:
    """Count an iteration from the histories of its problems, which end with it."""
    direct = hinted = newly_solved = forgotten = 0
    for history in attempted:
        now = _has(history.direct, number)
        direct += now
        hinted += not now and _has(history.hinted, number)
        if len(history.attempted) > 1:
            last = history.attempted[-2]
            before = last in history.direct[-2:]
            newly_solved += now and not before
            forgotten += before and not now
    return Tally(number, len(attempted), direct, hinted, newly_solved, forgotten)


def _has(iterations: list[int], number: int) -> bool:
    return bool(iterations) and iterations[-1] == number


def _once(iterations: list[int], number: int) -> None:
    if not _has(iterations, number):
        iterations.append(number)
