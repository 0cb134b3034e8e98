"""Run folders -> what their report says, as plain data. Nothing is locked, nothing written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from star_mlx.errors import RunError
from star_mlx.measure import baselines, compare, verdict
from star_mlx.measure.baselines import Baseline
from star_mlx.measure.verdict import RunVerdict
from star_mlx.recipe.layers import leaves, shown
from star_mlx.store import ledger, reading
from star_mlx.store.ledger import Ledger
from star_mlx.store.metrics import Measured, Metrics
from star_mlx.store.reading import RunRecord
from star_mlx.store.results import Result

NOT_ATTEMPTED, NOT_SOLVED, WITH_HINT, DIRECT = range(4)  # the states of a problem in an iteration
RECURRING = 0.05  # share of problems attempted again from which their history is drawn
POINTS = 200  # a curve has no more


@dataclass(frozen=True, slots=True)
class Grid:
    """The ledger as a picture: ``states`` is uint8 (problems, iterations), with the problems sorted
    by when they were first solved. ``totals`` is the ledger's."""

    ids: tuple[str, ...]
    iterations: tuple[int, ...]
    states: np.ndarray[Any, np.dtype[np.uint8]]
    totals: Mapping[str, int]

    @property
    def recurs(self) -> bool:
        """Whether enough problems were attempted more than once for their history to be seen."""
        again = (self.states != NOT_ATTEMPTED).sum(axis=1) > 1
        return bool(again.size and again.mean() >= RECURRING)


@dataclass(frozen=True, slots=True)
class Curve:
    """The optimizer steps of an iteration: (step, loss, gradient norm)."""

    iteration: int
    points: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class ReportedRun:
    """All that is shown of a run but its texts. ``metrics`` are in order; ``verdicts`` are of dev,
    by iteration; ``ledger`` and ``grid`` are None for a baseline; ``notes`` say what could not be
    read."""

    record: RunRecord
    label: str
    metrics: tuple[Metrics, ...]
    verdicts: Mapping[int, Mapping[str, bool]]
    baselines: tuple[Baseline, ...]
    curves: tuple[Curve, ...]
    grid: Grid | None
    results: tuple[tuple[str, Result], ...]
    verdict: RunVerdict
    ledger: Ledger | None = None
    notes: tuple[str, ...] = ()

    @property
    def measured(self) -> list[tuple[int, Measured]]:
        """The iterations whose dev accuracy was measured, with it."""
        return [(line.iteration, line.dev) for line in self.metrics if line.dev]

    @property
    def iterations(self) -> list[Metrics]:
        """The metrics lines of the iterations, without the base."""
        return [line for line in self.metrics if line.iteration > 0]


def runs(paths: Sequence[Path]) -> list[ReportedRun]:
    """Read runs, each once.

    Raises:
        RunError: no run, one without a finished iteration, or one that is damaged.
    """
    unique = list({path.resolve(): path for path in reversed(paths)}.values())[::-1]
    records = [reading.read(path) for path in unique]
    for one in records:
        if not one.metrics:
            raise RunError(
                f"{one.path} has no finished iteration yet: report on it when star-mlx loop has "
                "finished one"
            )
    named = labels(records)
    return [_run(one, name) for one, name in zip(records, named, strict=True)]


def _run(one: RunRecord, name: str) -> ReportedRun:
    metrics = tuple(sorted(one.metrics, key=lambda line: line.iteration))
    numbers = [line.iteration for line in metrics]
    verdicts = {n: found for n in numbers if (found := compare.dev_verdicts(one, n))}
    results, notes = _results(one)
    missing = [line.iteration for line in metrics if line.dev and not verdicts.get(
        line.iteration
    )]  # fmt: skip
    if missing:
        listed = ", ".join(map(str, missing))
        notes.append(f"eval.jsonl is missing in iteration {listed}: no paired tests with it")
    kept = None if one.recipe.get("baseline") else ledger.of_run(one)
    return ReportedRun(
        record=one,
        label=name,
        metrics=metrics,
        verdicts=verdicts,
        baselines=baselines.of_run(one),
        curves=tuple(curve for n in numbers if (curve := _curve(one, n)).points),
        grid=_grid(kept) if kept else None,
        results=results,
        verdict=verdict.of_run(one),
        ledger=kept,
        notes=tuple(notes),
    )


