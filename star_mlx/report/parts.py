"""The parts of a report: tables, charts, and numbers as words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from star_mlx.formatting import harmless, interval, percent
from star_mlx.measure.accuracy import wilson
from star_mlx.store.metrics import ClassCounts, Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARK = b"<!-- a report of star-mlx -->"  # identifies a page as a report
LONGEST = 2000  # characters of a foreign text that are shown
_NUMBER = re.compile(r"[-+<]?[\d,.]*\d%?( \[.*\].*)?")


@dataclass(frozen=True, slots=True)
class Table:
    """A caption, the heads of the columns, and rows whose first cell is their head."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def numeric(self) -> list[bool]:
        """For each column, whether its cells are numbers or empty."""
        return [
            all(_NUMBER.fullmatch(row[i]) or not row[i] for row in self.rows)
            for i in range(len(self.heads))
        ]


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture, its title and description, and its numbers."""

    name: str  # of its files
    title: str
    caption: str
    figure: Figure
    table: Table


def cut(text: str, longest: int = LONGEST) -> tuple[str, int]:
    """The beginning of a foreign text, made harmless, and the number of characters left out."""
    return harmless(text[:longest]), max(0, len(text) - longest)


def label(text: str, longest: int = 60) -> str:
    """A foreign text as one short line."""
    shown, left_out = cut(text.replace("\n", " "), longest)
    return shown + "…" * bool(left_out)


def share(correct: float, n: int) -> str:
    """``"46.2% [41.9–50.6]"``, with Wilson's 95% interval."""
    if not n:
        return ""
    return f"{percent(correct / n, 1)}% [{interval(wilson(correct, n), 1, '–')}]"


def measured(entry: ClassCounts | Measured | None) -> str:
    """The accuracy of an ``eval`` entry with its interval; empty if there is none."""
    return share(entry.correct, entry.n) if entry else ""


def whole(number: Any) -> str:
    """A count with separated thousands; empty if there is none."""
    return "" if number is None else f"{number:,}"


def decimal(number: Any, digits: int = 3) -> str:
    """A number with ``digits`` digits after the point; empty if there is none."""
    return "" if number is None else f"{number:,.{digits}f}"
