"""Dev accuracy by class as bars with intervals, before and now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from star_mlx.formatting import harmless, percent
from star_mlx.measure.accuracy import wilson
from star_mlx.store.metrics import ClassCounts, Metrics
from star_mlx.tui.colours import BOLD, GOOD, MORE, REST
from star_mlx.tui.lines import Lines
from star_mlx.tui.tables import class_cell, classes_are, classes_of

LEAST, MOST = 8, 40  # columns of a bar
GAP = 3  # blanks between two columns of classes
HEADINGS = (
    ("dev accuracy, %,", "iteration ", " 95%"),
    ("dev %", "iteration ", " 95%"),
    ("dev %", "iter ", " 95%"),
    ("dev %", "iter ", ""),
)
SIGNS = {
    False: tuple("█▓░·┃"),
    True: tuple("#=-.|"),
}  # to the interval, to the accuracy, its rest, empty, before


@dataclass(frozen=True, slots=True)
class ClassRow:
    """A class: its accuracy now and before, which may not have been measured."""

    name: str
    now: ClassCounts
    before: ClassCounts | None


def class_rows(metrics: Sequence[Metrics]) -> tuple[list[ClassRow], Metrics | None, Metrics | None]:
    """The classes as last measured, that line, and the first line if that is another."""
    lines = [line for line in metrics if line.dev]
    names = classes_of(lines[-1:])
    if not names:
        return [], None, None
    now, first = lines[-1], lines[0]
    before = first if first is not now else None
    counts = before.by_class if before else {}
    rows = [ClassRow(harmless(name), now.by_class[name], counts.get(name)) for name in names]
    return rows, now, before


class ClassBars:
    """The bars in ``width`` columns and at most ``room`` lines. ``height`` is the lines they take,
    0 if there are no classes or no room."""

    def __init__(self, metrics: Sequence[Metrics], width: int, room: int) -> None:
        self._rows, self._now, self._before = class_rows(metrics)
        self._width, self._title = width, classes_are([self._now] if self._now else [])
        self.height = 0
        if not self._rows or room < 1:
            return
        self._columns, self._shown = self._columned(room - 1)
        self.height = 1 + -(-len(self._shown) // self._columns) if self._shown else 1

    def lines(self) -> Lines:
        """The bars, or only the shares if there is one line."""
        return Lines(self._drawn if self._shown else self._one_line, self.height)

    def _columned(self, room: int) -> tuple[int, list[ClassRow]]:
        """As few columns as the room needs; if it is too small, the weakest classes."""
        rows = self._rows
        least = self._label() + 1 + LEAST + 1 + max(cell_len(_now(row)) for row in rows)
        most = max(1, (self._width + GAP) // (least + GAP))
        columns = next((n for n in range(1, most) if -(-len(rows) // n) <= room), most)
        if len(rows) > room * columns:
            weak = sorted(rows, key=lambda row: row.now.accuracy)[: room * columns]
            rows = [row for row in rows if row in weak]
        return columns, rows

    def _label(self) -> int:
        longest = max(cell_len(row.name) for row in self._rows)
        return min(longest, max(4, self._width // 4))

    def _drawn(self, ascii_only: bool) -> Iterator[Text]:
        yield self._heading(ascii_only)
        width = (self._width + GAP) // self._columns - GAP
        label, then = self._label(), " -> " if ascii_only else " → "
        numbers = self._numbers(then, width - label - 2 - 2 * LEAST)
        space = max(map(cell_len, numbers))
        bar = min(MOST, width - label - 2 - space)
        height = -(-len(self._shown) // self._columns)
        cells = [
            Text.assemble(
                (set_cell_size(row.name, label), "bold"),
                " ",
                _bar(row, bar, ascii_only),
                f" {number:>{space}}",
            )
            for row, number in zip(self._shown, numbers, strict=True)
        ]
        for n in range(height):
            yield Text(" " * GAP).join(cells[n::height])

    def _numbers(self, then: str, room: int) -> list[str]:
        """``45 [31-60] -> 98 [87-100]``, shorter if that does not fit."""
        forms = (
            [
                _was(row, True) + then + _now(row) if row.before else _now(row)
                for row in self._shown
            ],
            [
                _was(row, False) + then + _now(row) if row.before else _now(row)
                for row in self._shown
            ],
        )
        fitting = (form for form in forms if max(map(cell_len, form)) <= room)
        return next(fitting, [_now(row) for row in self._shown])

    def _heading(self, ascii_only: bool) -> Text:
        """What is shown and by which signs, in the longest form that fits."""
        forms = (self._titled(ascii_only, *words) for words in HEADINGS)
        fitting = (form for form in forms if form.cell_len <= self._width)
        return next(fitting, self._titled(ascii_only, *HEADINGS[-1]))

    def _titled(self, ascii_only: bool, what: str, iteration: str, ends: str) -> Text:
        low, high, rest, _, before = SIGNS[ascii_only]
        title = Text.assemble((f"{what} by {self._title}", "bold"))
        if len(self._shown) < len(self._rows):
            title.append(f", the {len(self._shown)} weakest of {len(self._rows)}")
        title.append("  ").append(f"{low}{high}", GOOD).append(f" {iteration}{_number(self._now)}")
        if ends:
            title.append("  ").append(f"{high}{rest}", REST).append(ends)
        if self._before:
            title.append("  ").append(before, MORE + BOLD)
            title.append(f" {iteration}{_number(self._before)}")
        return title

    def _one_line(self, ascii_only: bool) -> Iterator[Text]:
        cells = "  ".join(f"{row.name}: {percent(row.now.accuracy)}" for row in self._rows)
        yield Text.assemble((f"dev % by {self._title}  ", "bold"), cells)


def _number(line: Metrics | None) -> str:
    return str(line.iteration) if line else ""


def _now(row: ClassRow) -> str:
    return class_cell(row.now, True)


def _was(row: ClassRow, ends: bool) -> str:
    return class_cell(row.before, ends)


def _bar(row: ClassRow, width: int, ascii_only: bool) -> Text:
    """The accuracy, with signs of their own for the two parts of the interval, and a mark at the
    accuracy before."""
    to_low, to_here, to_high, empty, mark = SIGNS[ascii_only]
    here, (low, high) = row.now.accuracy, wilson(row.now.correct, row.now.n)
    before = row.before.accuracy if row.before and row.before.n else None
    at = None if before is None else min(width - 1, round(before * (width - 1)))
    text = Text()
    for n in range(width):
        middle = (n + 0.5) / width
        if n == at:
            text.append(mark, MORE + BOLD)
        elif middle < here:
            text.append(to_low if middle < low else to_here, GOOD)
        else:
            text.append(to_high if middle < high else empty, REST)
    return text
