"""The options of the task ``jsonl``, and the check that they fit together."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from star_mlx.errors import TaskError
from star_mlx.tasks.jsonl_text import PLACE
from star_mlx.tasks.written import FileOptions

ReadKind = Literal["last-number", "marker", "choice", "exact", "regex", "math"]
Name = Annotated[str, Field(min_length=1)]

AFTER_QUESTION = "answer-after-question"
MARK_CHOICE = "mark-choice"


class Fields(BaseModel):
    """The names of a row's fields; ``a.b`` is the field ``b`` inside ``a``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: Name = Field(description="the question")
    answer: Name = Field(description="the right answer")
    choices: Name | Annotated[tuple[Name, ...], Field(min_length=2, max_length=26)] | None = Field(
        None, description="the choices: a field, or a list of columns; null: none"
    )
    id: Name | None = Field(None, description="an id; null: the number of the row")
    rationale: Name | None = Field(None, description="a human rationale, for few-shot examples")
    class_: Name | None = Field(
        None, alias="class", description="the class by which accuracy is reported"
    )


class Read(BaseModel):
    """How the answer is read from a completion, and compared."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: ReadKind | None = Field(
        None, description="how the answer is read; null: choice if there are choices, else marker"
    )
    marker: str = Field("The answer is", description="marker, math: the text before the answer")
    pattern: str | None = Field(
        None, description="regex: a pattern with one group, the answer; the last match is used"
    )
    compare: Literal["number", "text", "math"] | None = Field(
        None, description="marker, exact, regex: how answers are compared; null: as text"
    )
    count_from: Literal[0, 1] | None = Field(
        None, description="choice: the data's answers are positions, counted from this number"
    )


class JsonlOptions(FileOptions):
    """The options of the task jsonl (``task.options`` of a recipe)."""

    path: Name = Field(description="the training file: .jsonl, .json, .csv, .tsv or .parquet")
    fields: Fields = Field(description="the names of the fields")
    test: Annotated[StrictInt, Field(ge=1)] | Name | None = Field(
        None,
        description="a file, or the number of problems of path to hold out; null: no test split",
    )
    read: Read = Field(default_factory=lambda: Read(), description="how answers are read")
    hint: str | None = Field(
        None,
        description="answer-after-question, mark-choice, or a text with {question} and {answer}; "
        "null: mark-choice if there are choices, else answer-after-question",
    )
    ask: str | None = Field(
        None, description="the prompt, with {question} and {choices}; null: Q: ... A:"
    )
    worked: str | None = Field(
        None, description="a completion, with {rationale} and {answer}; null: one for read.kind"
    )
    stop: tuple[Name, ...] = Field(("\nQ:",), description="texts that end a completion")

    @property
    def kind(self) -> ReadKind:
        """How answers are read, after the defaults."""
        return self.read.kind or ("choice" if self.fields.choices is not None else "marker")

    @property
    def shown_worked(self) -> str:
        """The template of a completion, after the defaults."""
        defaults: dict[ReadKind, str] = {
            "choice": " {rationale} So the answer is ({answer}).",
            "exact": " {rationale}\n{answer}",
            "marker": " {rationale} " + self.read.marker + " {answer}.",
            "math": " {rationale} " + self.read.marker + " ${answer}$.",
        }
        return self.worked or defaults.get(self.kind, " {rationale} The answer is {answer}.")


def check(options: JsonlOptions) -> None:
    """Refuse options that do not fit together.

    Raises:
        TaskError: naming the option and what to give instead.
    """
    read, kind, has_choices = options.read, options.kind, options.fields.choices is not None
    if kind == "choice" and not has_choices:
        raise TaskError("task.options.read.kind choice needs task.options.fields.choices")
    if kind != "choice" and read.count_from is not None:
        raise TaskError(f"task.options.read.count_from is for kind choice, not {kind}")
    if read.compare is not None and kind in ("last-number", "choice", "math"):
        raise TaskError(
            f"task.options.read.compare is for kind marker, exact or regex: kind {kind} compares "
            "in its own way"
        )
    if not read.marker.strip():
        raise TaskError("task.options.read.marker is blank: give the text before the answer")
    _check_pattern(options)
    if options.hint == MARK_CHOICE and not has_choices:
        raise TaskError("task.options.hint mark-choice needs task.options.fields.choices")
    if options.hint not in (None, MARK_CHOICE, AFTER_QUESTION):
        _check_places("hint", options.hint, ("question", "answer"))
    _check_places("ask", options.ask, ("question", *(("choices",) if has_choices else ())))
    _check_places("worked", options.worked, ("rationale", "answer"))
    if options.test is not None and str(options.test) == options.path:
        raise TaskError(f"task.options.test and path are the same file {options.path}")


def _check_pattern(options: JsonlOptions) -> None:
    pattern = options.read.pattern
    if options.kind != "regex":
        if pattern is not None:
            raise TaskError(f"task.options.read.pattern is for kind regex, not {options.kind}")
        return
    if not pattern:
        raise TaskError("task.options.read.kind regex needs task.options.read.pattern")
    try:
        groups = re.compile(pattern).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise TaskError(
            f"task.options.read.pattern {pattern!r} is not a valid pattern: {error}"
        ) from None
    if groups != 1:
        raise TaskError(
            f"task.options.read.pattern {pattern!r} has {groups} groups: put one pair of brackets "
            "around the answer, and use (?:...) for other brackets"
        )


def _check_places(name: str, template: str | None, needed: tuple[str, ...]) -> None:
    if template is None:
        return
    has = {m[1] for m in PLACE.finditer(template)}
    allowed = {*needed, "choices"} if name == "ask" else set(needed)
    kinds = ", answer-after-question or mark-choice" if name == "hint" else ""
    if lacks := next((place for place in needed if place not in has), None):
        places = " and ".join(f"{{{place}}}" for place in needed)
        raise TaskError(f"task.options.{name} lacks {{{lacks}}}: give a text with {places}{kinds}")
    if extra := next(iter(sorted(has - allowed)), None):
        raise TaskError(f"task.options.{name} cannot hold {{{extra}}}")
