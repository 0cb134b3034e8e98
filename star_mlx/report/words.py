"""The sentences and tables of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from star_mlx.errors import RunError
from star_mlx.measure import compare, findings
from star_mlx.measure.paired import Paired, p_cell, paired
from star_mlx.measure.run_problems import Known, data_hash
from star_mlx.recipe.layers import leaves, shown
from star_mlx.report.gather import ReportedRun, differences
from star_mlx.report.parts import Table, label, measured, whole
from star_mlx.store.which import most_accurate

BASE = "iteration 0 (the base)"


def sentences(run: ReportedRun) -> list[str]:
    """The findings of a run: its baselines, its best and last iteration, and how they compare."""
    lines = [
        f"{one.name}: {measured(one.eval)} of n = {whole(one.eval.n)} on dev"
        for one in run.baselines
    ]
    best, last = run.record.best, run.record.last
    marks = {"the base": 0, "the best on dev": best, "the last": last}
    by_number = dict(run.measured)
    for number in sorted({0, best, last} & by_number.keys()):
        said = ", ".join(mark for mark, of in marks.items() if of == number)
        entry = by_number[number]
        accuracy = f"{measured(entry)} of n = {whole(entry.n)}"
        lines.append(f"iteration {number} ({said}): {accuracy} on dev")
    for number in dict.fromkeys((best, last)):
        lines += _compared(run, number)
    return lines


def _compared(run: ReportedRun, number: int) -> list[str]:
    """An iteration with the base, the one before, the best before it, and the baselines."""
    if number == 0 or number not in run.verdicts:
        return []
    new = run.verdicts[number]
    others: dict[str, Mapping[str, bool]] = {}
    for other in against(run, number):
        others[_name(other)] = run.verdicts[other]
    others |= {one.name: one.verdicts for one in run.baselines if one.verdicts}
    return [paired(old, new).words(_name(number), name) for name, old in others.items()]


def against(run: ReportedRun, number: int) -> list[int]:
    """The iterations that one is compared with: the base, the one before it, the best before it."""
    earlier = {n: dev.accuracy for n, dev in run.measured if n < number and n in run.verdicts}
    best = most_accurate(earlier)
    if best is None:
        return []
    numbers = [0] if 0 in run.verdicts else []
    return sorted({*numbers, max(earlier), best})


def tests(runs: Sequence[ReportedRun]) -> Table | None:
    """Every iteration's paired tests."""
    rows = []
    for run in runs:
        for number in run.verdicts:
            for other in against(run, number):
                pair = paired(run.verdicts[other], run.verdicts[number])
                if pair.n:
                    rows.append((label(run.label), _name(number), _name(other), *_cells(pair)))
    heads = ("run", "model", "against", "n", "more right", "fewer", "p", "verdict")
    caption = "Paired tests on dev: exact McNemar, two-sided, not corrected for their number"
    return Table(caption, heads, tuple(rows)) if rows else None


def _cells(pair: Paired) -> tuple[str, ...]:
    counts = (whole(pair.n), whole(pair.better), whole(pair.worse))
    return (*counts, p_cell(pair.p), pair.verdict)


def _name(number: int) -> str:
    return f"iteration {number}" if number else BASE


def between(runs: Sequence[ReportedRun], known: Sequence[Known]) -> list[str]:
    """The best of every other run against the best of the first."""
    lines: list[str] = []
    for run, problems in list(zip(runs, known, strict=True))[1:]:
        try:
            sides = [
                compare.side(one.record, "best", label(one.label, 200)) for one in (runs[0], run)
            ]
            found = compare.compared(sides[0], sides[1], known[0], problems)
        except RunError as error:
            lines.append(f"not compared: {error}")
        else:
            lines += [found.words(), *found.warnings]
    return lines


def results(run: ReportedRun) -> list[tuple[str, list[str]]]:
    """The measurements of a run, each the name of its file and what it found."""
    return [(name, findings.report(result)) for name, result in run.results]


def summary(run: ReportedRun) -> Table:
    """A run in one table, a row an iteration."""
    keys = ("problems", "solved", "rationalized", "examples")
    rows = []
    for line in run.metrics:
        seconds = line.total_seconds
        steps = whole(line.steps)
        counts = tuple(whole(getattr(line, key)) for key in keys)
        entry = line.dev
        n = whole(entry.n) if entry else ""
        rows.append((str(line.iteration), *counts, steps, measured(entry), n, f"{seconds:,.0f}"))
    heads = ("iteration", "problems", "solved", "with hint", "kept", "steps", "dev [95%]", "n", "s")
    return Table(f"Iterations of {label(run.label)}", heads, tuple(rows))


def augmented(run: ReportedRun) -> Table | None:
    """The new questions of each iteration by kind; None if the run asked none."""
    rows = []
    for line in run.iterations:
        for kind, made in (line.augmented or {}).items():
            counts = tuple(map(whole, (made.tried, made.asked, made.solved, made.kept)))
            most = max(made.not_asked, key=lambda why: made.not_asked[why], default="")
            why = f"{label(most)} ({whole(made.not_asked[most])})" if most else ""
            rows.append((str(line.iteration), label(kind), *counts, why))
    heads = ("iteration", "kind", "tried", "asked", "solved", "kept", "most often not asked")
    caption = f"New questions of {label(run.label)}, by kind"
    return Table(caption, heads, tuple(rows)) if rows else None


def recipe_differences(runs: Sequence[ReportedRun]) -> Table | None:
    """The differences between the recipes of the runs."""
    found = differences([run.record for run in runs])
    if not found:
        return None
    heads = ("setting", *(label(run.label) for run in runs))
    rows = tuple((label(k), *(label(v, 200) for v in values)) for k, values in found.items())
    return Table("Differences between the recipes", heads, rows)


def provenance(runs: Sequence[ReportedRun]) -> Table | None:
    """Versions and hashes, a column a run."""
    flat = [leaves(run.record.provenance) for run in runs]
    keys = dict.fromkeys(key for values in flat for key in values)
    rows = tuple(
        (label(k), *(label(shown(v[k]), 200) if k in v else "" for v in flat)) for k in keys
    )
    heads = ("name", *(label(run.label) for run in runs))
    return Table("Versions, base model and hashes", heads, rows) if rows else None


def lacking(run: ReportedRun, known: Known) -> list[str]:
    """The parts that are missing in the report, and why."""
    lines = list(run.notes)
    if known.why_not:
        lines.append(
            "questions and classes of problems are not shown, only the prompts that were trained "
            f"on: {known.why_not}"
        )
    if data_hash(run.record) is None:
        lines.append("the recipe has no hash of the data (provenance.data_sha256)")
    return lines
