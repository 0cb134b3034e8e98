"""Compare two runs on the same dev problems, pair by pair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_mlx.errors import RunError
from star_mlx.formatting import class_order, harmless
from star_mlx.measure import run_problems
from star_mlx.measure.accuracy import counted
from star_mlx.measure.paired import Paired, paired
from star_mlx.measure.run_problems import Known
from star_mlx.store import names, reading, rows
from star_mlx.store.reading import RunRecord
from star_mlx.store.which import is_name, no_such, which

RightOrNot = Mapping[str, bool]  # problem id -> right or not


@dataclass(frozen=True, slots=True)
class Side:
    """A model of a run with its dev verdicts; ``name`` is its name in the output."""

    run: RunRecord
    number: int
    name: str
    verdicts: RightOrNot


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of two models on the dev problems that both were measured on; ``better`` of a
    pair counts the problems that only the second has right.

    ``only_first`` and ``only_second`` count problems that only one was measured on, ``changed``
    those whose id means another problem in the other run; all these are left out.
    ``by_iteration`` compares iterations with the same number.
    """

    first: Side
    second: Side
    pair: Paired
    only_first: int
    only_second: int
    changed: int
    classes: str
    by_class: Mapping[str, Paired]
    by_iteration: Mapping[int, Paired]
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        n = self.pair.n
        sides = (("first ", self.first, first_right), ("second", self.second, second_right))
        lines = [
            f"{which}  {side.name}: {100 * right(self.pair) / n:.1f}% of n = {n}"
            for which, side, right in sides
        ]
        return harmless("\n".join([*lines, self.words(), *self.warnings]))

    def words(self) -> str:
        """The comparison in one sentence."""
        return self.pair.words(self.second.name, self.first.name)

    def as_json(self) -> dict[str, Any]:
        """The whole comparison as plain data."""
        return {
            "first": _side_json(self.first, first_right(self.pair), self.pair.n),
            "second": _side_json(self.second, second_right(self.pair), self.pair.n),
            **self.pair.as_json(),
            "words": self.words(),
            "only_first": self.only_first,
            "only_second": self.only_second,
            "changed": self.changed,
            "classes": self.classes,
            "by_class": {name: pair.as_json() for name, pair in self.by_class.items()},
            "by_iteration": {str(n): pair.as_json() for n, pair in self.by_iteration.items()},
            "warnings": list(self.warnings),
        }


def first_right(pair: Paired) -> int:
    """The number of problems that the first of a pair has right."""
    return pair.both + pair.worse


def second_right(pair: Paired) -> int:
    """The number of problems that the second of a pair has right."""
    return pair.both + pair.better


def find(text: str) -> tuple[Path, str]:
    """Split ``RUN`` or ``RUN:ITERATION`` into the folder and the iteration, by default ``best``.

    A folder may have a colon in its own name.

    Raises:
        RunError: the folder exists, but the text after the colon does not name an iteration.
    """
    before, colon, iteration = text.rpartition(":")
    if Path(text).is_dir() or not colon:
        return Path(text), "best"
    if is_name(iteration):
        return Path(before), iteration
    if Path(before).is_dir():
        raise RunError(f"{before}: {no_such(iteration)}")
    return Path(text), "best"


def side(run: RunRecord, iteration: str, name: str | None = None) -> Side:
    """A model of a run, named as for ``which``. Its adapter may have been deleted.

    Raises:
        RunError: the run has no such iteration, or it was not measured on dev.
    """
    found = which(run, iteration)
    what = "zero-shot" if found.zero_shot else f"iteration {found.number}"
    verdicts = dev_verdicts(run, found.number, zero_shot=found.zero_shot)
    if not verdicts:
        raise RunError(
            f"{run.path} has no dev verdicts of {what}: star-mlx evaluate {run.path} "
            f"--iteration {iteration} makes them"
        )
    return Side(run, found.number, f"{name or run.path}, {what}", verdicts)


