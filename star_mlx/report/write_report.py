"""Write a folder with one page about runs, and its charts."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from star_mlx.errors import RunError
from star_mlx.report.board import BOARD
from star_mlx.report.parts import MARK, Chart
from star_mlx.store import reading
from star_mlx.store.files import replace

if TYPE_CHECKING:
    from star_mlx.measure.leaderboard import Leaderboard
    from star_mlx.measure.run_problems import Known
    from star_mlx.measure.trace import Trace
    from star_mlx.report.browser import Group
    from star_mlx.report.gather import ReportedRun
    from star_mlx.report.page import ChartOnPage

PAGE = "index.html"
CHARTS = ("accuracy", "yields", "classes", "ledger", "quality", "losses", "gradients", "work")
SAMPLES_BYTES = 1_200_000
MOST = 6  # runs that are shown in full, side by side
BOARD_OF = 3  # runs from which on a leaderboard says more than comparing two


def folder(runs: Sequence[Path]) -> Path:
    """The default folder of the report of these runs: inside the first one, or ``leaderboard`` in
    the current folder if that is a summary, so that a class's folder keeps nothing but its runs."""
    if runs[0].is_file():
        return Path("leaderboard")
    alone = len({run.resolve() for run in runs}) == 1
    return runs[0] / ("report" if alone else "report-with-others")


@dataclass(frozen=True, slots=True)
class Report:
    """The files of a report, the page first, and the leaderboard that it has, if any."""

    files: list[Path]
    board: Leaderboard | None = None


def write(
    runs: Sequence[Path], out: Path, made: datetime, samples_bytes: int = SAMPLES_BYTES
) -> Report:
    """Write the report of some runs to a folder.

    Up to ``MOST`` run folders are shown in full. Of more, or if some are summaries, the page is a
    leaderboard.

    Args:
        runs: run folders, which are only read and may be in use, and files that ``star-mlx
            summary`` wrote.
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
    unique = list({path.resolve(): path for path in reversed(runs)}.values())[::-1]
    when = made.strftime("%Y-%m-%d %H:%M %Z").strip()
    board: Leaderboard | None
    if len(unique) > MOST or any(path.is_file() for path in unique):
        contents, board = _class(unique, when)
    else:
        contents, board = _in_full(unique, when, samples_bytes)
    _replace(out, contents)
    return Report([out / name for name in contents], board)


def _in_full(
    paths: Sequence[Path], when: str, samples_bytes: int
) -> tuple[dict[str, bytes], Leaderboard | None]:
    """The files of a report that shows all of the runs, and their leaderboard."""
    from star_mlx.measure import run_problems
    from star_mlx.report import browser, gather, page, samples
    from star_mlx.report.board import BoardOnPage

    found = gather.runs(paths)
    groups = []
    for run in found:
        known = run_problems.of_run(run.record)
        trace = _traced(run, known)
        first = trace.id if trace else None
        selection = samples.select(run, known, samples_bytes // len(found), first)
        groups.append(browser.Group(run, known, selection, trace))
    files, figures = _draw(found)
    board: Leaderboard | None = None
    shown: BoardOnPage | str | None = None
    try:
        if board := _board(groups):
            shown = BoardOnPage.of(board)
    except RunError as error:
        shown = str(error)
    html = page.page(groups, figures, when, shown)
    return {PAGE: html.encode("utf-8"), **files}, board


def _board(groups: Sequence[Group]) -> Leaderboard | None:
    """The leaderboard of runs; None of two, which are compared without one.

    Raises:
        RunError: a run was not measured on dev, or its problems cannot be read.
    """
    if len(groups) < BOARD_OF:
        return None
    from star_mlx.measure import leaderboard, summary
    from star_mlx.report import gather

    records = [group.run.record for group in groups]
    names = gather.short_names([one.path for one in records])
    return leaderboard.board(
        [
            (name, summary.of_run(record, name, group.known))
            for name, record, group in zip(names, records, groups, strict=True)
        ]
    )


def _class(paths: Sequence[Path], when: str) -> tuple[dict[str, bytes], Leaderboard]:
    """The files of a page of many runs, or of summaries, and its leaderboard."""
    from star_mlx.measure import leaderboard, summary
    from star_mlx.report import board as boards
    from star_mlx.report import drawing, gather, page

    names = gather.short_names(paths)
    found = [
        (
            name,
            summary.read(path) if path.is_file() else summary.of_run(reading.read(path), name),
        )
        for path, name in zip(paths, names, strict=True)
    ]
    made = leaderboard.board(found)
    files: dict[str, bytes] = {}
    with drawing.style():
        figure = _drawn(boards.chart(made), boards.chart(made, wide=False), files)
    summaries = any(path.is_file() for path in paths)
    shown = boards.BoardOnPage.of(made, summaries=summaries)
    html = page.class_page(made, shown, figure, when)
    return {PAGE: html.encode("utf-8"), **files}, made


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
            report = write(runs, Path(folder) / "report", made, samples_bytes)
            file.parent.mkdir(parents=True, exist_ok=True)
            replace(file, report.files[0].read_bytes())
    except OSError as error:
        raise RunError(f"{file} cannot be written: {error.strerror or error}") from None
    return file


def _traced(run: ReportedRun, known: Known) -> Trace | None:
    """A telling problem's way through an iteration; None if the run has attempted none."""
    from star_mlx.measure import tracing

    if run.ledger is None or not run.ledger.ids:
        return None
    return tracing.trace(run.record, known=known, found=run.ledger)


def _draw(found: Sequence[ReportedRun]) -> tuple[dict[str, bytes], list[ChartOnPage]]:
    """The files of the charts, and each chart with its pictures for the page."""
    from star_mlx.report import charts, charts_ledger, charts_training, charts_work, drawing

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
                narrow = draw(found, wide=False) or chart
                figures.append(_drawn(chart, narrow, files))
    return files, figures


def _drawn(chart: Chart, narrow: Chart, files: dict[str, bytes]) -> ChartOnPage:
    """Draw a chart, add its pictures to ``files``, and return it for the page; ``narrow`` is the
    same for phones."""
    from star_mlx.report import drawing
    from star_mlx.report.page import ChartOnPage

    files[f"charts/{chart.name}.svg"] = picture = drawing.svg(chart.figure)
    chart.figure.set_layout_engine("none")  # the layout is final
    files[f"charts/{chart.name}.png"] = drawing.png(chart.figure)
    return ChartOnPage.of(chart, picture, drawing.svg(narrow.figure))


def _check(out: Path) -> None:
    """Refuse a folder that holds anything but an earlier report.

    Raises:
        RunError: it does, or it is a file.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise RunError(f"{out} is a file: a report needs a folder; give another --out")
    charts = (*CHARTS, BOARD)
    ours = {PAGE, *(f"charts/{name}.{kind}" for name in charts for kind in ("svg", "png"))}
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
