"""Lines of ``metrics.jsonl`` -> tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from star_mlx.evaluate import wilson
from star_mlx.statistics import Paired
from star_mlx.text import harmless, percent

Metrics = Sequence[Mapping[str, Any]]
Classes = Literal["intervals", "percent", "none"]


def summary(metrics: Metrics, width: int) -> RenderableType:
    """The iteration table, with a second one by class where a line has no room for intervals, and
    under it what the comparisons say."""
    said = [Text(line) for line in remarks(metrics)]
    if said:
        said.insert(0, Text())
    wide = summary_table(metrics, classes="intervals")
    if not classes_of(metrics) or fits(wide, width):
        return Group(wide, *said)
    narrow = summary_table(metrics, classes="percent")
    if not fits(narrow, width):
        narrow = summary_table(metrics, classes="none")
    return Group(narrow, Text(), class_table(metrics, width), *said)


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


def summary_table(metrics: Metrics, *, classes: Classes = "percent") -> Table:
    """One row an iteration; ``classes`` says how much of the accuracy by class is in it."""
    table = _table(space=0 if classes == "percent" else 1)
    table.add_column("iter", justify="right", style="bold")
    for header in ("problems", "solved", "ratio-\nnalized", "kept", "steps"):
        table.add_column(header, justify="right")
    table.add_column("dev %\n[95%]", justify="right", style="green", min_width=12)
    names = classes_of(metrics) if classes != "none" else []
    for name in names:
        table.add_column(Text(harmless(name)), justify="right", style="cyan", min_width=3)
    table.add_column("s", justify="right", style="dim")
    for line in metrics:
        by_class = line.get("eval", {}).get("by_class", {})
        cells = [class_cell(by_class.get(name), classes == "intervals") for name in names]
        table.add_row(*_cells(line), *cells, _seconds(line))
    return table


def class_table(metrics: Metrics, width: int) -> Table:
    """Dev accuracy by class with its 95% interval: classes across, or down where that is wide."""
    lines = [line for line in metrics if "eval" in line]
    names = classes_of(lines)
    title = f"dev accuracy by {_classes_are(lines)}, % [95% interval]"
    across = _table(title)
    across.add_column("iter", justify="right", style="bold")
    for name in names:
        across.add_column(Text(harmless(name)), justify="right", style="cyan")
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
        down.add_column(f"iter {line['iteration']}", justify="right", style="cyan", no_wrap=True)
    for name in names:
        cells = [class_cell(line["eval"]["by_class"].get(name), True) for line in lines[-room:]]
        down.add_row(Text(harmless(name)), *cells)
    return down


def classes_of(metrics: Metrics) -> list[str]:
    """The classes that were measured: numbers in order of size, then names as they came."""
    names = {name: None for line in metrics for name in line.get("eval", {}).get("by_class", {})}
    if list(names) == [""]:
        return []
    return sorted(names, key=lambda name: int(name) if name.isdecimal() else 10**9)


def class_cell(entry: Mapping[str, int] | None, interval: bool) -> str:
    """``"98 [93-99]"``, or ``"98"``."""
    if not entry or not entry["n"]:
        return ""
    low, high = wilson(entry["correct"], entry["n"])
    share = percent(entry["correct"] / entry["n"])
    return f"{share} [{100 * low:.0f}-{100 * high:.0f}]" if interval else share


def dev_cell(line: Mapping[str, Any]) -> str:
    """``"46.2 [42-51]"``."""
    if not (entry := line.get("eval")):
        return ""
    low, high = entry["ci95"]
    return f"{percent(entry['accuracy'], 1)} [{100 * low:.0f}-{100 * high:.0f}]"


def fits(table: Table, width: int) -> bool:
    """Whether the table needs no more columns than that."""
    return Console(width=10_000).measure(table).maximum <= width


def _cells(line: Mapping[str, Any]) -> list[str]:
    kept = line.get("kept", line.get("examples", ""))
    steps = line.get("train", {}).get("steps", "")
    numbers = [line.get("problems", ""), line.get("solved", ""), line.get("rationalized", "")]
    return [str(line["iteration"]), *map(str, numbers), str(kept), str(steps), dev_cell(line)]


def _seconds(line: Mapping[str, Any]) -> str:
    return f"{sum(line.get('seconds', {}).values()):.0f}"


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
