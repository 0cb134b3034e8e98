"""The charts of the work: training curves, seconds and tokens, quality of the kept rationales."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from star_mlx.measure.accuracy import wilson
from star_mlx.report import drawing
from star_mlx.report.gather import Curve, ReportedRun
from star_mlx.report.parts import Chart, Table, decimal, label, share, whole
from star_mlx.store.metrics import Generated, Metrics, Training
from star_mlx.types import Phase

CURVES = 8  # maximum number of iterations in a panel

PHASES: tuple[tuple[Phase, str, str], ...] = (
    ("generate", drawing.BLUE, ""),
    ("rationalize", drawing.ORANGE, "///"),
    ("train", drawing.GREEN, "\\" * 3),
    ("evaluate", drawing.PURPLE, "xxx"),
)


def losses(runs: Sequence[ReportedRun]) -> Chart | None:
    """The training loss by optimizer step, a line an iteration."""
    table = _loss_table(runs)
    if not table.rows:
        return None
    if any(run.curves for run in runs):
        figure, some = _curves(
            runs, lambda curve: [p[1] for p in curve.points], "loss, nats a token"
        )
    else:
        figure, some = _ends(runs), ""
    caption = (
        "Mean loss over the batch at each optimizer step. Every iteration trains a fresh adapter, "
        "so every line begins at the base."
        if any(run.curves for run in runs)
        else "Mean loss over the first and over the last tenth of the steps of each iteration."
    )
    return Chart("losses", "Training loss", caption + some, figure, table)


def gradients(runs: Sequence[ReportedRun]) -> Chart | None:
    """The gradient's norm by optimizer step, a line an iteration."""
    if not any(run.curves for run in runs):
        return None
    figure, some = _curves(runs, lambda curve: [p[2] for p in curve.points], "gradient norm")
    rows = [
        (label(run.label), str(c.iteration), decimal(min(norms)), decimal(max(norms)))
        for run in runs
        for c in run.curves
        for norms in [[p[2] for p in c.points]]
    ]
    return Chart(
        name="gradients",
        title="Gradient norm",
        caption="Norm of the gradient before it is clipped, at each optimizer step." + some,
        figure=figure,
        table=Table(
            "Least and greatest gradient norm", ("run", "iteration", "least", "greatest"),
            tuple(rows),
        ),
    )  # fmt: skip


def _curves(
    runs: Sequence[ReportedRun], values: Callable[[Curve], list[float]], text: str
) -> tuple[Any, str]:
    """One panel per run, and a sentence for the caption if not all iterations are drawn."""
    drawn = [run for run in runs if run.curves]
    figure, panels = drawing.panels(drawn)
    for axes, run in zip(panels, drawn, strict=True):
        chosen = _spread(run.curves)
        for index, curve in enumerate(chosen):
            looks = drawing.look(index) | {"linewidth": 1.2}
            if len(curve.points) > 1:
                del looks["marker"]
            axes.plot(
                [p[0] for p in curve.points],
                values(curve),
                label=str(curve.iteration),
                **looks,
            )
        drawing.iterations(axes, "optimizer step")
        axes.set_ylabel(text)
        axes.legend(title="iteration", ncols=2)
    drawing.from_zero(panels)
    if all(len(run.curves) <= CURVES for run in drawn):
        return figure, ""
    return figure, f" At most {CURVES} iterations of a run are drawn, spread evenly."


def _spread(curves: Sequence[Curve]) -> list[Curve]:
    """The curves to draw: evenly spread, including the first and the last."""
    if len(curves) <= CURVES:
        return list(curves)
    last = len(curves) - 1
    return [curves[round(i * last / (CURVES - 1))] for i in range(CURVES)]


def _ends(runs: Sequence[ReportedRun]) -> Any:
    """First and last loss of each iteration, where the steps themselves were not kept."""
    drawn = [run for run in runs if _trained(run)]
    figure, panels = drawing.panels(drawn)
    for axes, run in zip(panels, drawn, strict=True):
        x = [number for number, _ in _trained(run)]
        for index, key in enumerate(("first_loss", "last_loss")):
            y = [getattr(train, key) for _, train in _trained(run)]
            axes.plot(x, y, label=key.replace("_", " "), **drawing.look(index))
        drawing.iterations(axes)
        axes.set_ylabel("loss, nats a token")
        axes.legend()
    drawing.from_zero(panels)
    return figure


def _trained(run: ReportedRun) -> list[tuple[int, Training]]:
    """The iterations whose losses are known, with their training."""
    every = [(line.iteration, line.train) for line in run.iterations if line.train]
    return [(number, train) for number, train in every if train.last_loss is not None]


def _loss_table(runs: Sequence[ReportedRun]) -> Table:
    rows = [
        (
            label(run.label),
            str(number),
            whole(train.steps),
            decimal(train.epochs, 2),
            decimal(train.first_loss),
            decimal(train.last_loss),
        )
        for run in runs
        for number, train in _trained(run)
    ]
    heads = ("run", "iteration", "steps", "epochs", "first loss", "last loss")
    return Table("Steps and losses (nats a token) by iteration", heads, tuple(rows))


def work(runs: Sequence[ReportedRun]) -> Chart | None:
    """Seconds by phase, and tokens a second."""
    drawn = [run for run in runs if any(line.seconds for line in run.metrics)]
    if not drawn:
        return None
    figure, panels = drawing.rows(drawn)
    for (left, right), run in zip(panels, drawn, strict=True):
        _seconds(left, run)
        _rates(right, run)
        for axes in (left, right):
            drawing.iterations(axes)
            drawing.legend_under(axes)
    rows = []
    for run in drawn:
        for line in run.metrics:
            seconds = [decimal(line.took(phase), 1) for phase, _, _ in PHASES]
            tokens = [text for part in (line.generate, line.train) for text in _tokens(part)]
            rows.append((label(run.label), str(line.iteration), *seconds, *tokens))
    heads = ("run", "iteration", *(f"{phase}, s" for phase, _, _ in PHASES))
    heads += ("tokens generated", "generated a second", "tokens trained", "trained a second")
    return Chart(
        name="work",
        title="Seconds and tokens",
        caption="Wall time of each iteration by phase, and how many tokens a second were generated "
        "and trained on.",
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
            axes.bar(x, values, bottom=bottom, color=color, hatch=hatch, label=phase, width=0.75)
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
    ("truncated", "right but cut off"),
    ("rejected", "right but rejected"),
)


def quality(runs: Sequence[ReportedRun]) -> Chart | None:
    """Step validity of what was kept, and what went wrong in attempts."""
    drawn = [run for run in runs if any(line.parse_failures is not None for line in run.iterations)]
    if not drawn:
        return None
    figure, panels = drawing.rows(drawn, widths=(1, 1))
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
    heads = ("run", "iteration", "valid steps, direct", "valid steps, rationalized")
    return Chart(
        name="quality",
        title="Quality of the rationales",
        caption="Left: of the kept rationales whose steps can be checked, how many are right in "
        "every step, with Wilson's 95% intervals. Right: kept rationalizations that speak of their "
        "hint, attempts without a readable answer, and right answers that were not kept.",
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
                source,
                drawing.look(index),
            )
    if not axes.lines:
        drawing.nothing(axes, "no kept rationale has steps\nthat can be checked")
        return
    axes.set_ylim(0, 104)
    axes.set_ylabel("rationales with valid steps, %")
    drawing.iterations(axes)
