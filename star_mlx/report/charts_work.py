"""The charts of the work: seconds and tokens, quality of the kept rationales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from star_mlx.measure.accuracy import wilson
from star_mlx.report import drawing
from star_mlx.report.gather import ReportedRun
from star_mlx.report.parts import Chart, Table, decimal, label, share, whole
from star_mlx.store.metrics import Generated, Metrics, Training
from star_mlx.types import Phase

PHASES: tuple[tuple[Phase, str, str], ...] = (
    ("augment", drawing.GREY, "..."),
    ("generate", drawing.BLUE, ""),
    ("rationalize", drawing.ORANGE, "///"),
    ("train", drawing.GREEN, "\\" * 3),
    ("evaluate", drawing.PURPLE, "xxx"),
)

NAMED: Mapping[Phase, str] = {
    "augment": "new questions",
    "generate": "generate",
    "rationalize": "with hint",
    "train": "train",
    "evaluate": "measure",
}


def work(runs: Sequence[ReportedRun], *, wide: bool = True) -> Chart | None:
    """Seconds by phase, and tokens a second."""
    drawn = [run for run in runs if any(line.seconds for line in run.metrics)]
    if not drawn:
        return None
    figure, panels = drawing.rows(drawn, wide=wide)
    for (left, right), run in zip(panels, drawn, strict=True):
        _seconds(left, run)
        _rates(right, run)
        for axes in (left, right):
            drawing.iterations(axes)
            drawing.legend_under(axes)
    rows = []
    lines = [line for run in drawn for line in run.metrics]
    phases = [p for p, _, _ in PHASES if p != "augment" or any(line.took(p) for line in lines)]
    for run in drawn:
        for line in run.metrics:
            seconds = [decimal(line.took(phase), 1) for phase in phases]
            tokens = [text for part in (line.generate, line.train) for text in _tokens(part)]
            rows.append((label(run.label), str(line.iteration), *seconds, *tokens))
    heads = ("run", "iteration", *(f"{NAMED[phase]}, s" for phase in phases))
    heads += ("tokens generated", "generated a second", "tokens trained", "trained a second")
    return Chart(
        name="work",
        title="Seconds and tokens",
        caption="Time of each iteration by phase, and the tokens generated and trained on per "
        "second.",
        figure=figure,
        table=Table("Seconds and tokens by iteration", heads, tuple(rows)),
    )


def _tokens(part: Generated | Training | None) -> tuple[str, str]:
    """Tokens, and tokens per second."""
    return (whole(part.tokens), decimal(part.tokens_per_second, 0)) if part else ("", "")


def _seconds(axes: Axes, run: ReportedRun) -> None:
    x = [line.iteration for line in run.metrics]
    bottom = np.zeros(len(x))
    for phase, color, hatch in PHASES:
        values = np.array([line.took(phase) or 0.0 for line in run.metrics])
        if values.any():
            axes.bar(
                x, values, bottom=bottom, color=color, hatch=hatch, label=NAMED[phase], width=0.75
            )
            bottom += values
    axes.set_ylabel("seconds")


def _rates(axes: Axes, run: ReportedRun) -> None:
    for index, (key, text) in enumerate((("generate", "generated"), ("train", "trained on"))):
        points = [
            (line.iteration, rate)
            for line in run.iterations
            if (part := getattr(line, key)) and (rate := part.tokens_per_second)
        ]
        if points:
            x, y = zip(*points, strict=True)
            axes.plot(x, y, label=text, **drawing.look(index))
    axes.set_ylabel("tokens a second")
    drawing.from_zero([axes])
    if not axes.lines:
        drawing.nothing(axes, "no rate of tokens was recorded")


QUALITY = (
    ("hint_leaks", "hint leaks kept"),
    ("parse_failures", "no readable answer"),
    ("undecided", "undecided"),
    ("truncated", "right but cut off"),
    ("rejected", "right but rejected"),
)


def quality(runs: Sequence[ReportedRun], *, wide: bool = True) -> Chart | None:
    """Step validity of what was kept, and what went wrong in attempts."""
    drawn = [run for run in runs if any(line.parse_failures is not None for line in run.iterations)]
    if not drawn:
        return None
    figure, panels = drawing.rows(drawn, widths=(1, 1), wide=wide)
    for (left, right), run in zip(panels, drawn, strict=True):
        _validity(left, run)
        _faults(right, run)
        for axes in (left, right):
            drawing.legend_under(axes)
    rows = [
        (
            label(run.label),
            str(line.iteration),
            *(_valid_words(line, source) for source in ("direct", "rationalized")),
            *(whole(_count(line, key)) for key, _ in QUALITY),
        )
        for run in drawn
        for line in run.iterations
    ]
    heads = ("run", "iteration", "valid steps, without hint", "valid steps, with hint")
    return Chart(
        name="quality",
        title="Quality of the rationales",
        caption="First panel: of the kept rationales whose steps can be checked, the share in "
        "which every step is right, with 95% intervals (Wilson). Second panel: rationales kept "
        "with hint that mention the hint, attempts without a readable answer, and right answers "
        "that were not kept.",
        figure=figure,
        table=Table("Quality by iteration", (*heads, *(text for _, text in QUALITY)), tuple(rows)),
    )


def _faults(axes: Axes, run: ReportedRun) -> None:
    """How many attempts had each of the faults of ``QUALITY``."""
    x = [line.iteration for line in run.iterations]
    found = {text: [_count(line, key) for line in run.iterations] for key, text in QUALITY}
    if not any(map(any, found.values())):
        drawing.nothing(
            axes, "no hint leaks, and no answers that were\nunreadable, cut off or rejected"
        )
        return
    for index, (text, counts) in enumerate(found.items()):
        axes.plot(x, counts, label=text, **drawing.look(index))
    drawing.iterations(axes)
    drawing.counts(axes, "attempts")


def _count(line: Metrics, key: str) -> int:
    value = getattr(line, key) or 0
    return sum(value.values()) if isinstance(value, Mapping) else int(value)


def _valid(line: Metrics, source: str) -> tuple[int, int]:
    found = (line.valid_steps or {}).get(source)
    return (found.valid, found.n) if found else (0, 0)


def _valid_words(line: Metrics, source: str) -> str:
    valid, n = _valid(line, source)
    return f"{share(valid, n)} of {n}" if n else "none checked"


def _validity(axes: Axes, run: ReportedRun) -> None:
    for index, source in enumerate(("direct", "rationalized")):
        points = [(line.iteration, *_valid(line, source)) for line in run.iterations]
        points = [point for point in points if point[2]]
        if points:
            ends = [wilson(valid, n) for _, valid, n in points]
            drawing.with_intervals(
                axes,
                [number + 0.08 * (index - 0.5) for number, _, _ in points],
                [100 * valid / n for _, valid, n in points],
                [100 * low for low, _ in ends],
                [100 * high for _, high in ends],
                {"direct": "without hint", "rationalized": "with hint"}[source],
                drawing.look(index),
            )
    if not axes.lines:
        drawing.nothing(axes, "no kept rationale has steps\nthat can be checked")
        return
    axes.set_ylim(0, 104)
    axes.set_ylabel("rationales with valid steps, %")
    drawing.iterations(axes)
