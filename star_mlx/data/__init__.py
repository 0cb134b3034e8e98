"""Turn rows of data into problems, and name every unusable row by its place.

``rows`` reads the files and ``fields`` the fields of a row; ``stored`` keeps millions of problems
on the disk. This module makes choices of a field and problems of rows.

May import ``types``, ``errors`` and ``formatting``; also fetches data files from the Hub.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from star_mlx.data import encoding, fields, stored
from star_mlx.data.fields import no_text, text, texts, value_of, written
from star_mlx.data.row import Row
from star_mlx.data.rows import rows
from star_mlx.data.stored import Stored, where, without
from star_mlx.errors import TaskError
from star_mlx.types import Problem

__all__ = [
    "LABELS",
    "OnBadRow",
    "Reader",
    "Row",
    "choices",
    "cut",
    "encoding",
    "fields",
    "official",
    "rows",
    "text",
    "texts",
    "value_of",
    "where",
    "without",
]

OnBadRow = Literal["fail", "skip"]
LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LISTED = re.compile(r"\(?([A-Za-z])[).:]\s*(?=\S)")  # "A) 21", a text with its label


# --------------------------------------------------------------------------- choices


def choices(value: Any) -> tuple[tuple[str, str], ...]:
    """The (label, text) pairs of a multiple-choice question.

    ``[{"label": "A", "text": ...}, ...]``, ``{"label": [...], "text": [...]}``, a mapping of
    labels to texts (those without a text are left out), a list of texts (labelled A, B, ..., or
    by the labels they all begin with, as in "A) 21"), or one of these as JSON text (in CSV).

    Raises:
        TaskError: it is none of these, has fewer than two choices, or a label twice.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise TaskError(
                'its choices are text, but not a JSON list such as ["x", "y"]'
            ) from None
    if isinstance(value, list) and len(value) > len(LABELS):
        raise TaskError(f"it has {len(value)} choices: {len(LABELS)} are the most")
    pairs = [(written(label), written(text)) for label, text in _pairs(value) or ()]
    if not pairs and not (isinstance(value, (list, Mapping)) and len(value) < 2):
        raise TaskError("its choices should be a list of texts, or of labels with their texts")
    if len(pairs) < 2:
        raise TaskError(f"it has {len(pairs)} choices: two are the least")
    found = [(label, text) for label, text in pairs if label and text]
    if len(found) < len(pairs):
        raise TaskError("a choice of it is blank or no text")
    if wrong := no_text("".join(label + text for label, text in found)):
        raise TaskError(f"a choice of it {wrong}")
    if len({label.casefold() for label, _ in found}) < len(found):
        raise TaskError("a label occurs twice among its choices")
    return tuple(found)


def _pairs(value: Any) -> list[tuple[Any, Any]] | None:
    if isinstance(value, Mapping) and set(value) == {"label", "text"}:
        labels, texts = value["label"], value["text"]
        fit = isinstance(labels, list) and isinstance(texts, list) and len(labels) == len(texts)
        return list(zip(labels, texts, strict=True)) if fit else None
    if isinstance(value, Mapping):
        return [(label, text) for label, text in value.items() if text is not None]
    if not isinstance(value, list):
        return None
    if value and all(isinstance(item, Mapping) for item in value):
        return [(item.get("label"), item.get("text")) for item in value]
    listed = [_LISTED.match(item) if isinstance(item, str) else None for item in value]
    if all(m and m[1].upper() == k for m, k in zip(listed, LABELS, strict=False)):
        return [(m[1], m.string[m.end() :]) for m in listed if m]
    return list(zip(LABELS, value, strict=False))


def official(folder: str | None, file: str, repository: str, *hub_files: str) -> Iterator[Row]:
    """The rows of a public data set: the official file in ``folder``, or those of the Hub.

    Raises:
        TaskError: the file does not exist, or it cannot be fetched from the Hub.
    """
    if folder is None:
        from star_mlx.data.hub_files import fetch

        for fetched in fetch(repository, hub_files):
            yield from rows(fetched)
        return
    place = Path(folder).expanduser()
    if not (place / file).is_file():
        what = f"holds no {file}" if place.is_dir() else "is no folder"
        raise TaskError(f"{place} {what}: give the folder with the official files")
    yield from rows(place / file)


# --------------------------------------------------------------------------- rows to problems