def dev_verdicts(run: RunRecord, number: int, *, zero_shot: bool = False) -> dict[str, bool]:
    """The dev verdicts of an iteration; empty if it was not measured.

    Raises:
        RunError: the file of attempts is damaged.
    """
    name = names.ZERO_SHOT if zero_shot else names.DEV
    blocks = run.rows(number, name, rows.Outcome)
    return {row.id: row.solved for block in blocks for row in block}


def compare(first: str, second: str) -> Comparison:
    """Compare two models, each given as ``RUN`` or ``RUN:ITERATION``, on the runs' dev problems.

    Raises:
        RunError: no such run or iteration, one without dev verdicts, or no problem in common.
    """
    sides = [side(reading.read(path), name) for path, name in map(find, (first, second))]
    known = [run_problems.of_run(one.run) for one in sides]
    return compared(sides[0], sides[1], known[0], known[1])


def compared(first: Side, second: Side, known: Known, other: Known) -> Comparison:
    """Compare two models; ``known`` and ``other`` are the problems of the first and the second run.

    Raises:
        RunError: they have no problem in common.
    """
    ids = first.verdicts.keys() & second.verdicts.keys()
    changed, warnings = _changed(first, second, known, other, ids)
    same = ids - changed
    if not same:
        tasks = [str(one.run.recipe.get("task", {}).get("name")) for one in (first, second)]
        raise RunError(
            f"{first.name} and {second.name} have no dev problem in common (tasks: "
            f"{' and '.join(tasks)}): compare runs on the same data"
        )
    groups = _groups(same, known if known.task else other)
    task = known.task or other.task
    by_class = {name: _paired(first.verdicts, second.verdicts, part) for name, part in groups}
    return Comparison(
        first=first,
        second=second,
        pair=_paired(first.verdicts, second.verdicts, same),
        only_first=len(first.verdicts) - len(ids),
        only_second=len(second.verdicts) - len(ids),
        changed=len(changed),
        classes=task.classes if task else "",
        by_class=by_class,
        by_iteration=_by_iteration(first.run, second.run, changed),
        warnings=tuple(warnings),
    )


def _paired(first: RightOrNot, second: RightOrNot, ids: Set[str]) -> Paired:
    kept = ({id: right for id, right in one.items() if id in ids} for one in (first, second))
    return paired(*kept)


def _by_iteration(first: RunRecord, second: RunRecord, changed: Set[str]) -> dict[int, Paired]:
    numbers = {line.iteration for line in first.metrics}
    found = {}
    for number in sorted(numbers & {line.iteration for line in second.metrics}):
        old, new = dev_verdicts(first, number), dev_verdicts(second, number)
        if common := (old.keys() & new.keys()) - changed:
            found[number] = _paired(old, new, common)
    return found


def _changed(
    first: Side, second: Side, known: Known, other: Known, ids: Set[str]
) -> tuple[set[str], list[str]]:
    """The ids that mean different problems in the two runs, and the warnings."""
    hashes = run_problems.data_hash(first.run), run_problems.data_hash(second.run)
    if hashes[0] == hashes[1]:
        return set(), []
    differ = "the data of the two runs differs (provenance.data_sha256)"
    if lacking := known.why_not or other.why_not:
        text = f"{differ}, and whether equal ids are equal problems cannot be seen: {lacking}"
        return set(), [text]
    changed = {id for id in ids if _asked(known, id) != _asked(other, id)}
    left_out = f"{len(changed)} with equal ids ask something else and are left out"
    return changed, [f"{differ}: of {len(ids)} dev problems in common {left_out}"]


def _asked(known: Known, id: str) -> tuple[object, str] | None:
    problem = known.dev.get(id)
    return (problem.question, problem.answer) if problem else None


def _groups(ids: Iterable[str], known: Known) -> list[tuple[str, set[str]]]:
    """The ids by class, numbers in order of size; none if there are no classes."""
    groups: dict[str, set[str]] = {}
    for id in ids:
        if (problem := known.dev.get(id)) and problem.group:
            groups.setdefault(problem.group, set()).add(id)
    return sorted(groups.items(), key=lambda item: class_order(item[0]))


def _side_json(one: Side, right: int, n: int) -> dict[str, Any]:
    about = {"run": str(one.run.path), "iteration": one.number, "name": one.name}
    return {**about, **counted(right, n)}
