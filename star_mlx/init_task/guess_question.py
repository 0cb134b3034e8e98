"""Guess of which fields a question is made, so that no part of it is lost."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from star_mlx import data
from star_mlx.data import fields
from star_mlx.errors import TaskError
from star_mlx.init_task.names import (
    ASIDES,
    CLASSES,
    CONTEXTS,
    QUESTIONS,
    RATIONALES,
    FieldColumns,
    bare,
    is_json,
    is_text,
    named,
)

SHORT = 40  # characters: a question of fewer may have its other part in another field
REPEATED = 0.9  # a smaller share of distinct questions means the same
_LINE = 200  # characters of a context that a space joins to its question; a longer one a line break


def main_field(columns: FieldColumns) -> str | None:
    """The field that has the question, or its last part; None if none looks like one."""
    for name in named(columns, QUESTIONS):
        if is_text(columns[name]) and not is_json(columns[name]):
            return name
    asking = {
        name: sum("?" in v or "？" in v for v in values) / len(values)
        for name, values in columns.items()
        if is_text(values) and not is_json(values)
    }
    best = max(asking, key=asking.__getitem__, default=None)
    return best if best is not None and asking[best] >= 0.5 else None


def contexts(columns: FieldColumns, asked: str, rows: int) -> list[str]:
    """The fields before a question that are part of it, by their names."""
    found = [
        name
        for name in named(columns, CONTEXTS)
        if name != asked and _is_prose(columns[name]) and bare(name) not in map(bare, ASIDES)
    ]
    if system := _varied_system(columns, asked):
        found.append(system)
    if bare(asked) == "instruction":
        found += [name for name in columns if bare(name) == "input" and is_text(columns[name])]
    return [name for name in found if 10 * len(columns[name]) >= rows]


def other_parts(
    columns: FieldColumns, asked: Sequence[str], taken: set[str], rows: Sequence[Mapping[str, Any]]
) -> tuple[list[str], str]:
    """The fields of prose that may be a part of questions which repeat or are short, and why."""
    texts = [question_text(row, asked) for row in rows]
    distinct, length = len(set(texts)), statistics.median(map(len, texts))
    if distinct < REPEATED * len(texts):
        reason = f"{distinct} of {len(texts)} questions are distinct without it"
    elif length < SHORT and len(asked) == 1:
        reason = "questions are short without it"
    else:
        return [], ""
    aside = {bare(name) for name in (*ASIDES, *CLASSES, *RATIONALES)}
    found = [
        name
        for name, values in columns.items()
        if name not in taken
        and bare(name) not in aside
        and 2 * len(values) > len(rows)
        and _is_prose(values)
        and statistics.median(len(value.split()) for value in values) >= 4
        and len(set(values)) > 1
        and not _repeats(texts, [data.value_of(row, name) for row in rows])
    ]
    return found[:1], reason


def combined(
    columns: FieldColumns, before: Sequence[str], asked: str, rows: int
) -> str | list[str]:
    """The option ``fields.question`` of several fields: a template, or a list of odd names."""
    first = [name for name in before if bare(name) != "input" or bare(asked) != "instruction"]
    names = [*first, asked, *(name for name in before if name not in first)]
    if len(names) == 1:
        return asked
    if any(set("{}\n") & set(name) or name.endswith("?") for name in names):
        return names
    template = ""
    for name in names:
        may_lack = "?" if name != asked and len(columns[name]) < rows else ""
        template += f"{{{name}{may_lack}}}" + ("" if name == names[-1] else _between(columns, name))
    return template


def question_text(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """The parts of a question, for comparing questions."""
    values = [data.value_of(row, name) for name in names]
    return "\n".join(str(value).strip() for value in values if value is not None)


def names_in(spec: str, columns: FieldColumns) -> list[str]:
    """The fields that a given question names: one, several after commas, or those of a template.

    Raises:
        TaskError: the template cannot be filled.
    """
    if spec in columns:
        return [spec]
    if fields.is_template(spec):
        try:
            named_there = fields.placeholders(spec)
        except TaskError as error:
            raise TaskError(f"--question {spec!r} {error}") from None
        return [name if name in columns else name.removesuffix("?") for name in named_there]
    return [name.strip() for name in spec.split(",") if name.strip()]


def _varied_system(columns: FieldColumns, asked: str) -> str | None:
    """The system turn beside the question's, if it is not the same in all rows."""
    outer, _, role = asked.rpartition(".")
    system = f"{outer}.system"
    if role not in ("user", "human") or system not in columns:
        return None
    return system if len(set(map(str, columns[system]))) > 1 else None


def _repeats(texts: Sequence[str], others: Sequence[Any]) -> bool:
    """Whether most of the others are in their question already, or have it in them."""
    pairs = [(text, str(other).strip()) for text, other in zip(texts, others, strict=True) if other]
    return 2 * sum(a in b or b in a for a, b in pairs) > len(pairs)


def _is_prose(values: Sequence[Any]) -> bool:
    """Whether texts are of several words, or of a script that does not part them."""
    if not is_text(values) or is_json(values):
        return False
    return statistics.median(v.count(" ") + (not v.isascii()) * len(v) / 4 for v in values) >= 2


def _between(columns: FieldColumns, name: str) -> str:
    """What joins a part to the next one: a space after a sentence, else a line break."""
    long = max(map(len, columns[name])) > _LINE or any("\n" in value for value in columns[name])
    system = bare(name) in ("system", "instruction")
    return "\n" if long or system else " "
