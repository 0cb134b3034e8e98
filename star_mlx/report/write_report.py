"""Write a folder with one page about runs, and its charts."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from star_mlx.errors import RunError
from star_mlx.report.parts import MARK
from star_mlx.store.files import replace

if TYPE_CHECKING:
    from star_mlx.measure.run_problems import Known
    from star_mlx.measure.trace import Trace
    from star_mlx.report.gather import ReportedRun
    from star_mlx.report.page import ChartOnPage

PAGE = "index.html"
CHARTS = ("accuracy", "yields", "classes", "ledger", "quality", "losses", "gradients", "work")
SAMPLES_BYTES = 1_200_000


def folder(runs: Sequence[Path]) -> Path:
    """The default folder of the report of these runs, inside the first one."""
    alone = len({run.resolve() for run in runs}) == 1
    return runs[0] / ("report" if alone else "report-with-others")


def write(
    runs: Sequence[Path], out: Path, made: datetime, samples_bytes: int = SAMPLES_BYTES
) -> list[Path]:
    """Write the report of some runs to a folder, and return the files, the page first.

    Args:
        runs: the run folders; they are only read, and may be in use.
        out: a folder that does not exist, is empty, or holds an earlier report, which is replaced.
        made: the time of the report.
        samples_bytes: the approximate space for attempts in the page, for all runs together.

    Raises:
        RunError: no run or a damaged one, a folder with other content, or no matplotlib.
    """
    if find_spec("matplotlib") is None:
        raise RunError("a report needs matplotlib, which is missing: reinstall star-mlx")
    out = out.absolute()
    _check(out)
    from star_mlx.measure import run_problems
    from star_mlx.report import browser, gather, page, samples

    found = gather.runs(runs)
    groups = []
    for run in found:
        known = run_problems.of_run(run.record)
        trace = _traced(run, known)
        first = trace.id if trace else None
        selection = samples.select(run, known, samples_bytes // len(found), first)
        groups.append(browser.Group(run, known, selection, trace))
    files, figures = _draw(found)
    html = page.page(groups, figures, made.strftime("%Y-%m-%d %H:%M %Z").strip())
    contents = {PAGE: html.encode("utf-8"), **files}
    _replace(out, contents)
    return [out / name for name in contents]


def write_page(
    runs: Sequence[Path], file: Path, made: datetime, samples_bytes: int = SAMPLES_BYTES
) -> Path:
    """Write only the page of a report, without the files of its charts, and return its path.

    The arguments are those of ``write``.

    Raises:
        RunError: as for ``write``, or the file exists and is not an earlier report.
    """
    try:
        if file.exists() and MARK not in file.read_bytes()[:200]:
            raise RunError(f"{file} exists and is not a report: give another name")
        with tempfile.TemporaryDirectory() as folder:
            page, *_ = write(runs, Path(folder) / "report", made, samples_bytes)
            file.parent.mkdir(parents=True, exist_ok=True)
            replace(file, page.read_bytes())
    except OSError as error:
        raise RunError(f"{file} cannot be written: {error.strerror or error}") from None
    return file


def _traced(run: ReportedRun, known: Known) -> Trace | None:
    """A telling problem's way through an iteration; None if the run has attempted none."""
    from star_mlx.measure import tracing

    return tracing.trace(run.record, known=known) if run.grid and run.grid.ids else None


def _draw(found: Sequence[ReportedRun]) -> tuple[dict[str, bytes], list[ChartOnPage]]:
    """The files of the charts, and each chart with its pictures for the page."""
    from star_mlx.report import charts, charts_ledger, charts_training, charts_work, drawing
    from star_mlx.report.page import ChartOnPage

    files: dict[str, bytes] = {}
    figures = []
    with drawing.style():
        for draw in (
            charts.accuracy,
            charts.yields,
            charts.classes,
            charts_ledger.ledger,
            charts_work.quality,
            charts_training.losses,
            charts_training.gradients,
            charts_work.work,
        ):
            if chart := draw(found):
                files[f"charts/{chart.name}.svg"] = picture = drawing.svg(chart.figure)
                chart.figure.set_layout_engine("none")  # the layout is final
                files[f"charts/{chart.name}.png"] = drawing.png(chart.figure)
                narrow = draw(found, wide=False) or chart
                figures.append(ChartOnPage.of(chart, picture, drawing.svg(narrow.figure)))
    return files, figures


def _check(out: Path) -> None:
    """Refuse a folder that holds anything but an earlier report.

    Raises:
        RunError: it does, or it is a file.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise RunError(f"{out} is a file: a report needs a folder; give another --out")
    ours = {PAGE, *(f"charts/{name}.{kind}" for name in CHARTS for kind in ("svg", "png"))}
    there = {str(file.relative_to(out)) for file in out.rglob("*") if not file.is_dir()}
    other = sorted(there - ours)
    if PAGE in there and MARK not in (out / PAGE).read_bytes()[:200]:
        other.append(PAGE)
    if other:
        raise RunError(
            f"{out} has other files than a report ({other[0]}): give another --out, or a folder "
            "that does not exist"
        )


def _replace(out: Path, contents: dict[str, bytes]) -> None:
    """Write the folder under a temporary name, and rename it.

    Raises:
        RunError: it cannot be written.
    """
    beside = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        for name, data in contents.items():
            file = beside / "report" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        if out.exists():
            shutil.rmtree(out)
        os.replace(beside / "report", out)
    except OSError as error:
        raise RunError(
            f"{out} cannot be written: {error.strerror or error}; give another --out"
        ) from None
    finally:
        if beside:
            shutil.rmtree(beside, ignore_errors=True)
