"""The pictures of ``growth.py``, from its figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

BLUE, ORANGE, GREEN, RED = "#3366aa", "#dd8833", "#559955", "#bb3333"
STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "star-mlx",
}


def draw(found: dict[str, Any], out: Path) -> list[Path]:
    """Draw what there is figures for; the files written."""
    pictures: dict[str, tuple[str, Callable[..., None]]] = {
        "growth-store": ("store", _store),
        "growth-memory": ("loops", _memory),
        "growth-problems": ("loops", _problems),
    }
    files = []
    with plt.rc_context(STYLE):
        for name, (part, picture) in pictures.items():
            if part in found:
                picture(found)
                files += save(out / name)
    return files


def save(stem: Path) -> list[Path]:
    """The current figure as SVG and PNG."""
    files = [stem.with_suffix(".svg"), stem.with_suffix(".png")]
    plt.savefig(files[0], metadata={"Date": None})
    plt.savefig(files[1], dpi=150)
    plt.close()
    return files


def _store(found: dict[str, Any]) -> None:
    part, limits = found["store"], found["limits"]
    rows = part["rows"][::-1]
    names = [row["name"] for row in rows]
    figure, (left, right) = plt.subplots(
        1, 2, sharey=True, figsize=(10, 1.6 + 0.45 * len(rows)), width_ratios=[1, 1]
    )
    seconds = [row["seconds"] for row in rows]
    _bars(left, names, seconds, limits["store_seconds"], BLUE, "{:.2f} s", "limit 5 s")
    left.set_xlabel("wall time of the whole process, seconds")
    peaks = [row["peak"] / 1e6 for row in rows]
    _bars(right, names, peaks, limits["store_bytes"] / 1e6, ORANGE, "{:.0f} MB", "limit 500 MB")
    right.set_xlabel("peak memory (resident), MB")
    figure.suptitle(
        f"Opening a run of {part['iterations']} iterations x {part['attempts']:,} attempts "
        f"({part['bytes'] / 1e6:.0f} MB)"
    )


def _bars(
    axes: Axes,
    names: list[str],
    values: list[float],
    limit: float,
    color: str,
    form: str,
    says: str,
) -> None:
    bars = axes.barh(names, values, color=color, height=0.6)
    axes.bar_label(bars, [form.format(value) for value in values], padding=4)
    axes.axvline(limit, color=RED, linestyle="--", linewidth=1.5)
    axes.set_xlim(0, 1.2 * max([limit, *values]))
    axes.text(limit, 1.0, says, color=RED, ha="center", va="bottom",
              transform=axes.get_xaxis_transform())  # fmt: skip
    axes.grid(axis="y", visible=False)


def _memory(found: dict[str, Any]) -> None:
    rows = found["loops"]
    problems, peaks = [r["problems"] for r in rows], [r["peak"] / 1e6 for r in rows]
    _, axes = plt.subplots(figsize=(8, 4.5))
    axes.plot(problems, peaks, "o-", color=BLUE)
    _label(axes, problems, peaks, "{:.0f}", -18)
    base = [r["peak"] / 1e6 for r in rows if r["problems"] == 1000]
    if base:
        limit = base[0] * found["limits"]["memory_growth"]
        axes.axhline(limit, color=RED, linestyle="--", linewidth=1.5)
        axes.text(problems[0], limit, "10% above 1,000 problems", color=RED, va="bottom")
        peaks = [*peaks, limit]
    axes.set_ylim(0, 1.2 * max(peaks))
    _sizes(axes, problems)
    axes.set_ylabel("peak memory (resident), MB")
    axes.set_title("Peak memory of one iteration, embedded base")


def _problems(found: dict[str, Any]) -> None:
    rows = found["loops"]
    around = found.get("around")
    _, panels = plt.subplots(
        1, 2 if around else 1, figsize=(11 if around else 7, 4.5), squeeze=False
    )
    left = panels[0][0]
    problems = [r["problems"] for r in rows]
    each = [1e3 * r["generating"] / r["problems"] for r in rows]
    left.plot(problems, each, "o-", color=BLUE, label="wall time")
    _label(left, problems, each, "{:.1f}")
    least = rows[0]
    further = [
        1e3 * (r["cpu"] - least["cpu"]) / (r["problems"] - least["problems"]) for r in rows[1:]
    ]
    left.plot(problems[1:], further, "s--", color=ORANGE, label="CPU time, without the start")
    _label(left, problems[1:], further, "{:.1f}", -18)
    left.set_ylim(0, 1.5 * max([*each, *further]))
    left.legend(frameon=False, loc="upper right")
    _sizes(left, problems)
    left.set_ylabel("milliseconds a problem")
    left.set_title("Generation and rationalization, embedded base")
    if not around:
        return
    right = panels[0][1]
    problems = [r["problems"] for r in around]
    phases = list(around[0]["cpu_seconds"])
    colors = [BLUE, ORANGE, GREEN]
    total = [0.0] * len(around)
    for phase, color in zip(phases, colors, strict=True):
        each = [1e6 * r["cpu_seconds"][phase] / r["problems"] for r in around]
        right.bar(range(len(around)), each, bottom=total, color=color, label=phase, width=0.6)
        total = [a + b for a, b in zip(total, each, strict=True)]
    for i, value in enumerate(total):
        right.text(i, value, f"{value:.0f}", ha="center", va="bottom")
    right.set_xticks(range(len(around)), [f"{n:,}" for n in problems])
    right.set_ylim(0, 1.3 * max(total))
    right.grid(axis="x", visible=False)
    right.set_xlabel("problems in the iteration")
    right.set_ylabel("CPU microseconds a problem")
    right.set_title("Everything around the model")
    right.legend(ncols=2, frameon=False, loc="upper right")


def _sizes(axes: Axes, problems: list[int]) -> None:
    """A logarithmic axis of problems, marked where there are figures."""
    axes.set_xscale("log")
    axes.set_xticks(problems)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("problems in the iteration (logarithmic)")


def _label(axes: Axes, x: list[int], y: list[float], form: str, points: int = 8) -> None:
    for at, value in zip(x, y, strict=True):
        axes.annotate(form.format(value), (at, value), (0, points), textcoords="offset points",
                      ha="center")  # fmt: skip
