"""Guess the meaning of the fields of a data file, with a reason for each guess.

It looks at a sample of the rows: first at the names of the fields, then at their values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from star_mlx import answers, data
from star_mlx.data.fields import shown_names, unknown
from star_mlx.errors import TaskError
from star_mlx.init_task import guess_question as questions
from star_mlx.init_task import guess_rationale as rationales
from star_mlx.init_task.guess_reading import SHORT, guess_reading
from star_mlx.init_task.names import (
    ANSWERS,
    CHOICES,
    CLASSES,
    IDS,
    FieldColumns,
    columns_of,
    is_json,
    is_text,
    named,
)

HOW = (
    "say which is what with --question FIELD, --answer FIELD and, for multiple choice, "
    "--choices FIELD (or FIELD,FIELD,...)"
)
_COLUMN = re.compile(r"(.*?[^a-z0-9]|option|choice|ending|sol|op)?([a-j]|[0-9])", re.IGNORECASE)
_ORDERS = ("abcdefghij", "123456789", "0123456789")


@dataclass(frozen=True, slots=True)
class Guess:
    """The fields and the reading of answers, as in ``task.options``; ``why`` gives reasons.

    ``unused`` are the fields that are no part of a problem.
    """

    fields: Mapping[str, str | list[str]]
    read: Mapping[str, Any]
    why: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()


def guess(
    rows: Sequence[Mapping[str, Any]],
    *,
    question: str | None = None,
    answer: str | None = None,
    choices: Sequence[str] = (),
    read: str | None = None,
) -> Guess:
    """Guess the fields of a sample of rows, except for given ones.

    Args:
        rows: the sample.
        question: a field, several after commas, or a template such as ``"{Body} {Question}"``.
        answer: a field.
        choices: a field, or the columns with one choice each.
        read: how the answers are read, as ``read.kind``.

    Raises:
        TaskError: no field looks like a question or an answer, or a given field does not exist.
    """
    columns = {**columns_of(rows)}
    given = questions.names_in(question, columns) if question else []
    for name in (*given, answer, *choices):
        if name is not None and name not in columns:
            values = [v for row in rows if (v := data.value_of(row, name)) is not None]
            if not values:
                raise TaskError(f"{unknown(name, columns)}; {HOW}")
            columns[name] = values  # further inside than fields are looked for
    asked = _asked(columns, given, answer, choices, len(rows))
    fields: dict[str, str | list[str]] = {}
    why: dict[str, str] = {}
    rest = {name: values for name, values in columns.items() if name not in (*asked, answer)}
    found = list(choices) or _choices(rest, len(rows))
    if found:
        fields["choices"] = found if len(found) > 1 else found[0]
        why["choices"] = "as given" if choices else "by name and content"
    best = _answer(columns, rows, fields, {*asked, *found}, answer, read)
    if best is None and found and not choices:  # those were no choices
        del fields["choices"], why["choices"]
        found = []
        best = _answer(columns, rows, fields, set(asked), answer, read)
    if best is None:
        raise TaskError(_no_answer(columns, answer))
    name, reading, reason, ends = best
    fields["answer"], why["answer"] = name, f"as given; {reason}" if answer else reason
    taken = {*asked, *found, name}
    if ends:
        fields["rationale"], why["rationale"] = name, "it ends in the answer"
    _add_others(columns, rows, fields, why, asked, taken, reading)
    _add_question(columns, rows, fields, why, asked, question, taken)
    order = ("question", "answer", "choices", "id", "rationale", "class")
    fields = {key: fields[key] for key in order if key in fields}
    return Guess(fields, reading, why, _unused(columns, {*taken, *asked}))


def _asked(
    columns: FieldColumns,
    given: Sequence[str],
    answer: str | None,
    choices: Sequence[str],
    rows: int,
) -> list[str]:
    """The fields of the question that are known by their names, the main one at the end."""
    if given:
        return list(given)
    free = {name: v for name, v in columns.items() if name not in (answer, *choices)}
    main = questions.main_field(free)
    if main is None:
        raise TaskError(f"no field looks like a question: {_seen(columns)}")
    return [*questions.contexts(free, main, rows), main]


def _add_question(
    columns: FieldColumns,
    rows: Sequence[Mapping[str, Any]],
    fields: dict[str, str | list[str]],
    why: dict[str, str],
    asked: list[str],
    given: str | None,
    taken: set[str],
) -> None:
    """Add the question, with another part of it if questions repeat or are short."""
    if given is not None:
        one = asked[0] if len(asked) == 1 and given in columns else None
        template = questions.fields.is_template(given)
        fields["question"] = one or (given if template else list(asked))
        why["question"] = "as given"
        return
    *before, main = asked
    more, reason = questions.other_parts(columns, asked, taken, rows)
    fields["question"] = questions.combined(columns, [*more, *before], main, len(rows))
    why["question"] = "by its name" if len(asked) == 1 else "by their names"
    if more:
        why["question"] += f"; {more[0]}: {reason}"
    taken.update(more)


def _choices(columns: FieldColumns, rows: int) -> list[str]:
    """The field with the choices, or the columns with one choice each."""
    for name in named(columns, CHOICES):
        values = columns[name]
        if 2 * len(values) > rows and (not is_text(values) or is_json(values)):
            return [name]
    groups: dict[str, list[str]] = {}
    for name in columns:
        if match := _COLUMN.fullmatch(name):
            groups.setdefault((match[1] or "").casefold(), []).append(name)
    for names in groups.values():
        ends = "".join(name[-1].casefold() for name in sorted(names))
        if len(names) >= 2 and any(order.startswith(ends) for order in _ORDERS):
            return sorted(names)
    return []


def _answer(
    columns: FieldColumns,
    rows: Sequence[Mapping[str, Any]],
    fields: dict[str, str | list[str]],
    taken: set[str],
    given: str | None,
    kind: str | None,
) -> tuple[str, Mapping[str, Any], str, bool] | None:
    """The first field, by name, whose values can be read from a completion, with how and why.

    The last value says whether the field is a whole solution, which ends in the answer.
    """
    names = [given] if given else [n for n in named(columns, ANSWERS) if n not in taken]
    choices = fields.get("choices")
    for name in names:
        values = _items(columns[name])
        if any(isinstance(v, Mapping) for v in values) or 2 * len(columns[name]) < len(rows):
            continue
        ends = None if choices else rationales.concluded(values)
        if ends and (found := guess_reading(rows, ends[1], name, None, kind)):
            return name, _after(ends[0], found[0]), f"after {ends[0]!r}: {found[1]}", True
        if found := guess_reading(rows, values, name, choices, kind):
            whole = found[0]["kind"] in ("last-number", "math") and all(
                "####" in str(v) or "\\boxed" in str(v) for v in values
            )
            return name, *found, whole
    return None


def _after(marker: str, read: Mapping[str, Any]) -> Mapping[str, Any]:
    """How answers after a marker are read, if they are read like this without it."""
    if read["kind"] == "marker":
        return {**read, "marker": marker}
    if read["kind"] == "last-number" and marker.casefold() != "the answer is":
        return {**read, "kind": "marker", "marker": marker, "compare": "number"}
    return read


def _items(values: Sequence[Any]) -> list[Any]:
    """The values, each of a list for itself: several answers may be accepted."""
    return [item for value in values for item in (value if isinstance(value, list) else [value])]


def _add_others(
    columns: FieldColumns,
    rows: Sequence[Mapping[str, Any]],
    fields: dict[str, str | list[str]],
    why: dict[str, str],
    asked: Sequence[str],
    taken: set[str],
    read: Mapping[str, Any],
) -> None:
    """Add the id, the rationale and the class, if there are any."""
    for name in named(columns, IDS):
        values = [str(value) for value in columns[name]]
        if name not in taken and len(values) == len(rows) and len(set(values)) == len(rows):
            fields["id"], why["id"] = name, "no two are the same"
            taken.add(name)
            break
    if "rationale" not in fields:
        option = {"fields": {"question": "?", **fields}, "read": read}
        problems = rationales.posed([{**row, "?": "?"} for row in rows], option)
        no = taken | rationales.whole_prompts(columns, rows, asked)
        if found := rationales.rationale_field(columns, rows, problems, no):
            fields["rationale"], why["rationale"] = found
            taken.add(found[0])
    for name in named(columns, CLASSES):
        kinds = {str(value) for value in columns[name]}
        if name not in taken and 2 <= len(kinds) <= min(20, len(rows) // 2):
            fields["class"], why["class"] = name, f"{len(kinds)} values"
            taken.add(name)
            break


def _unused(columns: FieldColumns, used: set[str]) -> tuple[str, ...]:
    """The fields that nothing is taken from; of a field that is partly used, the others in it."""
    outer = {name[: dot.start()] for name in used for dot in re.finditer(r"\.", name)}
    return tuple(
        name
        for name in columns
        if name not in used
        and name not in outer
        and (name.rpartition(".")[0] in outer or name.rpartition(".")[0] not in columns)
    )


def _no_answer(columns: FieldColumns, given: str | None) -> str:
    if given is None:
        return f"no field looks like an answer that can be graded: {_seen(columns)}"
    return (
        f"the answers in {given!r} cannot be graded: they are neither numbers nor labels or "
        f"texts of the choices, nor texts of at most {SHORT} characters"
    )


def _seen(columns: FieldColumns) -> str:
    values = any("?" in name or answers.number(name) is not None for name in columns)
    if values:
        return (
            f"the fields are {shown_names(list(columns))}; if these are a row of the data, give "
            f"the file a first line with the names of its columns; else {HOW}"
        )
    return f"the fields are {shown_names(list(columns))}; {HOW}"
