"""The finished iterations on the live screen: the table, accuracy by class, and a chart."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from star_mlx.store.metrics import Metrics
from star_mlx.tui import chart
from star_mlx.tui.class_bars import ClassBars
from star_mlx.tui.spark import Spark
from star_mlx.tui.tables import iteration_table, width_of

HEAD = 3  # lines of a table above its first row
ROWS = 3  # iterations that are shown before the classes get room
BESIDE = 44  # columns that a chart needs beside something
GAP = 3  # blanks between
SAMPLE = 6  # lines left to the shown attempt, beyond the least, before a chart grows

Drawn = tuple[list[RenderableType], int]  # and the number of lines


def drawn(metrics: Sequence[Metrics], width: int, room: int) -> Drawn:
    """The latest iterations in ``room`` lines, and the lines they take.

    The table comes first, then the classes, then the chart: beside both if the screen is wide,
    else beside the classes or below them. Two rows of small bars stand for a chart without room.
    """
    if not metrics:
        return [Text("no iteration is finished yet")], 1
    wide = max(width_of(iteration_table(metrics, width)), width // 2)
    charted = chart.can_chart(metrics) and room >= chart.LEAST[1]
    if charted and width - wide - GAP >= BESIDE:
        return _beside(metrics, wide, width, room)
    return _stacked(metrics, width, room)


def _table(metrics: Sequence[Metrics], width: int, room: int, chart_lines: int) -> Drawn:
    """The table of as many iterations as leave room for the classes and the lines of a chart."""
    classes = ClassBars(metrics, width, max(2, room - HEAD - ROWS - 1)).height
    below = max(classes, chart_lines)
    rows = min(len(metrics), max(ROWS, room - HEAD - (1 + below if below else 0)))
    rows = max(1, min(rows, room - HEAD))
    return [iteration_table(metrics, width, last=rows)], HEAD + rows


def _beside(metrics: Sequence[Metrics], wide: int, width: int, room: int) -> Drawn:
    """The table and the classes, with the chart at their right."""
    parts, used = _table(metrics, wide, room, 0)
    bars = ClassBars(metrics, wide, room - used - 1)
    if bars.height:
        parts += [Text(), bars.lines()]
        used += 1 + bars.height
    height = chart.height_in(max(used, room - SAMPLE, chart.LEAST[1]))
    right = chart.chart(metrics, width - wide - GAP, height)
    return [_side_by_side(parts, right, wide, width)], max(used, height)


def _stacked(metrics: Sequence[Metrics], width: int, room: int) -> Drawn:
    """The table, and below it the classes and the chart, side by side if both are wide enough."""
    half, least = (width - GAP) // 2, chart.LEAST[1]
    charted = chart.can_chart(metrics)
    reserved = least if charted and half >= BESIDE and room > HEAD + ROWS + least else 0
    parts, used = _table(metrics, width, room, reserved)
    left = room - used - 1
    bars = ClassBars(metrics, half, least)
    if reserved and bars.height:
        height = chart.height_in(max(left - SAMPLE, least))
        bars = ClassBars(metrics, half, height)
        right = chart.chart(metrics, width - half - GAP, height)
        return [
            *parts,
            Text(),
            _side_by_side([bars.lines()], right, half, width),
        ], used + 1 + height
    bars = ClassBars(metrics, width, left)
    if bars.height:
        parts += [Text(), bars.lines()]
        used += 1 + bars.height
        left = room - used - 1
    if charted and left >= least and width >= chart.LEAST[0]:
        height = chart.height_in(max(left - SAMPLE, least))
        return [*parts, Text(), chart.chart(metrics, width, height)], used + 1 + height
    sparks = _sparks(metrics)
    if sparks and left >= len(sparks):
        return [*parts, Text(), *sparks], used + 1 + len(sparks)
    return parts, used


def _side_by_side(
    left: list[RenderableType], right: RenderableType, wide: int, width: int
) -> Table:
    grid = Table.grid(padding=(0, GAP, 0, 0))
    grid.add_column(width=wide)
    grid.add_column(width=width - wide - GAP)
    grid.add_row(Group(*left), right)
    return grid


def _sparks(metrics: Sequence[Metrics]) -> list[RenderableType]:
    """The yield and the dev accuracy over the iterations, one character each, if there are at least
    two."""
    scores = [line.dev.accuracy if line.dev else None for line in metrics]
    lines = [
        ("yield  ", chart.shares_kept(metrics), "kept of problems", 0),
        ("dev    ", scores, "", 1),
    ]
    return [
        Spark(name, values, of, digits)
        for name, values, of, digits in lines
        if sum(value is not None for value in values) > 1
    ]
