"""Guess the meaning of the fields of a data file, with a reason for each guess.

It looks at a sample of the rows: first at the names of the fields, then at their values.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from star_mlx.errors import TaskError
from star_mlx.init_task.guess_reading import SHORT, guess_reading

QUESTIONS = ("question", "problem", "query", "prompt", "input", "instruction", "stem", "text",
             "goal", "sentence")  # fmt: skip
ANSWERS = ("answer", "answerkey", "finalanswer", "correctanswer", "correct", "gold", "target",
           "label", "expected", "expectedanswer", "solution", "output", "response")  # fmt: skip
CHOICES = ("choices", "options", "answerchoices", "endings")
IDS = ("id", "uid", "idx", "qid", "questionid", "uuid")
RATIONALES = ("rationale", "explanation", "solution", "reasoning", "cot", "chainofthought", "steps")
CLASSES = ("class", "category", "subject", "topic", "level", "difficulty", "type")

_COLUMN = re.compile(r"(.*?[^a-z0-9]|option|choice|op)?([a-e]|[0-5])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Guess:
    """The fields and the reading of answers, as in ``task.options``; ``why`` gives reasons."""

    fields: Mapping[str, str | list[str]]
    read: Mapping[str, Any]
    why: Mapping[str, str] = field(default_factory=dict)


def guess(
    rows: Sequence[Mapping[str, Any]],
    *,
    question: str | None = None,
    answer: str | None = None,
    choices: Sequence[str] = (),
) -> Guess:
    """Guess the fields of a sample of rows, except for given ones.

    Raises:
        TaskError: no field looks like a question or an answer, or a given field does not exist.
    """
    columns = _columns(rows)
    for name in (question, answer, *choices):
        if name is not None and name not in columns:
            raise TaskError(f"no row has a field {name!r}: {_seen(columns)}")
    asked = question or _question(columns)
    fields: dict[str, str | list[str]] = {"question": asked}
    why = {"question": "as given" if question else "by its name"}
    rest = {name: values for name, values in columns.items() if name not in (asked, answer)}
    found = list(choices) or _choices(rest, len(rows))
    if found:
        fields["choices"] = found if len(found) > 1 else found[0]
        why["choices"] = "as given" if choices else "by name and content"
    best = _answer(columns, rows, fields, {asked, *found}, answer)
    if best is None and found and not choices:  # those were no choices
        del fields["choices"], why["choices"]
        found = []
        best = _answer(columns, rows, fields, {asked}, answer)
    if best is None and answer:
        raise TaskError(
            f"the answers in {answer!r} cannot be graded: they are neither numbers nor labels or "
            f"texts of the choices, nor texts of at most {SHORT} characters"
        )
    if best is None:
        raise TaskError(f"no field looks like an answer that can be graded: {_seen(columns)}")
    name, read, reason = best
    fields["answer"], why["answer"] = name, f"as given; {reason}" if answer else reason
    _others(columns, fields, why, {asked, *found, name}, read)
    return Guess(fields, read, why)


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Dotted field name -> its values, without nulls and blanks; outer fields come first."""
    found: dict[str, list[Any]] = {}

    def note(values: Mapping[str, Any], above: str) -> None:
        for name, value in values.items():
            if isinstance(value, Mapping) and not above:
                note(value, f"{name}.")
            if value is not None and str(value).strip():
                found.setdefault(f"{above}{name}", []).append(value)

    for row in rows:
        note(row, "")
    return dict(sorted(found.items(), key=lambda item: "." in item[0]))


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.rpartition(".")[2].casefold())


def _named(columns: Mapping[str, list[Any]], names: Sequence[str]) -> list[str]:
    """The fields with these names, in the names' order, then those whose names contain one."""
    exact = [c for name in names for c in columns if _bare(c) == name]
    parts = [c for name in names if len(name) > 4 for c in columns if name in _bare(c)]
    return list(dict.fromkeys(exact + parts))


def _is_text(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _is_json(values: Sequence[Any]) -> bool:
    return _is_text(values) and all(v.strip()[:1] in "[{" for v in values)


def _question(columns: Mapping[str, list[Any]]) -> str:
    for name in _named(columns, QUESTIONS):
        if _is_text(columns[name]) and not _is_json(columns[name]):
            return name
    raise TaskError(f"no field looks like a question: {_seen(columns)}")


def _choices(columns: Mapping[str, list[Any]], rows: int) -> list[str]:
    """The field with the choices, or the columns with one choice each."""
    for name in _named(columns, CHOICES):
        values = columns[name]
        if 2 * len(values) > rows and (not _is_text(values) or _is_json(values)):
            return [name]
    groups: dict[str, list[str]] = {}
    for name in columns:
        if match := _COLUMN.fullmatch(name):
            groups.setdefault((match[1] or "").casefold(), []).append(name)
    for names in groups.values():
        ends = "".join(name[-1].casefold() for name in sorted(names))
        if len(names) >= 2 and any(order.startswith(ends) for order in ("abcde", "12345", "01234")):
            return sorted(names)
    return []


def _answer(
    columns: Mapping[str, list[Any]],
    rows: Sequence[Mapping[str, Any]],
    fields: Mapping[str, str | list[str]],
    taken: set[Any],
    given: str | None,
) -> tuple[str, Mapping[str, Any], str] | None:
    """The first field, by name, whose values can be read from a completion, with how and why."""
    names = [given] if given else [n for n in _named(columns, ANSWERS) if n not in taken]
    for name in names:
        values = columns[name]
        if any(isinstance(v, (Mapping, list)) for v in values) or 2 * len(values) < len(rows):
            continue
        found = guess_reading(rows, values, name, fields.get("choices"))
        if found:
            return name, *found
    return None


def _others(
    columns: Mapping[str, list[Any]],
    fields: dict[str, str | list[str]],
    why: dict[str, str],
    taken: set[str],
    read: Mapping[str, Any],
) -> None:
    """Add the id, the rationale and the class, if there are any."""
    rows = len(columns[str(fields["question"])])
    for name in _named(columns, IDS):
        values = [str(value) for value in columns[name]]
        if name not in taken and len(values) == rows and len(set(values)) == rows:
            fields["id"], why["id"] = name, "no two are the same"
            break
    answer = str(fields["answer"])
    whole = read["kind"] in ("last-number", "math") and all(
        "####" in str(v) or "\\boxed" in str(v) for v in columns[answer]
    )
    for name in [answer] if whole else _named(columns, RATIONALES):
        texts = columns[name]
        if name == answer or (name not in taken and statistics.median(map(_length, texts)) > 20):
            fields["rationale"] = name
            why["rationale"] = "it ends in the answer" if name == answer else "by its name"
            break
    for name in _named(columns, CLASSES):
        kinds = {str(value) for value in columns[name]}
        if name not in {*taken, fields.get("rationale")} and 2 <= len(kinds) <= min(20, rows // 2):
            fields["class"], why["class"] = name, f"{len(kinds)} values"
            break


def _length(value: object) -> int:
    return len(str(value))


def _seen(columns: Mapping[str, list[Any]]) -> str:
    names = ", ".join(repr(name) for name in list(columns)[:20]) or "none"
    return (
        f"the fields are {names}; say which is what with --question FIELD, --answer FIELD and, "
        "for multiple choice, --choices FIELD (or FIELD,FIELD,...)"
    )