@dataclass(slots=True)
class Reader:
    """Makes problems from rows; ``skipped`` names the rows left out, ``seen`` the place of each id
    but of those in ``stored``, the large files read so far.

    Use one reader for all files of a task, so that an id in two of them is refused.
    """

    pose: Callable[[Mapping[str, Any]], Problem]
    on_bad_row: OnBadRow = "fail"
    skipped: list[str] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)
    stored: list[Stored] = field(default_factory=list)

    def problems(self, rows: Iterable[Row], name: str) -> Sequence[Problem]:
        """The problems of rows, in order; one without an id is named ``NAME-<number>``. Many are
        kept on the disk.

        Raises:
            TaskError: a row cannot be used and ``on_bad_row`` is "fail" (the text has its place),
                or there is none that can be.
        """
        found: list[Problem] = []
        number, before = 0, len(self.skipped)
        numbered = enumerate(rows, 1)
        for number, row in numbered:
            try:
                problem = self._problem(row, f"{name}-{number}")
                self._refuse_again(problem.id)
            except TaskError as error:
                self._leave_out(row.place, error)
                continue
            self.seen[problem.id] = row.place
            found.append(problem)
            if len(found) == stored.IN_MEMORY:
                return self._store(found, numbered, name)
        if not found:
            first = f", the first: {self.skipped[before]}" if number else ""
            raise TaskError(f"none of the {number} rows for {name} can be used{first}")
        return found

    def _store(
        self, found: list[Problem], rows: Iterator[tuple[int, Row]], name: str
    ) -> Sequence[Problem]:
        """The problems ``found`` and those of further rows, stored.

        Of these, an id that is used again is looked for at the end.
        """
        storing = stored.Storing()
        for problem in found:
            storing.append(problem, self.seen.pop(problem.id))
        found.clear()
        for number, row in rows:
            try:
                problem = self._problem(row, f"{name}-{number}")
                self._refuse_again(problem.id)
            except TaskError as error:
                if self.on_bad_row == "fail":  # the earlier of two faults is told
                    self._leave_out_again(storing.finished())
                self._leave_out(row.place, error)
                continue
            storing.append(problem, row.place)
        every = storing.finished()
        self._leave_out_again(every)
        self.stored.append(every)
        return every.once()

    def _problem(self, row: Row, name: str) -> Problem:
        if isinstance(row.values, str):
            raise TaskError(f"the row {row.values}")
        problem = self.pose(row.values)
        if not problem.question.text.strip():
            raise TaskError("its question is missing or blank")
        return problem if problem.id else replace(problem, id=name)

    def _refuse_again(self, id: str) -> None:
        place = self.seen.get(id) or next(
            (place for large in self.stored if (place := large.place_of(id))), None
        )
        if place:
            raise _again(id, place)

    def _leave_out_again(self, every: Stored) -> None:
        for place, id, first in every.repeated():
            self._leave_out(place, _again(id, first))

    def _leave_out(self, place: str, error: TaskError) -> None:
        """Note a row that cannot be used.

        Raises:
            TaskError: ``on_bad_row`` is "fail".
        """
        text = f"{place}: {error}"
        if self.on_bad_row == "fail":
            raise TaskError(
                f"{text}; fix it, or leave such rows out with task.options.on_bad_row=skip"
            ) from None
        self.skipped.append(text)


def _again(id: str, place: str) -> TaskError:
    return TaskError(f"its id {id!r} is already used in {place}")


def cut(
    problems: Sequence[Problem], size: int, seed: int, what: str
) -> tuple[Sequence[Problem], Sequence[Problem]]:
    """Split off ``size`` problems, chosen by a hash of the question and the seed: (the rest, them).

    Problems with the same question as one that was split off go to neither part, so that no
    question is both trained and measured on.

    Raises:
        TaskError: there are not more than ``size`` problems.
    """
    if len(problems) <= size:
        raise TaskError(
            f"{len(problems)} problems leave none to train on beside a {what} set of {size}: "
            f"give more, or a smaller task.options.{what}"
        )

    def rank(problem: Problem) -> str:
        return hashlib.sha256(f"{what}/{seed}/{problem.question}".encode()).hexdigest()

    taken = heapq.nsmallest(size, problems, key=rank)
    asked, ids = {p.question for p in taken}, {p.id for p in taken}
    rest = where(problems, lambda p: p.question not in asked)
    if not rest:
        raise TaskError(
            f"all {len(problems)} problems have the questions of the {what} set, so none is left "
            "to train on"
        )
    return rest, where(problems, lambda p: p.id in ids)
