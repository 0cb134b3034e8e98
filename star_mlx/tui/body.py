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
    table, used = _table(metrics, width, room)
    charted = chart.can_chart(metrics)
    wide = min(width, max(width_of(table), width // 2))
    if charted and width - wide - GAP >= BESIDE and room >= chart.LEAST[1]:
        bars = ClassBars(metrics, wide, room - used - 1)
        left: list[RenderableType] = [table]
        left += [Text(), bars.lines()] if bars.height else []
        tall = used + (1 + bars.height if bars.height else 0)
        height = chart.height_in(max(tall, room - SAMPLE, chart.LEAST[1]))
        right = chart.chart(metrics, width - wide - GAP, height)
        return [_side_by_side(left, [right], wide, width)], max(tall, height)
    return _stacked(metrics, table, used, width, room)


def _table(metrics: Sequence[Metrics], width: int, room: int) -> tuple[Table, int]:
    """The table of as many iterations as leave room for the classes, and its lines."""
    classes = ClassBars(metrics, width, max(2, room - HEAD - ROWS - 1)).height
    rows = min(len(metrics), max(ROWS, room - HEAD - (classes + 1 if classes else 0)))
    rows = max(1, min(rows, room - HEAD))
    return iteration_table(metrics, width, last=rows), HEAD + rows


def _stacked(metrics: Sequence[Metrics], table: Table, used: int, width: int, room: int) -> Drawn:
    parts: list[RenderableType] = [table]
    left = room - used - 1
    half = (width - GAP) // 2
    charted = chart.can_chart(metrics)
    if charted and left >= chart.LEAST[1] and half >= BESIDE:
        height = chart.height_in(max(left - SAMPLE, chart.LEAST[1]))
        bars = ClassBars(metrics, half, height)
        if bars.height:
            right = chart.chart(metrics, width - half - GAP, height)
            beside = _side_by_side([bars.lines()], [right], half, width)
            return [*parts, Text(), beside], used + 1 + height
    bars = ClassBars(metrics, width, left)
    if bars.height:
        parts += [Text(), bars.lines()]
        used += 1 + bars.height
        left = room - used - 1
    if charted and left >= chart.LEAST[1] and width >= chart.LEAST[0]:
        height = chart.height_in(max(left - SAMPLE, chart.LEAST[1]))
        return [*parts, Text(), chart.chart(metrics, width, height)], used + 1 + height
    sparks = _sparks(metrics)
    if sparks and left >= len(sparks):
        return [*parts, Text(), *sparks], used + 1 + len(sparks)
    return parts, used


def _side_by_side(
    left: list[RenderableType], right: list[RenderableType], wide: int, width: int
) -> Table:
    grid = Table.grid(padding=(0, GAP, 0, 0))
    grid.add_column(width=wide)
    grid.add_column(width=width - wide - GAP)
    grid.add_row(Group(*left), Group(*right))
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
