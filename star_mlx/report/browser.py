"""The samples in the form of the page's script: JSON that cannot break out of its element."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from star_mlx.formatting import class_order
from star_mlx.measure.run_problems import Known
from star_mlx.measure.trace import Trace
from star_mlx.report.difference import operations
from star_mlx.report.gather import ReportedRun
from star_mlx.report.parts import cut, label
from star_mlx.report.samples import KINDS, Selection, Shown

COLUMNS = (
    "run",  # its number
    "split",
    "iteration",
    "hinted",
    "kind",
    "problem",  # its number
    "answer",
    "text",
    "leftOut",  # characters
    "remark",
    "direct",  # [number of the attempt compared with, operations], of one with hint; or null
    "before",  # the same, with the earlier iteration that attempted the problem
)
COMPARED = 6_000_000  # pairs of words to compare in one report, at most


@dataclass(frozen=True, slots=True)
class Group:
    """A run with the attempts to show, and a problem's way through an iteration."""

    run: ReportedRun
    known: Known
    selection: Selection
    trace: Trace | None = None


def data(groups: Sequence[Group]) -> dict[str, Any]:
    """The data of the script: the attempts, their problems, and the filters."""
    problems: dict[tuple[str, str, str, str], int] = {}
    attempts: list[list[Any]] = []
    compare = _Differences()
    for number, group in enumerate(groups):
        prompts = _prompts(group)
        first = len(attempts)
        direct, before = compare.of(group.selection.shown)
        for place, shown in enumerate(group.selection.shown):
            key = _problem(shown, group.known, prompts)
            index = problems.setdefault(key, len(problems))
            links = [_moved(links.get(place), first) for links in (direct, before)]
            attempts.append([
                number, shown.split, shown.iteration, shown.hinted, shown.kind, index,
                shown.answer, shown.text, shown.left_out, shown.remark, *links,
            ])  # fmt: skip
    return {
        "columns": list(COLUMNS),
        "runs": [label(group.run.label) for group in groups],
        "kinds": [kind for kind in KINDS if any(row[4] == kind for row in attempts)],
        "splits": list(dict.fromkeys(row[1] for row in attempts)),
        "iterations": sorted({row[2] for row in attempts}),
        "classes": sorted({key[3] for key in problems} - {""}, key=class_order),
        "problems": [list(key) for key in problems],
        "attempts": attempts,
    }


def _moved(link: tuple[int, str] | None, first: int) -> list[Any] | None:
    return None if link is None else [link[0] + first, link[1]]


def script_json(value: Any) -> str:
    """JSON for a script element: nothing in it can end the element or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _problem(shown: Shown, known: Known, prompts: Mapping[str, str]) -> tuple[str, str, str, str]:
    """The id, question, right answer and class of a problem, as far as they are known."""
    problem = (known.train if shown.split == "train" else known.dev).get(shown.id)
    id = label(shown.id, 120)
    if problem:
        gold = cut(problem.answer, 200)[0]
        return id, cut(problem.question.as_text())[0], gold, label(problem.group)
    prompt = prompts.get(shown.id, "") if shown.split == "train" else ""
    return id, cut(prompt)[0], "", ""


def _prompts(group: Group) -> dict[str, str]:
    """The training prompts of the shown problems, if their questions are not available."""
    if group.known.task:
        return {}
    wanted = {shown.id for shown in group.selection.shown if shown.split == "train"}
    found: dict[str, str] = {}
    for line in group.run.iterations:
        for example in group.run.record.examples(line.iteration) if wanted else ():
            if example.id in wanted:
                found[example.id] = example.prompt
                wanted.discard(example.id)
    return found


class _Differences:
    """Compares texts word by word, up to a limit of work per report."""

    def __init__(self) -> None:
        self._left = COMPARED

    def of(
        self, shown: Sequence[Shown]
    ) -> tuple[dict[int, tuple[int, str]], dict[int, tuple[int, str]]]:
        """Compare attempts with the direct attempt of the same iteration, and with the same kind of
        attempt in the iteration before: the place of each, and the differences."""
        direct: dict[int, tuple[int, str]] = {}
        before: dict[int, tuple[int, str]] = {}
        last: dict[tuple[str, str, bool], int] = {}
        for place, one in enumerate(shown):
            if one.hinted:
                other = last.get((one.split, one.id, False))
                if other is not None and shown[other].iteration == one.iteration:
                    self._enter(direct, shown, place, other)
            key = (one.split, one.id, one.hinted)
            previous = last.get(key)
            if previous is not None and shown[previous].iteration < one.iteration:
                self._enter(before, shown, place, previous)
            if previous is None or shown[previous].iteration < one.iteration:
                last[key] = place  # the first of several samples
        return direct, before

    def _enter(
        self, links: dict[int, tuple[int, str]], shown: Sequence[Shown], place: int, other: int
    ) -> None:
        old, new = shown[other].text, shown[place].text
        if old != new:
            self._left -= (len(old.split()) + 1) * (len(new.split()) + 1)
        if self._left > 0 and (found := operations(old, new)) is not None:
            links[place] = other, found
