"""Guess which field has the rationales: its content decides, since it can have any name."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from star_mlx import answers, data
from star_mlx.errors import TaskError
from star_mlx.init_task.guess_question import question_text
from star_mlx.init_task.names import (
    ASIDES,
    CLASSES,
    MARKERS,
    RATIONALES,
    FieldColumns,
    bare,
    is_json,
    named,
)
from star_mlx.types import Problem

_END = 80  # characters at the end of a rationale in which its answer is looked for
_STEP = re.compile(r"^\s*(?:step\s*)?\d+\s*[.):]|=|->|→", re.IGNORECASE | re.MULTILINE)


def rationale_field(
    columns: FieldColumns,
    rows: Sequence[Mapping[str, Any]],
    problems: Sequence[Problem | None],
    taken: set[str],
) -> tuple[str, str] | None:
    """The field of the rationales, and why; None if there is none.

    ``problems`` are those of the rows, without one if a row cannot be used.
    """
    by_name = [name for name in named(columns, RATIONALES) if name not in taken]
    aside = {bare(name) for name in (*ASIDES, *CLASSES)}
    others = [
        name for name in columns if name not in {*taken, *by_name} and bare(name) not in aside
    ]
    long = [name for name in (*by_name, *others) if _is_long(columns[name])]
    for name in long:
        pairs = [
            (_text(data.value_of(row, name)), problem)
            for row, problem in zip(rows, problems, strict=True)
            if problem is not None and data.value_of(row, name)
        ]
        ending = sum(ends_in(text, problem) for text, problem in pairs)
        if len(pairs) > 1 and ending >= 0.7 * len(pairs):
            return name, f"{ending} of {len(pairs)}: it ends in the answer"
    for name in long:
        if name in by_name:
            return name, "by its name"
        if all(isinstance(value, list) or len(_STEP.findall(value)) > 1 for value in columns[name]):
            return name, "it has several steps"
    return None


def whole_prompts(
    columns: FieldColumns, rows: Sequence[Mapping[str, Any]], asked: Sequence[str]
) -> set[str]:
    """The fields without a rationale's name that have the whole question in them in most rows, as
    Alpaca's ``text`` has: a filled prompt with its answer. A question of three words, such as
    "12 + 7", may be in a rationale."""

    def has_question(row: Mapping[str, Any], name: str) -> bool:
        text, question = _text(data.value_of(row, name)), question_text(row, asked)
        return len(question.split()) > 3 and all(part in text for part in question.split("\n"))

    others = [name for name in columns if name not in {*asked, *named(columns, RATIONALES)}]
    return {n for n in others if 2 * sum(has_question(row, n) for row in rows) > len(rows)}


def ends_in(text: str, problem: Problem) -> bool:
    """Whether a text ends in the answer of a problem, or in the text of the right choice."""
    end = text[-_END:].rstrip().rstrip(".!。)】 ")
    number = answers.number(problem.answer)
    if number is not None and not problem.question.choices:
        found = answers.last_number(end)
        return found is not None and answers.number(found) == number
    right = dict(problem.question.choices).get(problem.answer)
    return any(_is_word(said, end) for said in (problem.answer, right) if said)


def _is_word(said: str, end: str) -> bool:
    case = 0 if len(said) == 1 else re.IGNORECASE  # "a" is no answer A
    return re.search(rf"(?<!\w){re.escape(said)}(?!\w)", end, case) is not None


def concluded(values: Iterable[Any]) -> tuple[str, list[str]] | None:
    """The words before the answer with which nearly all of these texts end, and their answers."""
    texts = [value for value in values if isinstance(value, str)]
    if any("####" in text or "\\boxed" in text for text in texts):
        return None
    for marker in MARKERS:
        found = [answers.after(text, marker) for text in texts]
        there = [answer for answer in found if answer]
        whole = sum(
            len(text.strip()) > len(marker) + len(a) + 10
            for text, a in zip(texts, there, strict=False)
        )
        if texts and len(there) >= 0.95 * len(texts) and whole:
            return _as_written(marker, texts), there
    return None


def _as_written(marker: str, texts: Sequence[str]) -> str:
    """A marker with a capital letter if it has one in the texts."""
    for text in texts:
        at = text.casefold().rfind(marker)
        if at >= 0:
            return text[at : at + len(marker)]
    return marker


def posed(rows: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> list[Problem | None]:
    """The problem of each row with these options of the task ``jsonl``; None if it has none."""
    from star_mlx.tasks.jsonl import Jsonl
    from star_mlx.tasks.jsonl_options import JsonlOptions

    task = Jsonl(JsonlOptions.model_validate({"path": "sample.jsonl", **options}))
    found: list[Problem | None] = []
    for row in rows:
        try:
            found.append(task.whole_row(row))
        except TaskError:
            found.append(None)
    return found


def _is_long(values: Sequence[Any]) -> bool:
    """Whether values can be rationales: texts of some length, or lists of texts."""
    if any(isinstance(value, Mapping) for value in values):
        return False
    if any(isinstance(item, Mapping) for v in values if isinstance(v, list) for item in v):
        return False
    if not all(isinstance(value, (str, list)) for value in values) or is_json(values):
        return False
    return statistics.median(len(_text(value)) for value in values) > 20


def _text(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
