"""Grade existing completions row by row, reading and comparing answers as a task does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from star_mlx.answers import thinking
from star_mlx.errors import TaskError
from star_mlx.measure.accuracy import ci95
from star_mlx.store import files
from star_mlx.tasks import why_undecided
from star_mlx.types import Task

Grade = Literal["correct", "wrong", "undecided", "not_found"]


@dataclass(frozen=True, slots=True)
class Graded:
    """A row with the answer read from its completion, and the verdict.

    ``place`` is such as "FILE, line 3"; ``gold`` has every right answer; ``labelled`` is the row's
    own boolean ``correct``, None if it has none; ``reason`` is why it is undecided.
    """

    place: str
    row: Mapping[str, Any]
    gold: str
    read: str | None
    verdict: Grade
    labelled: bool | None
    reason: str = ""

    @property
    def disagrees(self) -> bool:
        """Whether the row's own verdict differs."""
        return self.labelled is not None and self.labelled != (self.verdict == "correct")

    def as_json(self) -> dict[str, Any]:
        found = {**self.row, "read": self.read, "verdict": self.verdict}
        return {**found, "reason": self.reason} if self.reason else found


def graded(task: Task, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[Graded]:
    """Grade rows of a ``completion`` and a ``gold`` answer, or the task's own fields for one.

    Args:
        task: reads and compares the answers.
        rows: each with its place, such as "FILE, line 3".

    Raises:
        TaskError: a row cannot be graded; names its place.
    """
    for place, row in rows:
        try:
            yield _graded(task, place, row)
        except TaskError as error:
            raise TaskError(f"{place}: {error}") from None


def _graded(task: Task, place: str, row: Mapping[str, Any]) -> Graded:
    completion, labelled = row.get("completion"), row.get("correct")
    if not isinstance(completion, str):
        what = "its completion is not text" if "completion" in row else "it has no completion"
        raise TaskError(what)
    if "correct" in row and not isinstance(labelled, bool):
        raise TaskError(f"its correct is {json.dumps(labelled)[:40]}: give true or false")
    problem = task.pose_row(row)
    if not problem.answer:
        raise TaskError("it has no gold answer")
    said = thinking.said(completion)
    answer = None if said is None else task.read(said, problem.question)
    if answer is None:
        return Graded(place, row, problem.answer, None, "not_found", labelled)
    if task.equal(answer, problem.answer):
        return Graded(place, row, problem.answer, answer, "correct", labelled)
    why = why_undecided(task, answer, problem.answer)
    verdict: Grade = "undecided" if why else "wrong"
    return Graded(place, row, problem.answer, answer, verdict, labelled, why)


def counts(task: Task, results: Iterable[Graded]) -> dict[str, Any]:
    """Rows by verdict, accuracy with its 95% interval, and the agreement with the rows' labels."""
    verdicts = {"correct": 0, "wrong": 0, "not_found": 0}
    if hasattr(task, "undecided"):
        verdicts["undecided"] = 0
    labelled = disagree = 0
    for result in results:
        verdicts[result.verdict] += 1
        labelled += result.labelled is not None
        disagree += result.disagrees
    rows, right = sum(verdicts.values()), verdicts["correct"]
    found: dict[str, Any] = {"task": task.name, "rows": rows, **verdicts}
    found["accuracy"] = round(right / rows, 6) if rows else 0.0
    found["ci95"] = list(ci95(right, rows))
    if labelled:
        agree = labelled - disagree
        found |= {"labelled": labelled, "agree": agree, "disagree": disagree}
        found["agreement"] = round(agree / labelled, 6)
    return found


def json_rows(lines: Iterable[bytes], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of JSON lines, each with its place; empty lines are skipped.

    Raises:
        TaskError: a line is not a JSON object in UTF-8, or there are no rows.
    """
    number, any_row = 0, False
    for number, line in enumerate(lines, 1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            any_row = True
            place = f"{name}, line {number}"
            yield place, _object(line, place)
    if not any_row:
        raise TaskError(f"{name} holds no rows")


def _object(line: bytes, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise TaskError(f"{place} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise TaskError(f"{place} is not JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError):  # a number of too many digits; brackets too deep
        raise TaskError(f"{place} is JSON that cannot be read") from None
    if not isinstance(row, dict):
        raise TaskError(f"{place} is not a JSON object")
    return row


Shows = Callable[[Graded], object]


class RowsToShow:
    """The graded rows that say most about a reader: without an answer, undecided, wrong, right.

    Args:
        most: how many to keep.
    """

    _ORDER: tuple[Grade, ...] = ("not_found", "undecided", "wrong", "correct")

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[Grade, list[Graded]] = {verdict: [] for verdict in self._ORDER}

    def __call__(self, result: Graded) -> None:
        """Keep a row, if there is room for its verdict."""
        kept = self._kept[result.verdict]
        if len(kept) < self._most:
            kept.append(result)

    @property
    def rows(self) -> list[Graded]:
        """The rows to show, by verdict, each in the order of the file."""
        found = [result for verdict in self._ORDER for result in self._kept[verdict]]
        return found[: self._most]


def grade_lines(
    task: Task,
    lines: Iterable[bytes],
    name: str,
    disagreements: Path | None = None,
    shown: Shows | None = None,
) -> dict[str, Any]:
    """Grade JSON lines, and write the rows whose own label differs to ``disagreements``.

    That file is written atomically, after every row was graded. ``shown`` is called with every row.

    Raises:
        TaskError: a row cannot be graded, or the file cannot be written.
    """
    differing = []

    def kept() -> Iterator[Graded]:
        for result in graded(task, json_rows(lines, name)):
            if disagreements is not None and result.disagrees:
                differing.append(files.json_line(result.as_json()))
            if shown is not None:
                shown(result)
            yield result

    found = counts(task, kept())
    if disagreements is not None:
        try:
            files.replace(disagreements, b"".join(differing))
        except OSError as error:
            raise TaskError(f"{disagreements} cannot be written: {error.strerror}") from None
    return found


def grade_file(
    task: Task, path: Path, disagreements: Path | None = None, shown: Shows | None = None
) -> dict[str, Any]:
    """Grade the lines of a file; see ``grade_lines``.

    Raises:
        TaskError: as there, or the file cannot be read.
    """
    if disagreements is not None and disagreements.resolve() == path.resolve():
        raise TaskError(f"--disagreements {disagreements} is the graded file: give another file")
    try:
        with open(path, "rb") as file:
            return grade_lines(task, file, str(path), disagreements, shown)
    except OSError as error:
        raise TaskError(f"{path} cannot be read: {error.strerror}") from None
