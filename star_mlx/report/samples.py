"""Which attempts a report shows, with their texts.

Problems are drawn by a hash of their id, so that nobody has chosen them, and those that are drawn
are shown with all their attempts, until a number of bytes is reached. A few attempts of each kind
come on top, so that no kind is missed. A run is read in one pass, a row at a time.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from star_mlx.errors import RunError
from star_mlx.measure.run_problems import Known
from star_mlx.report.gather import Run
from star_mlx.report.parts import cut
from star_mlx.store.reading import iteration_folder

FILES = {
    "attempts.jsonl": "train",
    "eval.jsonl": "dev",
    "zero-shot.jsonl": "dev, without examples",
}
KINDS = ("right", "wrong", "no answer", "cut off", "rejected", "hint leak")
FEW = 4  # attempts of each kind, on top
AT_ONCE = 8000  # about so many attempts of drawn problems are held
TRIES = 2000  # so many kept rationalizations are searched for hint leaks
JUDGED = 20_000  # characters of a text that the task is asked about
AROUND = 60  # bytes of JSON around an attempt's texts


@dataclass(frozen=True, slots=True)
class Shown:
    """An attempt as the page has it; ``text`` is harmless and may be cut by ``left_out``
    characters. ``remark`` says what else there is to say."""

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
        """About how many bytes of JSON it takes."""
        return len(json.dumps([self.answer, self.text, self.remark])) + AROUND


@dataclass(slots=True)
class Selection:
    """The attempts shown, in order of problem and iteration, of how many there are."""

    shown: list[Shown] = field(default_factory=list)
    attempts: int = 0
    problems: int = 0
    drawn: int = 0
    extra: int = 0


def select(run: Run, known: Known, size: int) -> Selection:
    """Choose what is shown of a run, of about ``size`` bytes.

    Raises:
        RunError: a row that is no attempt, by its line.
    """
    ids = {
        "train": list(run.grid.ids) if run.grid else [],
        "dev": list(dict.fromkeys(id for found in run.verdicts.values() for id in found)),
    }
    found = Selection(problems=sum(map(len, ids.values())))
    if size <= 0:
        return found
    ranks = {split: ranked(of) for split, of in ids.items()}
    most = max(8, AT_ONCE // (2 * len(run.metrics)))
    reader = _Reader(run, known, ranks, most)
    for line in run.metrics:
        for name, split in FILES.items():
            found.attempts += reader.read(line, name, split)
    _fill(found, reader, size)
    return found


def ranked(ids: Iterable[str]) -> dict[str, int]:
    """The place of each id in the order of drawing, which is that of its hash."""
    order = sorted(ids, key=lambda id: hashlib.sha256(id.encode("utf-8", "replace")).digest())
    return {id: place for place, id in enumerate(order)}


def _fill(found: Selection, reader: _Reader, size: int) -> None:
    """Take the attempts of each kind, then problem after problem, from train and dev in turn."""
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
    found.shown = sorted([*chosen, *extra], key=lambda s: (s.split, s.id, s.iteration, s.hinted))


def _key(shown: Shown) -> tuple[Any, ...]:
    return shown.split, shown.id, shown.iteration, shown.hinted, shown.text


class _Reader:
    """Goes through the rows of a run and keeps those of drawn problems, and a few of each kind."""

    def __init__(
        self, run: Run, known: Known, ranks: Mapping[str, Mapping[str, int]], most: int
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

    def read(self, line: Mapping[str, Any], name: str, split: str) -> int:
        """Take in a file of an iteration; how many attempts it has."""
        number, group = line["iteration"], split.partition(",")[0]
        ranks, count = self._ranks[group], 0
        for row in _rows(iteration_folder(self._run.record.path, number) / name):
            count += 1
            rank = ranks.get(row.id)
            if rank is None:  # of a chunk that is being made again, or of another measurement
                continue
            if rank < self._most:
                shown = self._shown(row, split, number)
                self._drawn[group].setdefault(row.id, []).append(shown)
                self._keep(shown.kind, shown, ranks)
            elif self._wanted(row, ranks) or self._may_leak(row, line):
                shown = self._shown(row, split, number)
                self._keep(shown.kind, shown, ranks)
        return count

    def _wanted(self, row: _Row, ranks: Mapping[str, int]) -> bool:
        return self._room(row.kind(), row.id, ranks)

    def _room(self, kind: str, id: str, ranks: Mapping[str, int]) -> bool:
        """Whether there is none of the problem yet among the few of a kind, and room for it."""
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

    def _may_leak(self, row: _Row, line: Mapping[str, Any]) -> bool:
        """Whether it is worth asking the task if a kept rationalization speaks of its hint."""
        if not line.get("hint_leaks") or not self._known.task or self._tries <= 0:
            return False
        if len(self.few["hint leak"]) == FEW or not row.hinted or row.kind() != "right":
            return False
        self._tries -= 1
        return True

    def _shown(self, row: _Row, split: str, number: int) -> Shown:
        values = row.values()
        text, left_out = cut(values["completion"])
        answer = "" if values["answer"] is None else cut(str(values["answer"]), 200)[0]
        kind, remark = row.kind(), ""
        problem = (self._known.train if split == "train" else self._known.dev).get(row.id)
        judged = self._known.task and problem and len(values["completion"]) <= JUDGED
        if self._known.task and problem and judged and kind == "right":
            if values["hinted"] and self._known.task.cites_hint(problem, values["completion"]):
                kind, remark = "hint leak", "right, but it speaks of its hint or only repeats it"
            elif self._known.task.valid_steps(problem, values["completion"]) is False:
                remark = "a step of it is wrong"
        elif kind == "rejected":
            remark = f"right, but not kept: {cut(str(values['rejected']), 60)[0]}"
        elif kind == "cut off":
            right = "right, but not kept, since " if values["correct"] else ""
            remark = f"{right}the length limit cut it off"
        hinted = bool(values["hinted"])
        return Shown(row.id, split, number, hinted, kind, answer, text, left_out, remark)


_ID = re.compile(rb'\{"id":"([^"\\]*)","hinted":(true|false),')


class _Row:
    """A row of attempts, parsed only as far as it is needed.

    Within a string of JSON every quote is escaped, so what is searched for can stand nowhere but
    where a key and its value are.
    """

    __slots__ = ("_line", "_parsed", "_where", "hinted", "id")

    def __init__(self, line: bytes, where: tuple[Path, int]) -> None:
        self._line, self._where = line, where
        self._parsed: dict[str, Any] | None = None
        if found := _ID.match(line):
            self.id, self.hinted = found[1].decode("utf-8", "replace"), found[2] == b"true"
        else:
            values = self.values()
            self.id, self.hinted = values["id"], bool(values["hinted"])

    def values(self) -> dict[str, Any]:
        """All of it.

        Raises:
            RunError: it is no attempt.
        """
        if self._parsed is None:
            try:
                row = json.loads(self._line)
                keys = ("id", "hinted", "completion", "answer", "correct", "finish")
                self._parsed = {key: row[key] for key in keys}
                self._parsed["rejected"] = row.get("rejected", "")
            except (ValueError, KeyError, TypeError):
                file, number = self._where
                raise RunError(f"{file}, line {number} is no attempt: it is damaged") from None
        return self._parsed

    def kind(self) -> str:
        """What became of it, one of ``KINDS`` but for hint leaks, which only a task can tell."""
        if self._parsed is not None:
            values = self._parsed
            return _kind(
                values["finish"] == "length",
                bool(values["rejected"]),
                values["answer"] is None,
                bool(values["correct"]),
            )
        line = self._line
        return _kind(
            b',"finish":"length"' in line,
            b',"rejected":"' in line and b',"rejected":""' not in line,
            b',"answer":null,' in line,
            b',"correct":true,' in line,
        )


def _kind(cut_off: bool, rejected: bool, missing: bool, correct: bool) -> str:
    if cut_off:
        return "cut off"
    if rejected:
        return "rejected"
    return "no answer" if missing else "right" if correct else "wrong"


def _rows(file: Path) -> Iterator[_Row]:
    """The rows of a file, none where it is not there."""
    if file.is_file():
        with open(file, "rb") as lines:
            for number, line in enumerate(lines, 1):
                yield _Row(line, (file, number))
