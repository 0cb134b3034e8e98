"""Runs beside each other: which is the best, and which differences are significant.

Every two runs are compared on the dev problems that both were measured on (exact McNemar tests),
and the p-values are corrected for their number (Holm 1979): of thirty runs that are all alike, the
first and the last still lie some points apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from star_mlx.measure.compare import RightOrNot
from star_mlx.measure.paired import ALPHA, Paired, holm, paired
from star_mlx.measure.summary import RunSummary
from star_mlx.store.which import most_accurate


@dataclass(frozen=True, slots=True)
class Entry:
    """A run on the board, by the best of its iterations; ``verdicts`` are by problem.

    ``gain`` compares it with its base as the loop first asked it, with ``p`` corrected for the
    number of runs; None if that was not measured. ``settings`` are those in which the runs differ.
    """

    name: str
    task: str
    model: str
    iteration: int
    last: int
    verdicts: RightOrNot
    gain: Paired | None
    settings: Mapping[str, str]

    @property
    def n(self) -> int:
        """The number of problems."""
        return len(self.verdicts)

    @property
    def right(self) -> int:
        """The number of problems with a right answer."""
        return sum(self.verdicts.values())


@dataclass(frozen=True, slots=True)
class BoardPair:
    """Two entries by their places, from 0; ``better`` of ``pair`` counts the problems that only the
    ``first`` has right. ``p`` is corrected for the number of pairs on the board."""

    first: int
    second: int
    pair: Paired
    p: float

    @property
    def better(self) -> int | None:
        """The place of the one that is significantly better; None if neither is."""
        if self.p >= ALPHA:
            return None
        return self.first if self.pair.better > self.pair.worse else self.second

    @property
    def worse(self) -> int | None:
        """The place of the other one."""
        return None if self.better is None else self.first + self.second - self.better


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """The entries, the most accurate first, and every pair with a problem in common; ``common`` are
    the settings that are not the recipe's and the same in all runs."""

    entries: tuple[Entry, ...]
    pairs: tuple[BoardPair, ...]
    common: Mapping[str, str]

    def beaten(self, index: int) -> list[int]:
        """The entries that one is significantly better than."""
        found = (pair.worse for pair in self.pairs if pair.better == index)
        return sorted(other for other in found if other is not None)

    @property
    def apart(self) -> bool:
        """Whether not all pairs were measured on the same problems."""
        number = len(self.entries)
        whole = {frozenset(one.verdicts) for one in self.entries}
        return len(whole) > 1 or len(self.pairs) < number * (number - 1) // 2


def board(summaries: Sequence[tuple[str, RunSummary]]) -> Leaderboard:
    """Rank runs.

    Args:
        summaries: each with the place that it is from, which tells apart those with one name.
    """
    common, differing = _settings([one for _, one in summaries])
    names = _names(summaries)
    made = [
        _entry(one, name, its)
        for (_, one), name, its in zip(summaries, names, differing, strict=True)
    ]
    made = sorted(_corrected(made), key=lambda one: (-one.right / one.n, one.name))
    pairs = [
        (i, j, pair)
        for i, j in combinations(range(len(made)), 2)
        if (pair := paired(made[j].verdicts, made[i].verdicts)).n
    ]
    corrected = holm([pair.p for *_, pair in pairs])
    found = [BoardPair(*one, p) for one, p in zip(pairs, corrected, strict=True)]
    return Leaderboard(tuple(made), tuple(found), common)


def _entry(one: RunSummary, name: str, settings: Mapping[str, str]) -> Entry:
    verdicts = {entry.iteration: one.verdicts(entry.right) for entry in one.iterations}
    measured = {number: found for number, found in verdicts.items() if found}
    best = most_accurate({n: sum(v.values()) / len(v) for n, v in measured.items()})
    assert best is not None  # a summary has a verdict
    base = measured.get(0, {})
    return Entry(
        name=name,
        task=one.task,
        model=one.base,
        iteration=best,
        last=max(verdicts),
        verdicts=measured[best],
        gain=found if (found := paired(base, measured[best])).n else None,
        settings=settings,
    )


def _corrected(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with the p-values of their gains corrected for the number of gains."""
    ps = iter(holm([one.gain.p for one in entries if one.gain]))
    return [
        replace(one, gain=replace(one.gain, p=next(ps))) if one.gain else one for one in entries
    ]


def _settings(all: Sequence[RunSummary]) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The settings that all runs have in common, and those of each that not all have."""
    first = all[0].settings
    common = {k: v for k, v in first.items() if {one.settings.get(k) for one in all} == {v}}
    return common, [{k: v for k, v in one.settings.items() if k not in common} for one in all]


def _names(summaries: Sequence[tuple[str, RunSummary]]) -> list[str]:
    """The names, with the place behind those that several have."""
    often = Counter(one.name for _, one in summaries)
    return [
        one.name if often[one.name] == 1 else f"{one.name} ({place})" for place, one in summaries
    ]
