"""Shared parts of the charts: style, panels, intervals, and writing them as files.

Figures are made without pyplot, so there is no global figure and no window.
"""

from __future__ import annotations

import io
import math
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from star_mlx.report.gather import ReportedRun
from star_mlx.report.parts import label

WIDE, NARROW = 9.0, 4.6  # inches; on a phone the narrow pictures are about as wide as the screen
INK = "#1b1f24"  # of text and axes; in the page it becomes the colour of the surrounding text
GREY = "#9a9a9a"

# The palette of Okabe and Ito (2008), which can be told apart with any colour vision.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, YELLOW = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#f0e442",
)
COLORS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (5, 2, 1, 2)), (0, (2, 1)), (0, (8, 3)))

STYLE: Mapping[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.color": INK,
    "hatch.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "axes.axisbelow": True,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "#ffffff",
    "legend.frameon": False,
    "lines.markersize": 5,
    "lines.linewidth": 1.6,
    "text.parse_math": False,  # a name with dollar signs is not a formula
    "svg.fonttype": "path",
    "svg.hashsalt": "star-mlx",
}


@contextmanager
def style() -> Iterator[None]:
    """The style of the charts, independent of the user's own matplotlib settings.

    Letters that the font lacks are drawn as boxes; the table of the chart has the name.
    """
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def svg(figure: Figure) -> bytes:
    """A figure as SVG, the same for the same figure."""
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def png(figure: Figure) -> bytes:
    """A figure as PNG, 150 dots per inch."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=150)
    return out.getvalue()


def name(text: str, longest: int = 60) -> str:
    """A foreign text for a legend: one line, without characters that XML does not allow."""
    shown = "".join("�" if unicodedata.category(c) == "Cn" else c for c in label(text, longest))
    return f" {shown}" if shown.startswith("_") else shown  # matplotlib hides names with one


def look(index: int) -> dict[str, Any]:
    """Colour, marker and line of the index-th series: never the colour alone."""
    return {
        "color": COLORS[index % len(COLORS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[index % len(LINES)],
    }


def panels(
    runs: Sequence[ReportedRun], height: float = 3.4, *, share: bool = True, wide: bool = True
) -> tuple[Figure, list[Axes]]:
    """One panel per run, named if there are several: two side by side, or one below the other if
    not ``wide``; ``share``: one scale."""
    columns = min(2, len(runs)) if wide else 1
    rows = -(-len(runs) // columns)
    figure = Figure(figsize=(WIDE if wide else NARROW, height * rows + 0.6))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share)
    flat = [axes for row in grid for axes in row]
    for axes in flat[len(runs) :]:
        axes.set_visible(False)
    for axes in flat:
        axes.tick_params(labelbottom=True, labelleft=True)
    return figure, titled(flat[: len(runs)], runs)


def rows(
    runs: Sequence[ReportedRun],
    widths: tuple[float, float] = (3, 2),
    height: float = 3.2,
    *,
    wide: bool = True,
) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """Two panels per run, side by side, or one below the other if not ``wide``; named if there are
    several runs."""
    if wide:
        figure = Figure(figsize=(WIDE, height * len(runs) + 0.4))
        grid = figure.subplots(len(runs), 2, squeeze=False, width_ratios=widths)
        pairs = [(row[0], row[1]) for row in grid]
    else:
        figure = Figure(figsize=(NARROW, 2 * height * len(runs) + 0.4))
        column = [row[0] for row in figure.subplots(2 * len(runs), 1, squeeze=False)]
        pairs = list(zip(column[0::2], column[1::2], strict=True))
    titled([first for first, _ in pairs], runs)
    return figure, pairs


def titled(axes: list[Axes], runs: Sequence[ReportedRun]) -> list[Axes]:
    """The axes, each with its run's name, where there are several runs."""
    for one, run in zip(axes, runs, strict=True):
        if len(runs) > 1:
            one.set_title(name(run.label))
    return axes


def iterations(axes: Axes, text: str = "iteration") -> None:
    """An axis of whole numbers."""
    axes.set_xlabel(text)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))


def counts(axes: Axes, text: str) -> None:
    """An axis of counts, from 0."""
    axes.set_ylabel(text)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    from_zero([axes], least=1.0)


def from_zero(panels: Sequence[Axes], least: float = 0.0) -> None:
    """One scale for all panels, from 0 to a little above the highest value in any of them."""
    tops = [float(axes.dataLim.y1) for axes in panels]
    top = max([least, *filter(math.isfinite, tops)])
    for axes in panels:
        axes.set_ylim(0, 1.06 * top or 1)


def with_intervals(
    axes: Axes,
    x: Sequence[float],
    y: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    label: str,
    looks: Mapping[str, Any],
) -> None:
    """A line with its intervals: as bars, or as a band if there are many points."""
    axes.plot(x, y, label=label, **looks)
    if len(x) > 15:
        axes.fill_between(x, low, high, color=looks["color"], alpha=0.15, linewidth=0)
        return
    axes.errorbar(
        x, y, yerr=bars(y, low, high), fmt="none", ecolor=looks["color"], elinewidth=1, capsize=2,
        alpha=0.8,
    )  # fmt: skip


def bars(
    y: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> tuple[list[float], list[float]]:
    """The lengths of error bars below and above ``y``.

    Never negative, which matplotlib refuses: at 0% and 100% the ends of an interval are the value
    itself, but the two may differ in their last digit.
    """
    below = [max(0.0, a - b) for a, b in zip(y, low, strict=True)]
    return below, [max(0.0, b - a) for a, b in zip(y, high, strict=True)]


def legend_below(figure: Figure, axes: Axes, title: str | None = None, columns: int = 2) -> None:
    """One legend for the whole figure, below it, so that it hides nothing."""
    handles, names = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside lower center", ncols=columns, title=title)


def legend_under(axes: Axes) -> None:
    """A legend of two columns under the axes."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)


def nothing(axes: Axes, text: str) -> None:
    """Write in an empty panel why it is empty."""
    axes.text(0.5, 0.5, text, ha="center", va="center", wrap=True, transform=axes.transAxes)
    axes.set_axis_off()
