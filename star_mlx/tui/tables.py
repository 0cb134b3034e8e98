"""Lines of ``metrics.jsonl`` -> tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from star_mlx.formatting import class_order, harmless, interval, percent
from star_mlx.measure.accuracy import wilson
from star_mlx.measure.paired import Paired
from star_mlx.tui.colours import BAD, GOOD

Metrics = Sequence[Mapping[str, Any]]
Classes = Literal["intervals", "percent", "none"]
Heads = Literal["long", "short", "few"]


@dataclass(frozen=True, slots=True)
class Layout:
    """How roomy an iteration table is: how much of the accuracy by class is in it, how long its
    headers are (with ``few`` it has only what matters most), blanks beside a column."""

    classes: Classes
    heads: Heads
    space: int = 0


FORMS = (  # the roomiest first
    Layout("intervals", "long", 1),
    Layout("intervals", "long"),
    Layout("percent", "long", 1),
    Layout("percent", "long"),
    Layout("percent", "short"),
    Layout("none", "long", 1),
    Layout("none", "long"),
    Layout("none", "short"),
    Layout("none", "few"),
)
COLUMNS = {  # long and short headers
    "problems": ("problems", "prob-\nlems"),
    "solved": ("solved\ndirectly", "solved"),
    "rationalized": ("ratio-\nnalized", "ratio-\nnalized"),
    "kept": ("kept", "kept"),
    "newly_solved": ("newly\nsolved", "new-\nly"),
    "forgotten": ("for-\ngotten", "for-\ngot"),
    "steps": ("steps", "steps"),
    "loss": ("last\nloss", "loss"),
    "dev": ("dev %\n[95%]", "dev %\n[95%]"),
    "change": ("against\nbest", "vs\nbest"),
}
FEW = ("kept", "dev", "change")


def summary(metrics: Metrics, width: int) -> RenderableType:
    """The iteration table, with a second one by class where a line has no room for intervals, and
    under it what the comparisons say."""
    said = [Text(line) for line in remarks(metrics)]
    if said:
        said.insert(0, Text())
    table, form = iteration_table(metrics, width)
    if not classes_of(metrics) or form.classes == "intervals":
        return Group(table, *said)
    if form.classes == "percent":  # the second one has it all
        table, _ = iteration_table(metrics, width, classes=False)
    return Group(table, Text(), class_table(metrics, width), *said)


def remarks(metrics: Metrics) -> list[str]:
    """In words: the base without examples, the best iteration, and how the last one compares."""
    lines = []
    for line in metrics:
        if plain := line.get("zero_shot"):
            lines.append(f"the base without examples (zero-shot): {dev_cell({'eval': plain})} %")
    last = metrics[-1] if metrics else {}
    name = f"iteration {last.get('iteration')}"
    compared = last.get("compared", {})
    others = {entry["iteration"]: entry for entry in compared.values()}
    for number, entry in sorted(others.items()):
        other = f"iteration {number}" if number else "iteration 0 (the base)"
        pair = Paired(**{key: entry[key] for key in Paired.__dataclass_fields__})
        lines.append(pair.words(name, other))
    if "best" in last:
        best = f"iteration {last['best']}" if last["best"] else "the base itself"
        lines.append(f"best on dev so far: {best}")
    return lines


def iteration_table(
    metrics: Metrics, width: int, *, last: int | None = None, classes: bool = True
) -> tuple[Table, Layout]:
    """The roomiest table that is no wider than ``width``, of the ``last`` iterations or of all."""
    for form in FORMS:
        if not classes and form.classes != "none":
            continue
        table = summary_table(metrics, form, last=last)
        if fits(table, width):
            return table, form
    return table, form


def summary_table(metrics: Metrics, form: Layout, *, last: int | None = None) -> Table:
    """One row an iteration, of the ``last`` ones or of all."""
    table = _table(space=form.space)
    table.add_column("iter", justify="right", style="bold")
    names = FEW if form.heads == "few" else tuple(COLUMNS)
    for name in names:
        head = COLUMNS[name][form.heads != "long"]
        table.add_column(head, justify="right", style="bold" if name == "dev" else "")
    classes = classes_of(metrics) if form.classes != "none" else []
    for name in classes:
        table.add_column(Text(harmless(name)), justify="right", min_width=3)
    if form.heads != "few":
        table.add_column("s", justify="right")
    first = 0 if last is None else max(0, len(metrics) - last)
    for index in range(first, len(metrics)):
        line = metrics[index]
        cells: list[str | Text] = [_cell(name, metrics[:index], line) for name in names]
        by_class = line.get("eval", {}).get("by_class", {})
        cells += [class_cell(by_class.get(n), form.classes == "intervals") for n in classes]
        if form.heads != "few":
            cells.append(f"{sum(line.get('seconds', {}).values()):.0f}")
        table.add_row(str(line["iteration"]), *cells)
    return table


def class_table(metrics: Metrics, width: int) -> Table:
    """Dev accuracy by class with its 95% interval: classes across, or down where that is wide."""
    lines = [line for line in metrics if "eval" in line]
    names = classes_of(lines)
    title = f"dev accuracy by {_classes_are(lines)}, % [95% interval]"
    across = _table(title)
    across.add_column("iter", justify="right", style="bold")
    for name in names:
        across.add_column(Text(harmless(name)), justify="right")
    for line in lines:
        cells = [class_cell(line["eval"]["by_class"].get(name), True) for name in names]
        across.add_row(str(line["iteration"]), *cells)
    if fits(across, width):
        return across
    return _classes_down(lines, names, width, title)


def _classes_are(lines: Metrics) -> str:
    named = [line["eval"]["classes"] for line in lines if line["eval"].get("classes")]
    return harmless(named[-1]) if named else "class"


def _classes_down(lines: Metrics, names: Sequence[str], width: int, title: str) -> Table:
    """A row a class, for the latest iterations that there is room for."""
    longest = max((len(harmless(name)) for name in names), default=5)
    room = max(1, (width - min(longest, width // 2) - 2) // 13)
    down = _table(title)
    down.add_column("class", overflow="fold")
    for line in lines[-room:]:
        down.add_column(f"iter {line['iteration']}", justify="right", no_wrap=True)
    for name in names:
        cells = [class_cell(line["eval"]["by_class"].get(name), True) for line in lines[-room:]]
        down.add_row(Text(harmless(name)), *cells)
    return down


def classes_of(metrics: Metrics) -> list[str]:
    """The classes that were measured, in their order; none if there is only one without a name."""
    names = {name for line in metrics for name in line.get("eval", {}).get("by_class", {})}
    return [] if names == {""} else sorted(names, key=class_order)


def class_cell(entry: Mapping[str, int] | None, ends: bool) -> str:
    """``"98 [93-99]"``, or without the interval's ends ``"98"``."""
    if not entry or not entry["n"]:
        return ""
    return _share(entry["correct"], entry["n"], ends)