# --------------------------------------------------------------------------- names


def labels(records: Sequence[RunRecord]) -> list[str]:
    """What to call the runs: their folders' names, as much of the path as tells them apart, and
    what differs between their recipes where that is one thing."""
    names = short_names([one.path for one in records])
    differing = differences(records)
    if len({_rationalizes(one) for one in records}) > 1:
        with_or_without = ("without rationalization", "with rationalization")
        said = [with_or_without[_rationalizes(one)] for one in records]
    elif len(differing) == 1:
        [(key, values)] = differing.items()
        said = [f"{key}={value}" for value in values]
    else:
        return names
    return [f"{what} ({name})" for what, name in zip(said, names, strict=True)]


def _rationalizes(one: RunRecord) -> bool:
    return bool(one.recipe.get("star", {}).get("rationalize", True))


def short_names(paths: Sequence[Path]) -> list[str]:
    """The names of the folders, with as much of their paths as tells them apart."""
    whole = [path.resolve() for path in paths]
    longest = max(len(path.parts) for path in whole)
    for count in range(1, longest + 1):
        names = ["/".join(path.parts[-count:]) for path in whole]
        if len(set(names)) == len(names):
            break
    return names


def differences(records: Sequence[RunRecord]) -> dict[str, list[str]]:
    """Recipe key -> its value in each run, for keys whose values differ, without provenance."""
    flat = [leaves(one.recipe) for one in records]
    keys = dict.fromkeys(key for values in flat for key in values)
    rows = {key: [shown(v[key]) if key in v else "(not set)" for v in flat] for key in keys}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


# --------------------------------------------------------------------------- parts of a run


def _curve(one: RunRecord, number: int) -> Curve:
    """The optimizer steps of an iteration, averaged over neighbours if there are many."""
    rows = [(float(row.step), row.loss, row.gradient_norm) for row in one.steps(number)]
    size = max(1, -(-len(rows) // POINTS))
    groups = [rows[first : first + size] for first in range(0, len(rows), size)]
    return Curve(number, tuple(_mean(group) for group in groups))


def _mean(rows: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    step, loss, norm = (sum(values) / len(rows) for values in zip(*rows, strict=True))
    return step, loss, norm


def _grid(found: Ledger) -> Grid:
    iterations = tuple(tally.iteration for tally in found.iterations)
    shown = np.full(8, NOT_ATTEMPTED, dtype=np.uint8)
    for made, state in (
        (ledger.ATTEMPTED, NOT_SOLVED),
        (ledger.HINTED, WITH_HINT),
        (ledger.DIRECT, DIRECT),
    ):
        shown[[sum_ for sum_ in range(8) if sum_ & made]] = state
    states = shown[found.states]
    order = _order(states)
    return Grid(tuple(found.ids[i] for i in order), iterations, states[order], found.totals())


def _order(states: np.ndarray[Any, np.dtype[np.uint8]]) -> list[int]:
    """Rows by their first direct solution, then their first with hint, then how often directly."""
    if not states.size:
        return list(range(len(states)))
    direct, hinted = states == DIRECT, states == WITH_HINT
    never = states.shape[1]
    first = np.where(direct.any(axis=1), direct.argmax(axis=1), never)
    hint = np.where(hinted.any(axis=1), hinted.argmax(axis=1), never)
    return [int(i) for i in np.lexsort((-direct.sum(axis=1), hint, first))]


def _results(one: RunRecord) -> tuple[tuple[tuple[str, Result], ...], list[str]]:
    """The files of RUN/results in order of time, and what is to be said of others there."""
    found, notes = [], []
    for file, result in one.results():
        if result is not None:
            found.append((file.name, result))
        else:
            notes.append(f"results/{file.name} is not a result of star-mlx evaluate: left out")
    return tuple(found), notes
