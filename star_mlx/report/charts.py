"""The charts of what was learned: accuracy, by class too; yields; the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from star_mlx.formatting import class_order
from star_mlx.measure.accuracy import wilson
from star_mlx.report import drawing
from star_mlx.report.gather import ReportedRun
from star_mlx.report.parts import Chart, Table, label, measured, share, whole
from star_mlx.store.metrics import ClassCounts, Measured

CLASSES = 8  # maximum number of lines in a panel


def accuracy(runs: Sequence[ReportedRun], *, wide: bool = True) -> Chart | None:
    """Dev accuracy over the iterations, a line a run, with what it is measured against."""
    if not any(run.measured for run in runs):
        return None
    figure = Figure(figsize=(drawing.WIDE, 5.2) if wide else (drawing.NARROW, 4.4))
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
    drawing.legend_below(figure, axes, columns=2 if wide else 1)
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
        caption="Share of the held-out dev problems that are answered right after each iteration, "
        "with 95% intervals (Wilson). Dashed lines are baselines.",
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
    axes.errorbar([x], [y], yerr=drawing.bars([y], [low], [high]), fmt=looks["marker"],
                  markersize=4, color=looks["color"], elinewidth=1, capsize=2)  # fmt: skip
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


def classes(runs: Sequence[ReportedRun], *, wide: bool = True) -> Chart | None:
    """Dev accuracy by class, a panel a run: the paper's figure of the sums."""
    drawn = [run for run in runs if any(_names([run]))]
    names = _names(drawn)
    if not names:
        return None
    shown = sorted(sorted(names, key=lambda k: -_size(drawn, k))[:CLASSES], key=class_order)
    figure, panels = drawing.panels(drawn, wide=wide)
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
    drawing.legend_below(figure, panels[0], drawing.name(what or "class"), _columns(shown, wide))
    rest = len(names) - len(shown)
    some = f" The {len(shown)} largest classes are drawn; the table has all." if rest else ""
    return Chart(
        name="classes",
        title=f"Accuracy by {label(what) or 'class'}",
        caption="Dev accuracy of each class after each iteration, with 95% intervals (Wilson)."
        + some,
        figure=figure,
        table=_class_table(drawn, names),
    )


def _columns(names: Sequence[str], wide: bool) -> int:
    """The number of names that fit side by side in a legend."""
    return max(1, min(len(names), (80 if wide else 40) // (max(map(len, names)) + 8)))


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


def yields(runs: Sequence[ReportedRun], *, wide: bool = True) -> Chart | None:
    """What became of the problems of each iteration, and what was kept."""
    drawn = [run for run in runs if run.grid is not None and run.iterations]
    if not drawn:
        return None
    figure, panels = drawing.rows(drawn, wide=wide)
    for (left, right), run in zip(panels, drawn, strict=True):
        lines = run.iterations
        x = [line.iteration for line in lines]
        direct = [line.solved or 0 for line in lines]
        hinted = [line.rationalized or 0 for line in lines]
        total = [line.problems or 0 for line in lines]
        rest = [max(0, n - a - b) for n, a, b in zip(total, direct, hinted, strict=True)]
        bottom = np.zeros(len(x))
        for values, text, color, hatch in (
            (direct, "solved without hint", drawing.BLUE, ""),
            (hinted, "solved with hint", drawing.ORANGE, "///"),
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
    heads = ("run", "iteration", "problems", "solved", "with hint", "kept", "newly solved")
    return Chart(
        name="yields",
        title="Yields",
        caption="First panel: the problems of each iteration by outcome, and the number of "
        "examples kept to train on. Second panel: problems that an earlier iteration attempted "
        "too, and that are solved now but were not the last time (newly solved), or the reverse "
        "(forgotten).",
        figure=figure,
        table=Table("Yields by iteration", (*heads, "forgotten"), tuple(rows)),
    )


def _changes(axes: Axes, run: ReportedRun) -> None:
    """How many problems were newly solved and forgotten."""
    x = [line.iteration for line in run.iterations]
    new = [line.newly_solved or 0 for line in run.iterations]
    lost = [line.forgotten or 0 for line in run.iterations]
    if not (run.grid and run.grid.recurs):
        drawing.nothing(axes, "hardly any problem was\nattempted more than once")
        return
    if not any(new + lost):
        drawing.nothing(axes, "no problem was newly\nsolved or forgotten")
        return
    axes.plot(x, new, label="newly solved", **drawing.look(2))
    axes.plot(x, lost, label="forgotten", **drawing.look(1))
    drawing.iterations(axes)
    drawing.counts(axes, "problems")