@cache
def _share(correct: int, n: int, ends: bool) -> str:
    share = percent(correct / n)
    return f"{share} [{interval(wilson(correct, n))}]" if ends else share


def dev_cell(line: Mapping[str, Any]) -> str:
    """``"46.2 [42-51]"``."""
    if not (entry := line.get("eval")):
        return ""
    return f"{percent(entry['accuracy'], 1)} [{interval(entry['ci95'])}]"


def change(before: Metrics, line: Mapping[str, Any]) -> str:
    """Dev accuracy against the best of the iterations before, in points: ``"+3.2"``; empty where
    there is nothing to compare."""
    earlier = [other["eval"]["accuracy"] for other in before if "eval" in other]
    if "eval" not in line or not earlier:
        return ""
    points = round(100 * (line["eval"]["accuracy"] - max(earlier)), 1)
    return f"{points:+.1f}" if points else "0.0"


def kept(line: Mapping[str, Any]) -> int | str:
    """The size of the training set; empty for the base."""
    size: int | str = line.get("kept", line.get("examples", ""))
    return size


def loss(line: Mapping[str, Any]) -> str:
    """The loss over the last tenth of the steps, in nats a token; empty where none was taken."""
    value = line.get("train", {}).get("last_loss")
    return "" if value is None else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def fits(table: Table, width: int) -> bool:
    """Whether a table of plain cells needs no more columns than that.

    As ``Console.measure`` has it, but some twenty times as fast: it is asked at every drawing.
    """
    lines = ([str(column.header), *map(str, column.cells)] for column in table.columns)
    widths = (max(cell_len(line) for cell in cells for line in cell.split("\n")) for cells in lines)
    least = (column.min_width or 0 for column in table.columns)
    between = (table.padding[1] + 1) * (len(table.columns) - 1)
    return sum(map(max, widths, least)) + between <= width


def _cell(name: str, before: Metrics, line: Mapping[str, Any]) -> str | Text:
    if name == "kept":
        return str(kept(line))
    if name == "steps":
        return str(line.get("train", {}).get("steps", ""))
    if name == "loss":
        return loss(line)
    if name == "dev":
        return dev_cell(line)
    if name == "change":
        points = change(before, line)
        return Text(points, style={"+": f"bold {GOOD}", "-": BAD}.get(points[:1], ""))
    return str(line.get(name, ""))


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
