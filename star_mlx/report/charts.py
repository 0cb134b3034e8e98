"""The charts of what was learned: accuracy, by class too; yields; the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from star_mlx.formatting import class_order
from star_mlx.measure.accuracy import wilson
from star_mlx.report import drawing
from star_mlx.report.gather import Grid, ReportedRun
from star_mlx.report.parts import Chart, Table, label, measured, share, whole
from star_mlx.store.metrics import ClassCounts, Measured

CLASSES = 8  # maximum number of lines in a panel
ROWS = 1000  # maximum number of problems drawn, one per line

STATES = ("not attempted", "not solved", "solved by hint", "solved directly")
# From dark to light, so that the order is seen in grey too.
STATE_COLORS = ((1.0, 1.0, 1.0, 0.0), *map(to_rgba, (drawing.YELLOW, drawing.ORANGE, drawing.BLUE)))


def accuracy(runs: Sequence[ReportedRun]) -> Chart | None:
    """Dev accuracy over the iterations, a line a run, with what it is measured against."""
    if not any(run.measured for run in runs):
        return None
    figure = Figure(figsize=(9, 5.2))
    axes = figure.add_subplot()
    tops = []
    for index, run in enumerate(runs):
        entries = [dev for _, dev in run.measured]
        aside = (index - (len(runs) - 1) / 2) * 0.08  # so that bars do not hide each other
        x = [number + aside for number, _ in run.measured]
        tops += _line(axes, x, entries, drawing.name(run.label), drawing.look(index))
    last = max((number for run in runs for number, _ in run.measured), default=0)
    for index, (text, entry) in enumerate(_against(runs)):
        tops += _level(axes, last + 0.3 + 0.15 * index, entry, text, index)
    drawing.iterations(axes, "iteration (0 is the base)")
    axes.set_ylabel("dev accuracy, %")
    axes.set_ylim(0, min(102, 1.08 * max([10.0, *tops])))
    drawing.legend_below(figure, axes)
    rows = [
        (label(run.label), str(number), measured(dev), whole(dev.n))
        for run in runs
        for number, dev in run.measured
    ]
    rows += [(label(text), "", measured(entry), whole(entry.n)) for text, entry in _against(runs)]
    heads = ("model", "iteration", "dev accuracy [95%]", "n")
    return Chart(
        name="accuracy",
        title="Accuracy on dev",
        caption="Answers that are right on the held-out dev problems, after each iteration, with "
        "Wilson's 95% intervals; dashed: what it is measured against.",
        figure=figure,
        table=Table("Accuracy on dev by iteration", heads, tuple(rows)),
    )


def _line(
    axes: Axes, x: list[float], entries: Sequence[ClassCounts | Measured], text: str, looks: Any
) -> list[float]:
    """Draw accuracies in per cent, and return the ends of their intervals."""
    y = [100 * entry.correct / entry.n if entry.n else 0.0 for entry in entries]
    ends = [wilson(entry.correct, entry.n) for entry in entries]
    low, high = ([100 * end[i] for end in ends] for i in (0, 1))
    drawing.with_intervals(axes, x, y, low, high, text, looks)
    return high


def _level(axes: Axes, x: float, entry: Measured, text: str, index: int) -> list[float]:
    """Draw an accuracy across the picture, with its interval at the right, and return its ends."""
    looks = drawing.look(index + 3)
    y = 100 * entry.correct / entry.n
    low, high = (100 * end for end in wilson(entry.correct, entry.n))
    dashes = (0, (2 + 2 * (index % 3), 2))
    named = drawing.name(f"{text}: {measured(entry)}", 80)
    axes.axhline(y, color=looks["color"], linestyle=dashes, linewidth=1.2, label=named)
    axes.errorbar([x], [y], yerr=[[y - low], [high - y]], fmt=looks["marker"], markersize=4,
                  color=looks["color"], elinewidth=1, capsize=2)  # fmt: skip
    return [high]


def _against(runs: Sequence[ReportedRun]) -> list[tuple[str, Measured]]:
    """The baselines of the runs; one that is the same for all is named once."""
    found: dict[tuple[str, int, int], list[str]] = {}
    entries: dict[tuple[str, int, int], Measured] = {}
    for run in runs:
        for one in run.baselines:
            if one.eval.n:
                key = (one.name, one.eval.n, one.eval.correct)
                found.setdefault(key, []).append(run.label)
                entries[key] = one.eval
    names = [key[0] for key in found]
    return [
        (key[0] if names.count(key[0]) == 1 else f"{key[0]}, {' and '.join(of)}", entries[key])
        for key, of in found.items()
    ]


def classes(runs: Sequence[ReportedRun]) -> Chart | None:
    """Dev accuracy by class, a panel a run: the paper's figure of the sums."""
    drawn = [run for run in runs if any(_names([run]))]
    names = _names(drawn)
    if not names:
        return None
    shown = sorted(sorted(names, key=lambda k: -_size(drawn, k))[:CLASSES], key=class_order)
    figure, panels = drawing.panels(drawn)
    for axes, run in zip(panels, drawn, strict=True):
        for index, group in enumerate(shown):
            points = [
                (number, dev.by_class[group])
                for number, dev in run.measured
                if group in dev.by_class and dev.by_class[group].n
            ]
            aside = (index - (len(shown) - 1) / 2) * 0.06  # so that bars do not hide each other
            x = [number + aside for number, _ in points]
            looks = drawing.look(index)
            _line(axes, x, [entry for _, entry in points], drawing.name(group, 30), looks)
        axes.set_ylim(0, 102)
        drawing.iterations(axes)
        axes.set_ylabel("dev accuracy, %")
    what = next((dev.classes for run in drawn for _, dev in run.measured if dev.classes), "")
    drawing.legend_below(figure, panels[0], drawing.name(what or "class"), _columns(shown))
    rest = len(names) - len(shown)
    some = f" The {len(shown)} largest classes are drawn; the table has all." if rest else ""
    return Chart(
        name="classes",
        title=f"Accuracy by {label(what) or 'class'}",
        caption="Dev accuracy of each class over the iterations, with Wilson's 95% intervals."
        + some,
        figure=figure,
        table=_class_table(drawn, names),
    )


