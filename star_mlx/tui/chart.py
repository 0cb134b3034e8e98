"""A chart over the iterations: dev accuracy with its interval, and the yield."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from rich.text import Text

from star_mlx.store.metrics import Metrics
from star_mlx.tui.colours import BOLD, GOOD, MORE, REST
from star_mlx.tui.lines import Lines

HEIGHTS = (16, 12, 8)  # lines; in these the labels of the axis are evenly spaced
LEAST = 24, HEIGHTS[-1]  # columns and lines
AXIS = 5  # columns of its labels and line
MARKS = {False: ("●", "○", "│", "┤", "└", "─"), True: ("o", "+", "|", "|", "+", "-")}
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille character, by row


def shares_kept(metrics: Sequence[Metrics]) -> list[float | None]:
    """The training examples of each iteration per problem."""
    found: list[float | None] = []
    for line in metrics:
        problems, size = line.problems, line.examples
        found.append(size / problems if problems and size is not None else None)
    return found


def height_in(room: int) -> int:
    """The lines of the tallest chart that fits in a room of at least ``LEAST``."""
    return next(height for height in HEIGHTS if height <= room)


def can_chart(metrics: Sequence[Metrics]) -> bool:
    """Whether there are two points to connect."""
    return sum(line.dev is not None for line in metrics) > 1


def chart(metrics: Sequence[Metrics], width: int, height: int) -> Lines:
    """The chart in ``width`` columns and ``height`` lines."""
    drawn = _Chart(metrics, width - AXIS, height - 3)
    return Lines(drawn.lines, height)


class _Chart:
    """The plotted area is ``width`` by ``height`` characters of 2 by 4 dots each."""

    def __init__(self, metrics: Sequence[Metrics], width: int, height: int) -> None:
        self._width, self._height = width, height
        self._metrics = metrics[-max(1, width // 2) :]
        self._dots: dict[tuple[int, int], int] = {}
        self._styles: dict[tuple[int, int], str] = {}
        self._marks: dict[tuple[int, int], tuple[int, str]] = {}  # which of ``MARKS``, its style

    def lines(self, ascii_only: bool) -> Iterator[Text]:
        self._plot(lined=not ascii_only)
        marks = MARKS[ascii_only]
        yield self._legend(marks)
        for row in range(self._height):
            value = self._label(row)
            axis = f"{value:>3} {marks[3]}" if value else f"    {marks[2]}"
            yield Text.assemble(
                (axis, REST), *(self._cell(n, row, marks) for n in range(self._width))
            )
        yield Text.assemble((f"    {marks[4]}{marks[5] * self._width}", REST))
        yield Text.assemble((self._numbers(), REST))

    def _legend(self, marks: Sequence[str]) -> Text:
        forms = (" dev accuracy, %", " 95% interval", " kept per 100 problems"), (
            " dev %", " 95%", " kept %",
        )  # fmt: skip
        styles = (marks[0], GOOD + BOLD), (marks[2], GOOD), (marks[1], MORE + BOLD)
        for form in forms:
            parts = zip(styles, form, strict=True)
            legend = Text("  ").join(Text.assemble(sign, words) for sign, words in parts)
            if legend.cell_len <= self._width + AXIS:
                break
        return legend

    def _plot(self, lined: bool) -> None:
        self._dots, self._styles, self._marks = {}, {}, {}
        kept = [(x, y) for x, y in enumerate(shares_kept(self._metrics)) if y is not None]
        dev = [(x, line.dev) for x, line in enumerate(self._metrics) if line.dev]
        if lined:
            self._line([(self._x(x), self._y(found.accuracy)) for x, found in dev], GOOD, 1)
            self._line([(self._x(x), self._y(share)) for x, share in kept], MORE, 3)
        for x, found in dev:
            at = self._x(x)
            top, bottom = (self._y(end) for end in reversed(found.ci95))
            for row in range(top // 4, bottom // 4 + 1):
                self._marks.setdefault((at // 2, row), (2, GOOD))
        for x, found in dev:
            self._marks[self._x(x) // 2, self._y(found.accuracy) // 4] = 0, GOOD + BOLD
        for x, share in kept:  # beside the accuracy if they are in one row
            column, row = self._x(x) // 2, self._y(share) // 4
            column += self._marks.get((column, row), (1, ""))[0] == 0
            self._marks[column, row] = 1, MORE + BOLD

    def _line(self, points: Sequence[tuple[int, int]], style: str, every: int) -> None:
        """Connect points by dots, ``every`` so many of them."""
        for (x0, y0), (x1, y1) in pairwise(points):
            steps = max(abs(x1 - x0), abs(y1 - y0), 1)
            for n in range(0, steps + 1, every):
                x, y = round(x0 + (x1 - x0) * n / steps), round(y0 + (y1 - y0) * n / steps)
                cell = x // 2, y // 4
                self._dots[cell] = self._dots.get(cell, 0) | DOTS[y % 4][x % 2]
                self._styles.setdefault(cell, style)

    def _cell(self, x: int, row: int, marks: Sequence[str]) -> tuple[str, str]:
        if mark := self._marks.get((x, row)):
            return marks[mark[0]], mark[1]
        if dots := self._dots.get((x, row)):
            return chr(0x2800 + dots), self._styles[x, row]
        return " ", ""

    def _x(self, index: int) -> int:
        """The column of dots of an iteration."""
        cells = self._width - 4
        return 2 * (2 + round(index * cells / max(1, len(self._metrics) - 1)))

    def _y(self, share: float) -> int:
        """The row of dots of a share, from the top; shares above 1 are at the top."""
        return round((1 - min(1.0, max(0.0, share))) * (4 * self._height - 1))

    def _label(self, row: int) -> str:
        """The share at a row, in per cent, if it has a label."""
        labels = {self._y(share / 100) // 4: str(share) for share in (0, 25, 50, 75, 100)}
        return labels.get(row, "")

    def _numbers(self) -> str:
        """The numbers of the iterations below their columns, as many as fit."""
        text = " " * (AXIS + self._width)
        used = -2
        for index, line in enumerate(self._metrics):
            number = str(line.iteration)
            at = AXIS + self._x(index) // 2
            start = at - (len(number) - 1) // 2
            if start > used + 1:
                text = text[:start] + number + text[start + len(number) :]
                used = start + len(number)
        return "iter" + text[4:].rstrip()
