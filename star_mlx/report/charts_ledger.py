"""The chart of the ledger: the history of every problem."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.patches import Patch

from star_mlx.report import drawing
from star_mlx.report.gather import Grid, ReportedRun
from star_mlx.report.parts import Chart, Table, label, whole

ROWS = 1000  # maximum number of problems drawn, one per line
STATES = ("not attempted", "not solved", "solved with hint", "solved without hint")
# From dark to light, so that the order is seen in grey too.
STATE_COLORS = ((1.0, 1.0, 1.0, 0.0), *map(to_rgba, (drawing.YELLOW, drawing.ORANGE, drawing.BLUE)))


def ledger(runs: Sequence[ReportedRun], *, wide: bool = True) -> Chart | None:
    """Every problem over the iterations, sorted by when it was first solved; None if hardly any was
    attempted more than once."""
    drawn = [(run, run.grid) for run in runs if run.grid is not None and run.grid.recurs]
    if not drawn:
        return None
    figure, panels = drawing.panels([run for run, _ in drawn], 4.6, share=False, wide=wide)
    for axes, (_, grid) in zip(panels, drawn, strict=True):
        _heat(axes, grid)
    handles = [
        Patch(facecolor=color, edgecolor=drawing.INK, linewidth=0.5, label=text)
        for color, text in zip(STATE_COLORS, STATES, strict=True)
    ]
    figure.legend(handles=handles[::-1], loc="outside lower center", ncols=4 if wide else 2)
    rows = tuple(row for run, grid in drawn for row in _state_rows(run, grid))
    totals = "; ".join(_totals(run, grid, len(drawn) > 1) for run, grid in drawn)
    most = max(len(grid.states) for _, grid in drawn)
    every = f" One in {-(-most // ROWS)} problems is drawn." if most > ROWS else ""
    return Chart(
        name="ledger",
        title="Ledger",
        caption="Each line is a problem and each column an iteration; problems are sorted by when "
        f"they were first solved.{every} {totals}.",
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
        f"of {t['problems']:,} problems, {t['direct']:,} were solved without hint at least once, "
        f"{t['hinted_only']:,} only with hint, and {t['never']:,} never"
    )
    return f"{label(run.label)}: {text}" if named else text
