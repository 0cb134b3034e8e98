"""The charts of the trainings: loss and gradient norm by optimizer step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from star_mlx.report import drawing
from star_mlx.report.gather import Curve, ReportedRun
from star_mlx.report.parts import Chart, Table, decimal, label, whole
from star_mlx.store.metrics import Training

CURVES = 8  # maximum number of iterations in a panel


def losses(runs: Sequence[ReportedRun], *, wide: bool = True) -> Chart | None:
    """The training loss by optimizer step, a line an iteration."""
    table = _loss_table(runs)
    if not table.rows:
        return None
    if any(run.curves for run in runs):
        figure, some = _curves(
            runs, lambda curve: [p[1] for p in curve.points], "loss, nats a token", wide
        )
    else:
        figure, some = _ends(runs, wide), ""
    caption = (
        "Mean loss over the batch at each optimizer step. Every iteration trains a fresh adapter "
        "on the base, so every curve starts at the loss of the base."
        if any(run.curves for run in runs)
        else "Mean loss over the first and over the last tenth of the steps of each iteration."
    )
    return Chart("losses", "Training loss", caption + some, figure, table)


def gradients(runs: Sequence[ReportedRun], *, wide: bool = True) -> Chart | None:
    """The gradient's norm by optimizer step, a line an iteration."""
    if not any(run.curves for run in runs):
        return None
    figure, some = _curves(runs, lambda curve: [p[2] for p in curve.points], "gradient norm", wide)
    rows = [
        (label(run.label), str(c.iteration), decimal(min(norms)), decimal(max(norms)))
        for run in runs
        for c in run.curves
        for norms in [[p[2] for p in c.points]]
    ]
    return Chart(
        name="gradients",
        title="Gradient norm",
        caption="Norm of the gradient before clipping, at each optimizer step." + some,
        figure=figure,
        table=Table(
            "Smallest and largest gradient norm", ("run", "iteration", "smallest", "largest"),
            tuple(rows),
        ),
    )  # fmt: skip


def _curves(
    runs: Sequence[ReportedRun], values: Callable[[Curve], list[float]], text: str, wide: bool
) -> tuple[Any, str]:
    """One panel per run, and a sentence for the caption if not all iterations are drawn."""
    drawn = [run for run in runs if run.curves]
    figure, panels = drawing.panels(drawn, wide=wide)
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


def _ends(runs: Sequence[ReportedRun], wide: bool) -> Any:
    """First and last loss of each iteration, where the steps themselves were not kept."""
    drawn = [run for run in runs if _trained(run)]
    figure, panels = drawing.panels(drawn, wide=wide)
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