def _columns(names: Sequence[str]) -> int:
    """The number of names that fit side by side in a legend."""
    return max(1, min(len(names), 80 // (max(map(len, names)) + 8)))


def _class_table(runs: Sequence[ReportedRun], names: Sequence[str]) -> Table:
    rows = []
    for run in runs:
        for number, dev in run.measured:
            groups = dev.by_class
            cells = [
                f"{share(groups[k].correct, groups[k].n)} of {groups[k].n}" if k in groups else ""
                for k in names
            ]
            rows.append((label(run.label), str(number), *cells))
    heads = ("run", "iteration", *(label(k) for k in names))
    return Table("Accuracy on dev by class and iteration", heads, tuple(rows))


def _names(runs: Sequence[ReportedRun]) -> list[str]:
    """The classes there are; none where there is only the one without a name."""
    names = {k for run in runs for _, dev in run.measured for k in dev.by_class}
    return sorted(names - {""}, key=class_order)


def _size(runs: Sequence[ReportedRun], group: str) -> int:
    counts = [dev.by_class.get(group) for run in runs for _, dev in run.measured]
    sizes = [found.n for found in counts if found]
    return max(sizes, default=0)


def yields(runs: Sequence[ReportedRun]) -> Chart | None:
    """What became of the problems of each iteration, and what was kept."""
    drawn = [run for run in runs if run.grid is not None and run.iterations]
    if not drawn:
        return None
    figure, panels = drawing.rows(drawn)
    for (left, right), run in zip(panels, drawn, strict=True):
        lines = run.iterations
        x = [line.iteration for line in lines]
        direct = [line.solved or 0 for line in lines]
        hinted = [line.rationalized or 0 for line in lines]
        total = [line.problems or 0 for line in lines]
        rest = [max(0, n - a - b) for n, a, b in zip(total, direct, hinted, strict=True)]
        bottom = np.zeros(len(x))
        for values, text, color, hatch in (
            (direct, "solved directly", drawing.BLUE, ""),
            (hinted, "by hint", drawing.ORANGE, "///"),
            (rest, "not solved", drawing.GREY, "\\" * 3),
        ):
            left.bar(x, values, bottom=bottom, color=color, hatch=hatch, label=text, width=0.75)
            bottom += np.array(values)
        kept = [line.examples or 0 for line in lines]
        left.plot(x, kept, "D--", color=drawing.INK, label="kept to train on", linewidth=1)
        drawing.iterations(left)
        drawing.counts(left, "problems")
        _changes(right, run)
        for axes in (left, right):
            drawing.legend_under(axes)
    keys = ("problems", "solved", "rationalized", "examples", "newly_solved", "forgotten")
    rows = [
        (label(run.label), str(line.iteration), *(whole(getattr(line, key)) for key in keys))
        for run in drawn
        for line in run.iterations
    ]
    heads = ("run", "iteration", "problems", "solved directly", "by hint", "kept", "newly solved")
    return Chart(
        name="yields",
        title="Yields",
        caption="What became of the problems that each iteration drew, and how many examples were "
        "kept to train on. Newly solved and forgotten: against the last earlier attempt at the "
        "same problem.",
        figure=figure,
        table=Table("Yields by iteration", (*heads, "forgotten"), tuple(rows)),
    )


def _changes(axes: Axes, run: ReportedRun) -> None:
    """How many problems were newly solved and forgotten."""
    x = [line.iteration for line in run.iterations]
    new = [line.newly_solved or 0 for line in run.iterations]
    lost = [line.forgotten or 0 for line in run.iterations]
    if not any(new + lost):
        drawing.nothing(axes, "no problem that was drawn again\nwas newly solved or forgotten")
        return
    axes.plot(x, new, label="newly solved", **drawing.look(2))
    axes.plot(x, lost, label="forgotten", **drawing.look(1))
    drawing.iterations(axes)
    drawing.counts(axes, "problems")


def ledger(runs: Sequence[ReportedRun]) -> Chart | None:
    """Every problem over the iterations, sorted by when it was first solved."""
    drawn = [(run, run.grid) for run in runs if run.grid is not None and run.grid.states.size]
    if not drawn:
        return None
    figure, panels = drawing.panels([run for run, _ in drawn], 4.6, share=False)
    for axes, (_, grid) in zip(panels, drawn, strict=True):
        _heat(axes, grid)
    handles = [
        Patch(facecolor=color, edgecolor=drawing.INK, linewidth=0.5, label=text)
        for color, text in zip(STATE_COLORS, STATES, strict=True)
    ]
    figure.legend(handles=handles[::-1], loc="outside lower center", ncols=4)
    rows = tuple(row for run, grid in drawn for row in _state_rows(run, grid))
    totals = "; ".join(_totals(run, grid, len(drawn) > 1) for run, grid in drawn)
    most = max(len(grid.states) for _, grid in drawn)
    every = f" One in {-(-most // ROWS)} problems is drawn." if most > ROWS else ""
    return Chart(
        name="ledger",
        title="Ledger",
        caption="Every problem (a line) over the iterations (the columns), sorted by when it was "
        f"first solved.{every} {totals}.",
        figure=figure,
        table=Table("States of the problems by iteration", ("run", "iteration", *STATES), rows),
    )


def _heat(axes: Axes, grid: Grid) -> None:
    states = grid.states[:: -(-len(grid.states) // ROWS)]
    numbers = grid.iterations
    axes.imshow(
        states,
        aspect="auto",
        interpolation="nearest",
        cmap=ListedColormap(STATE_COLORS),
        vmin=0,
        vmax=len(STATES) - 1,
        extent=(numbers[0] - 0.5, numbers[-1] + 0.5, len(grid.states), 0),
    )
    axes.grid(visible=False)
    drawing.iterations(axes)
    axes.set_ylabel("problems, sorted")


def _state_rows(run: ReportedRun, grid: Grid) -> list[tuple[str, ...]]:
    rows = []
    for column, number in enumerate(grid.iterations):
        found = np.bincount(grid.states[:, column], minlength=len(STATES))
        rows.append((label(run.label), str(number), *(whole(int(n)) for n in found)))
    return rows


def _totals(run: ReportedRun, grid: Grid, named: bool) -> str:
    t = grid.totals
    text = (
        f"{t['problems']:,} problems were seen: {t['direct']:,} ever solved directly, "
        f"{t['hinted_only']:,} only ever by hint, {t['never']:,} never"
    )
    return f"{label(run.label)}: {text}" if named else text
