"""Choose the attempts that a report shows, with their texts.

Problems are drawn by a hash of their id, so the choice is not biased, and drawn problems are shown
with all their attempts, up to a number of bytes. A few attempts of each kind are added, so that no
kind is missing. A run is read in one pass, one row at a time; of a very large one, only some
iterations are read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from star_mlx.measure.run_problems import Known
from star_mlx.report.gather import ReportedRun
from star_mlx.report.parts import cut
from star_mlx.store import names
from star_mlx.store.metrics import Metrics
from star_mlx.store.rows import AttemptText

FILES = {
    names.ATTEMPTS: "train",
    names.DEV: "dev",
    names.ZERO_SHOT: "dev, without examples",
}
KINDS = ("right", "wrong", "undecided", "no answer", "cut off", "rejected", "hint leak")
FEW = 4  # attempts of each kind, in addition
AT_ONCE = 8000  # approximate number of attempts of drawn problems in memory
READ = 800_000  # maximum number of attempts of a run to read, roughly
TRIES = 2000  # number of kept rationales to search for hint leaks
JUDGED = 20_000  # maximum characters of a text for the task to judge
AROUND = 60  # bytes of JSON around an attempt's texts


@dataclass(frozen=True, slots=True)
class Shown:
    """An attempt in the page; ``text`` is harmless and may be cut by ``left_out`` characters.
    ``remark`` has further information."""

    id: str
    split: str
    iteration: int
    hinted: bool
    kind: str
    answer: str
    text: str
    left_out: int
    remark: str = ""

    @property
    def size(self) -> int:
        """Approximate bytes of JSON."""
        return len(json.dumps([self.answer, self.text, self.remark])) + AROUND


@dataclass(slots=True)
class Selection:
    """The chosen attempts, in order of problem and iteration, and the number of all attempts.

    Problems that were wrong at first, then kept with hint, then right come first. ``read`` are the
    iterations whose attempts were read, if they are not all.
    """

    shown: list[Shown] = field(default_factory=list)
    attempts: int = 0
    problems: int = 0
    drawn: int = 0
    extra: int = 0
    read: tuple[int, ...] = ()


def select(run: ReportedRun, known: Known, size: int, first: str | None = None) -> Selection:
    """Choose what is shown of a run, of about ``size`` bytes; the train problem ``first`` is drawn
    first.

    Raises:
        RunError: a row is not an attempt; names its line.
    """
    ids = {
        "train": list(run.grid.ids) if run.grid else [],
        "dev": list(dict.fromkeys(id for found in run.verdicts.values() for id in found)),
    }
    found = Selection(problems=sum(map(len, ids.values())))
    if size <= 0:
        return found
    ranks = {split: ranked(of) for split, of in ids.items()}
    if first in ranks["train"]:
        ranks["train"][first] = -1
    lines = _spread(run)
    most = max(8, AT_ONCE // (2 * len(lines)))
    reader = _Reader(run, known, ranks, most)
    for line in lines:
        for name, split in FILES.items():
            found.attempts += reader.read(line, name, split)
    if len(lines) < len(run.metrics):
        found.read = tuple(line.iteration for line in lines)
        found.attempts = _journalled(run)
    _fill(found, reader, size)
    return found


def _spread(run: ReportedRun) -> list[Metrics]:
    """The iterations to read, spread evenly, with the first and the last; of most runs all."""
    lines = list(run.metrics)
    number = max(2, READ * len(lines) // max(1, _journalled(run)))
    if number >= len(lines):
        return lines
    last = len(lines) - 1
    return [lines[round(place * last / (number - 1))] for place in range(number)]


def _journalled(run: ReportedRun) -> int:
    """The number of all attempts whose files may be read."""
    journal = run.record.journal
    chunks = (
        chunk
        for line in run.metrics
        for name in FILES
        for chunk in journal.of_file(line.iteration, name)
    )
    return sum(chunk.rows for chunk in chunks)


def ranked(ids: Iterable[str]) -> dict[str, int]:
    """The place of each id in the order of drawing, which is that of its hash."""
    order = sorted(ids, key=lambda id: hashlib.sha256(id.encode("utf-8", "replace")).digest())
    return {id: place for place, id in enumerate(order)}


def _fill(found: Selection, reader: _Reader, size: int) -> None:
    """Add the attempts of each kind, then problem after problem, from train and dev in turn."""
    few = [shown for kind in reader.few.values() for shown in kind.values()]
    left = size - sum(shown.size for shown in few)
    turns = zip_longest(*(reader.drawn(split) for split in ("train", "dev")))
    chosen: list[Shown] = []
    for attempts in (one for turn in turns for one in turn if one):
        left -= sum(shown.size for shown in attempts)
        if left < 0:
            break
        chosen += attempts
        found.drawn += 1
    there = set(map(_key, chosen))
    extra = [shown for shown in dict.fromkeys(few) if _key(shown) not in there]
    found.extra = len(extra)
    shown = [*chosen, *extra]
    places = _places(shown)
    found.shown = sorted(
        shown, key=lambda s: (places[s.split, s.id], s.split, s.id, s.iteration, s.hinted)
    )


def _places(shown: Iterable[Shown]) -> dict[tuple[str, str], int]:
    """The place of each problem: 0 if it was wrong, then kept with hint, then right without; 1 if
    only the first two; 2 if neither."""
    by_problem: dict[tuple[str, str], list[Shown]] = {}
    for one in shown:
        by_problem.setdefault((one.split, one.id), []).append(one)
    return {key: _place(attempts) for key, attempts in by_problem.items()}


def _place(attempts: list[Shown]) -> int:
    kept = [one.iteration for one in attempts if one.hinted and one.kind in ("right", "hint leak")]
    if not kept:
        return 2
    later = (one for one in attempts if not one.hinted and one.iteration > min(kept))
    return 0 if any(one.kind == "right" for one in later) else 1


def _key(shown: Shown) -> tuple[Any, ...]:
    return shown.split, shown.id, shown.iteration, shown.hinted, shown.text


class _Reader:
    """Reads the rows of a run and keeps those of drawn problems, and a few of each kind."""

    def __init__(
        self, run: ReportedRun, known: Known, ranks: Mapping[str, Mapping[str, int]], most: int
    ) -> None:
        self._run, self._known, self._ranks, self._most = run, known, ranks, most
        self._drawn: dict[str, dict[str, list[Shown]]] = {"train": {}, "dev": {}}
        self.few: dict[str, dict[str, Shown]] = {kind: {} for kind in KINDS}
        self._tries = TRIES

    def drawn(self, split: str) -> list[list[Shown]]:
        """The attempts at each drawn problem, in the order of drawing."""
        ranks = self._ranks[split]
        found = self._drawn[split]
        return [found[id] for id in sorted(found, key=lambda id: ranks[id])]

    def read(self, line: Metrics, name: str, split: str) -> int:
        """Read a file of an iteration, and return its number of attempts."""
        number, group = line.iteration, split.partition(",")[0]
        ranks, count = self._ranks[group], 0
        blocks = self._run.record.rows(number, name, AttemptText)
        for row in (row for block in blocks for row in block):
            count += 1
            rank = ranks.get(row.id)
            if rank is None:  # of another measurement
                continue
            if rank < self._most:
                shown = self._shown(row, split, number)
                self._drawn[group].setdefault(row.id, []).append(shown)
                self._keep(shown.kind, shown, ranks)
            elif self._wanted(row, ranks) or self._may_leak(row, line):
                shown = self._shown(row, split, number)
                self._keep(shown.kind, shown, ranks)
        return count

    def _wanted(self, row: AttemptText, ranks: Mapping[str, int]) -> bool:
        return self._room(_kind(row), row.id, ranks)

    def _room(self, kind: str, id: str, ranks: Mapping[str, int]) -> bool:
        """Whether the few of a kind have none of this problem yet, and have room for it."""
        few = self.few[kind]
        if id in few:
            return False
        return len(few) < FEW or ranks[id] < max(ranks.get(other, -1) for other in few)

    def _keep(self, kind: str, shown: Shown, ranks: Mapping[str, int]) -> None:
        few = self.few[kind]
        if not self._room(kind, shown.id, ranks):
            return
        if len(few) == FEW:
            del few[max(few, key=lambda id: ranks.get(id, -1))]
        few[shown.id] = shown

    def _may_leak(self, row: AttemptText, line: Metrics) -> bool:
        """Whether to ask the task if a rationale kept with hint mentions its hint."""
        if not line.hint_leaks or not self._known.task or self._tries <= 0:
            return False
        if len(self.few["hint leak"]) == FEW or not row.hinted or _kind(row) != "right":
            return False
        self._tries -= 1
        return True

    def _shown(self, row: AttemptText, split: str, number: int) -> Shown:
        text, left_out = cut(row.completion)
        answer = "" if row.answer is None else cut(row.answer, 200)[0]
        kind, remark = _kind(row), ""
        problem = (self._known.train if split == "train" else self._known.dev).get(row.id)
        judged = self._known.task and problem and len(row.completion) <= JUDGED
        if self._known.task and problem and judged and kind == "right":
            if row.hinted and self._known.task.cites_hint(problem, row.completion):
                kind, remark = "hint leak", "right, but it mentions the hint or only repeats it"
            elif self._known.task.valid_steps(problem, row.completion) is False:
                remark = "one of its steps is wrong"
        elif kind == "rejected":
            remark = f"right, but not kept: {cut(row.rejected, 60)[0]}"
        elif kind == "cut off":
            right = "right, but not kept: " if row.correct else ""
            remark = f"{right}cut off at the length limit"
        elif kind == "undecided":
            remark = cut(row.undecided, 200)[0]
        return Shown(row.id, split, number, row.hinted, kind, answer, text, left_out, remark)


def _kind(row: AttemptText) -> str:
    """The kind of an attempt, one of ``KINDS`` except hint leaks, which only a task can detect."""
    if row.finish == "length":
        return "cut off"
    if row.rejected:
        return "rejected"
    if row.undecided:
        return "undecided"
    return "no answer" if row.answer is None else "right" if row.correct else "wrong"
