"""The page: one HTML file with everything, and a policy that loads nothing else.

The page is ``templates/page.html.j2``, that of many runs ``class.html.j2``; their values are
collected here. Text from a model, from data or from a file's name is made harmless and escaped, or
is in JSON that the page's script shows as text.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import yaml

from star_mlx.formatting import describe, harmless
from star_mlx.measure.leaderboard import Leaderboard
from star_mlx.measure.trace import TracePart
from star_mlx.measure.verdict import RunVerdict
from star_mlx.report import browser, svg, words
from star_mlx.report.board import BoardOnPage
from star_mlx.report.browser import Group
from star_mlx.report.gather import ReportedRun, short_names
from star_mlx.report.parts import MARK, Chart, Table, cut, label, whole
from star_mlx.report.templating import Safe, environment

TEMPLATES = Path(__file__).with_name("templates")


FIRST = ("accuracy",)  # the charts beside the verdict
DETAILS = ("losses", "gradients", "work")  # the charts in a closed section


@dataclass(frozen=True, slots=True)
class ChartOnPage:
    """A chart with its pictures as elements of HTML, for wide screens and for phones."""

    chart: Chart
    wide: Safe
    narrow: Safe

    @classmethod
    def of(cls, chart: Chart, wide: bytes, narrow: bytes) -> ChartOnPage:
        """A chart with its pictures as matplotlib wrote them."""
        names = (chart.name, f"{chart.name}-narrow")
        drawn = [
            Safe(svg.inline(picture, name, chart.title, chart.caption))
            for name, picture in zip(names, (wide, narrow), strict=True)
        ]
        return cls(chart, *drawn)


@dataclass(frozen=True, slots=True)
class RunOnPage:
    """The values of one run; ``results`` are the names of measurements with their lines."""

    name: str
    verdict: RunVerdict
    sentences: list[str]
    results: list[tuple[str, list[str]]]
    lacking: list[str]
    summary: Table
    augmented: Table | None
    recipe: str


@dataclass(frozen=True, slots=True)
class TraceOnPage:
    """A problem's way through an iteration of a run."""

    id: str
    iteration: int
    run: str
    parts: list[TracePart]


@dataclass(frozen=True, slots=True)
class AttemptsOnPage:
    """The numbers of shown and of all attempts; ``read`` are the iterations that were read, if not
    all; ``classes`` is the meaning of the classes."""

    shown: int
    total: int
    drawn: int
    problems: int
    extra: int
    read: Sequence[int]
    classes: str


def page(
    groups: Sequence[Group],
    charts: Sequence[ChartOnPage],
    made: str,
    board: BoardOnPage | str | None = None,
) -> str:
    """The whole page.

    Args:
        groups: the runs with their samples.
        charts: the charts with their pictures.
        made: when the report was made, in words.
        board: the leaderboard of three or more runs, or why there is none.
    """
    runs = [group.run for group in groups]
    return rendered(
        "page.html.j2",
        script=Safe((TEMPLATES / "page.js").read_text(encoding="utf-8")),
        title=" and ".join(label(name) for name in _names(runs)),
        about=_about(runs[0]),
        made=made,
        between=words.between(runs, [group.known for group in groups]),
        board=board if isinstance(board, BoardOnPage) else None,
        no_board=board if isinstance(board, str) else "",
        runs=[_run(group) for group in groups],
        tests=words.tests(runs),
        first=[one for one in charts if one.chart.name in FIRST],
        charts=[one for one in charts if one.chart.name not in (*FIRST, *DETAILS)],
        details=[one for one in charts if one.chart.name in DETAILS],
        trace=next((_trace(group) for group in groups if group.trace), None),
        attempts=_attempts(groups),
        differences=words.recipe_differences(runs),
        provenance=words.provenance(runs),
        samples=Safe(browser.script_json(browser.data(groups))),
    )


def class_page(board: Leaderboard, shown: BoardOnPage, chart: ChartOnPage, made: str) -> str:
    """The page of many runs, or of runs that were handed in as summaries: a leaderboard.

    Args:
        board: the leaderboard.
        shown: the same in words and tables.
        chart: the accuracies with their intervals.
        made: when the report was made, in words.
    """
    tasks = dict.fromkeys(one.task for one in board.entries)
    models = dict.fromkeys(one.model for one in board.entries if one.model)
    number = len(board.entries)
    return rendered(
        "class.html.j2",
        title="1 run" if number == 1 else f"{number} runs",
        about=[f"task {label(', '.join(tasks), 200)}", *map(label, list(models)[:5])],
        made=made,
        board=shown,
        chart=chart,
    )


def rendered(template: str, **values: Any) -> str:
    """A page from its template, with the style of all pages."""
    templates = environment(TEMPLATES, {"html": lambda value: escape(harmless(str(value)))})
    templates.filters |= {"hash": _hash, "whole": whole}
    return templates.get_template(template).render(
        mark=Safe(MARK.decode()),
        css=Safe((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        **values,
    )


def _names(runs: Sequence[ReportedRun]) -> list[str]:
    return short_names([run.record.path for run in runs])


def _trace(group: Group) -> TraceOnPage:
    assert group.trace is not None
    found = group.trace
    parts = [
        TracePart(
            cut(part.title, 200)[0],
            _shortened(part.text.strip("\n")),
            cut(part.remark)[0],
            part.mark,
        )
        for part in found.parts()
    ]
    return TraceOnPage(label(found.id, 120), found.iteration, label(group.run.label), parts)


def _shortened(text: str) -> str:
    shown, left_out = cut(text)
    return f"{shown} [{left_out:,} more characters]" if left_out else shown


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _about(run: ReportedRun) -> list[str]:
    recipe = run.record.recipe
    task = recipe.get("task", {}).get("name")
    base = run.record.provenance.get("base") or {"name": recipe.get("model", {}).get("path")}
    return [f"task {task}", *describe(base), f"seed {recipe.get('seed')}"]


def _run(group: Group) -> RunOnPage:
    run = group.run
    recipe = run.record.recipe
    return RunOnPage(
        name=label(run.label, 200),
        verdict=run.verdict,
        sentences=words.sentences(run),
        results=words.results(run),
        lacking=words.lacking(run, group.known),
        summary=words.summary(run),
        augmented=words.augmented(run),
        recipe=_yaml(recipe),
    )


def _attempts(groups: Sequence[Group]) -> AttemptsOnPage:
    chosen = [group.selection for group in groups]
    named = (group.known.task.classes for group in groups if group.known.task)
    return AttemptsOnPage(
        shown=sum(len(selection.shown) for selection in chosen),
        total=sum(selection.attempts for selection in chosen),
        drawn=sum(selection.drawn for selection in chosen),
        problems=sum(selection.problems for selection in chosen),
        extra=sum(selection.extra for selection in chosen),
        read=sorted({number for selection in chosen for number in selection.read}),
        classes=label(next((text for text in named if text), "class")),
    )


def _yaml(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
