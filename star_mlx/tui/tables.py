"""Tables of the lines of ``metrics.jsonl``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from star_mlx.formatting import class_order, harmless, interval, percent
from star_mlx.measure.accuracy import ends, wilson
from star_mlx.measure.paired import Paired
from star_mlx.store.metrics import ClassCounts, Measured, Metrics
from star_mlx.tui.colours import BAD, BOLD, GOOD

Heads = Literal["long", "short", "few"]


@dataclass(frozen=True, slots=True)
class Layout:
    """How roomy an iteration table is: how long its headers are (with ``few`` it has only the most
    important columns), blanks beside a column."""

    heads: Heads
    space: int = 0


FORMS = (  # the roomiest first
    Layout("long", 1),
    Layout("long"),
    Layout("short"),
    Layout("few"),
)
COLUMNS = {  # long and short headers
    "problems": ("problems", "prob-\nlems"),
    "solved": ("solved\ndirectly", "solved"),
    "rationalized": ("with\nhint", "with\nhint"),
    "kept": ("kept", "kept"),
    "newly_solved": ("newly\nsolved", "new-\nly"),
    "forgotten": ("for-\ngotten", "for-\ngot"),
    "steps": ("steps", "steps"),
    "loss": ("last\nloss", "loss"),
    "dev": ("dev %\n[95%]", "dev %\n[95%]"),
    "change": ("against\nbest", "vs\nbest"),
}
FEW = ("kept", "dev", "change")


def summary(metrics: Sequence[Metrics], width: int) -> RenderableType:
    """The iteration table, others by class and by kind of new questions, and the comparisons in
    words."""
    said = [Text(line) for line in remarks(metrics)]
    if said:
        said.insert(0, Text())
    parts: list[RenderableType] = [iteration_table(metrics, width)]
    if classes_of(metrics):
        parts += [Text(), class_table(metrics, width)]
    if any(line.augmented for line in metrics):
        parts += [Text(), Text("new questions, kept of asked"), added_table(metrics)]
    return Group(*parts, *said)


def remarks(metrics: Sequence[Metrics]) -> list[str]:
    """In words: the base without examples, the best iteration, the comparisons of the last one."""
    lines = []
    for line in metrics:
        if line.zero_shot:
            lines.append(f"the base without examples (zero-shot): {measured(line.zero_shot)} %")
    if not metrics:
        return lines
    last = metrics[-1]
    name = f"iteration {last.iteration}"
    others = {entry.iteration: entry for entry in (last.compared or {}).values()}
    for number, entry in sorted(others.items()):
        other = f"iteration {number}" if number else "iteration 0 (the base)"
        pair = Paired(**{key: getattr(entry, key) for key in Paired.__dataclass_fields__})
        lines.append(pair.words(name, other))
    if last.best is not None and any(line.dev for line in metrics):
        best = f"iteration {last.best}" if last.best else "the base itself"
        lines.append(f"best on dev so far: {best}")
    return lines


def iteration_table(metrics: Sequence[Metrics], width: int, *, last: int | None = None) -> Table:
    """The roomiest table that fits in ``width``, of the ``last`` iterations or of all."""
    for form in FORMS:
        table = summary_table(metrics, form, last=last)
        if fits(table, width):
            break
    return table


def summary_table(metrics: Sequence[Metrics], form: Layout, *, last: int | None = None) -> Table:
    """One row per iteration, of the ``last`` ones or of all."""
    table = _table(space=form.space)
    table.add_column("iter", justify="right", style="bold")
    names = FEW if form.heads == "few" else tuple(COLUMNS)
    for name in names:
        head = COLUMNS[name][form.heads != "long"]
        table.add_column(head, justify="right", style="bold" if name == "dev" else "")
    if form.heads != "few":
        table.add_column("s", justify="right")
    first = 0 if last is None else max(0, len(metrics) - last)
    for index in range(first, len(metrics)):
        line = metrics[index]
        cells: list[str | Text] = [_cell(name, metrics[:index], line) for name in names]
        if form.heads != "few":
            cells.append(f"{line.total_seconds:.0f}")
        table.add_row(str(line.iteration), *cells)
    return table


def class_table(metrics: Sequence[Metrics], width: int) -> Table:
    """Dev accuracy by class with its 95% interval: classes across, or down if that is too wide."""
    lines = [line for line in metrics if line.dev]
    names = classes_of(lines)
    title = f"dev accuracy by {classes_are(lines)}, % [95% interval]"
    across = _table(title)
    across.add_column("iter", justify="right", style="bold")
    for name in names:
        across.add_column(Text(harmless(name)), justify="right")
    for line in lines:
        cells = [class_cell(line.by_class.get(name), True) for name in names]
        across.add_row(str(line.iteration), *cells)
    if fits(across, width):
        return across
    return _classes_down(lines, names, width, title)


def added_table(metrics: Sequence[Metrics]) -> Table:
    """The new questions of each kind: how many were asked, and how many trained on."""
    lines = [line for line in metrics if line.augmented]
    names = dict.fromkeys(name for line in lines for name in line.augmented or {})
    table = _table()
    table.add_column("iter", justify="right", style="bold")
    for name in names:
        table.add_column(Text(harmless(name)), justify="right")
    for line in lines:
        found = [(line.augmented or {}).get(name) for name in names]
        cells = [f"{one.kept} of {one.asked}" if one else "" for one in found]
        table.add_row(str(line.iteration), *cells)
    return table


def classes_are(lines: Sequence[Metrics]) -> str:
    """The meaning of the classes, such as "number of digits"."""
    named = [line.dev.classes for line in lines if line.dev and line.dev.classes]
    return harmless(named[-1]) if named else "class"


def _classes_down(lines: Sequence[Metrics], names: Sequence[str], width: int, title: str) -> Table:
    """One row per class, for the latest iterations that fit."""
    longest = max((len(harmless(name)) for name in names), default=5)
    room = max(1, (width - min(longest, width // 2) - 2) // 13)
    down = _table(title)
    down.add_column("class", overflow="fold")
    for line in lines[-room:]:
        down.add_column(f"iter {line.iteration}", justify="right", no_wrap=True)
    for name in names:
        cells = [class_cell(line.by_class.get(name), True) for line in lines[-room:]]
        down.add_row(Text(harmless(name)), *cells)
    return down


def classes_of(metrics: Sequence[Metrics]) -> list[str]:
    """The classes that were measured, in their order; none if there is only one without a name."""
    names = {name for line in metrics for name in line.by_class}
    return [] if names == {""} else sorted(names, key=class_order)


def class_cell(entry: ClassCounts | None, with_ends: bool) -> str:
    """``"98 [93-99]"``, or ``"98"`` without the interval."""
    return _share(entry.correct, entry.n, with_ends) if entry and entry.n else ""


@cache
def _share(correct: int, n: int, with_ends: bool) -> str:
    share = percent(correct / n)
    return f"{share} [{interval(wilson(correct, n))}]" if with_ends else share


def measured(entry: Measured | None) -> str:
    """``"46.2 [42-51]"``; empty if there is nothing."""
    return f"{percent(entry.accuracy, 1)} [{interval(ends(entry))}]" if entry else ""


def change(before: Sequence[Metrics], line: Metrics) -> str:
    """Dev accuracy minus the best of the iterations before, in points: ``"+3.2"``; empty if there
    is nothing to compare."""
    earlier = [other.dev.accuracy for other in before if other.dev]
    if line.dev is None or not earlier:
        return ""
    points = round(100 * (line.dev.accuracy - max(earlier)), 1)
    return f"{points:+.1f}" if points else "0.0"


def loss(line: Metrics) -> str:
    """The loss over the last tenth of the steps, in nats per token; empty if there were none."""
    value = line.train.last_loss if line.train else None
    return "" if value is None else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def fits(table: Table, width: int) -> bool:
    """Whether a table of plain cells fits in ``width``."""
    return width_of(table) <= width


def width_of(table: Table) -> int:
    """The columns that a table of plain cells takes.

    The same as ``Console.measure``, but about twenty times as fast: it is called at every drawing.
    """
    lines = ([str(column.header), *map(str, column.cells)] for column in table.columns)
    widths = (max(cell_len(line) for cell in cells for line in cell.split("\n")) for cells in lines)
    least = (column.min_width or 0 for column in table.columns)
    between = (table.padding[1] + 1) * (len(table.columns) - 1)
    return sum(map(max, widths, least)) + between


def _cell(name: str, before: Sequence[Metrics], line: Metrics) -> str | Text:
    if name == "loss":
        return loss(line)
    if name == "dev":
        return measured(line.dev)
    if name == "change":
        points = change(before, line)
        return Text(points, style={"+": GOOD + BOLD, "-": BAD}.get(points[:1], ""))
    value = getattr(line, {"kept": "examples"}.get(name, name))
    return "" if value is None else str(value)


def _table(title: str | None = None, space: int = 1) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, space, 0, 0),
    )
