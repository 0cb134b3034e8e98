"""The question of the task ``jsonl``, made of one or several fields, and the check of their names.

A field that no row has is a wrong name in the recipe, not a fault of the first row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from star_mlx import data
from star_mlx.data import fields
from star_mlx.errors import TaskError

_ROWS = 50  # rows from which the names of the fields are listed in a message


def check_question(spec: str | Sequence[str]) -> None:
    """Refuse a template of fields that cannot be filled.

    Raises:
        TaskError: naming the option.
    """
    if isinstance(spec, str) and fields.is_template(spec):
        try:
            fields.placeholders(spec)
        except TaskError as error:
            raise TaskError(f"task.options.fields.question {spec!r} {error}") from None


def question_of(row: Mapping[str, Any], spec: str | Sequence[str]) -> str:
    """The question of a row: a field, the lines of several, or a template with fields.

    Raises:
        TaskError: a field that it is made of is missing, blank or no text.
    """
    if not isinstance(spec, str):
        return "\n".join(data.text(row, name) for name in spec)
    if spec in row or not fields.is_template(spec):
        return data.text(row, spec)
    found = fields.filled_with(row, spec)
    if not found:
        raise TaskError("its question is blank")
    return found


def asked_of(row: Mapping[str, Any], spec: str | Sequence[str]) -> str:
    """The question of a row; empty if it lacks a part of it, as rows that are only graded may."""
    needed = [name for name, may_lack in question_fields(spec) if not may_lack]
    there = isinstance(spec, str) and spec in row
    if not there and any(data.value_of(row, name) is None for name in needed):
        return ""
    return question_of(row, spec)


def question_fields(spec: str | Sequence[str]) -> list[tuple[str, bool]]:
    """The fields that a question is made of, and whether a row may lack them."""
    if not isinstance(spec, str):
        return [(name, False) for name in spec]
    if not fields.is_template(spec):
        return [(spec, False)]
    return [(name.removesuffix("?"), name.endswith("?")) for name in fields.placeholders(spec)]


class FieldNames:
    """The fields that the options name, and which of them have been seen in no row so far.

    Args:
        named: option below ``task.options.fields`` -> the fields it names.
        question: the option ``question``, which a row may have as the name of one field.
    """

    def __init__(self, named: Mapping[str, Sequence[str]], question: str | Sequence[str]) -> None:
        self._unseen = [(option, name) for option, names in named.items() for name in names]
        self._question = question
        self.there: dict[str, None] = {}
        self._rows = 0

    def noting(self, rows: Iterable[data.Row]) -> Iterator[data.Row]:
        """The rows, each noted as it passes."""
        for row in rows:
            self._note(row)
            yield row

    def _note(self, row: data.Row) -> None:
        if isinstance(row.values, str):
            return
        values = row.values
        if self._rows < _ROWS:
            self._rows += 1
            self.there.update(dict.fromkeys(fields.names_of(values)))
        if self._unseen:
            whole = isinstance(self._question, str) and self._question in values
            self._unseen = [
                (option, name)
                for option, name in self._unseen
                if not (fields.has(values, name) or (whole and option == "question"))
            ]

    def look(self, rows: Iterable[data.Row]) -> None:
        """Note rows until all fields have been seen; an unreadable file is not reported here."""
        with suppress(TaskError):
            for row in rows:
                self._note(row)
                if not self._unseen:
                    return

    def refuse_unknown(self, path: str) -> None:
        """Refuse a field that no row has.

        Raises:
            TaskError: naming the option, and the fields there are.
        """
        if self._unseen and self._rows:
            option, name = self._unseen[0]
            text = fields.unknown(name, self.there, f"of {path} ")
            raise TaskError(f"task.options.fields.{option}: {text}")
