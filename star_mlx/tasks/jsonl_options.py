"""The options of the task ``jsonl``, and the check that they fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from star_mlx import data
from star_mlx.answers.notation import DecimalMark, Notation, ThousandsMark
from star_mlx.errors import TaskError
from star_mlx.tasks.jsonl_question import check_question, question_fields
from star_mlx.tasks.jsonl_text import check_places
from star_mlx.tasks.written import FileOptions

ReadKind = Literal[
    "last-number", "number", "yes-no", "set", "list", "marker", "choice", "exact", "regex", "math"
]
Name = Annotated[str, Field(min_length=1)]

AFTER_QUESTION = "answer-after-question"
MARK_CHOICE = "mark-choice"
# Options that are part of the settings only if they are given.
_LATER = ("delimiter", "encoding")
_LATER_READ = ("decimal", "thousands", "convert_units", "yes", "no", "accept")


class Fields(BaseModel):
    """The names of a row's fields; ``a.b`` is the field ``b`` inside ``a``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: Name | Annotated[tuple[Name, ...], Field(min_length=1, max_length=26)] = Field(
        description='the question: a field, a list of fields, or a text such as "{Body} {Question}"'
    )
    answer: Name = Field(description="the right answer")
    choices: Name | Annotated[tuple[Name, ...], Field(min_length=2, max_length=26)] | None = Field(
        None, description="the choices: a field, or a list of columns; null: none"
    )
    id: Name | None = Field(None, description="an id; null: the number of the row")
    rationale: Name | None = Field(None, description="a human rationale, for few-shot examples")
    class_: Name | None = Field(
        None, alias="class", description="the class by which accuracy is reported"
    )

    def named(self, *, optional: bool = True) -> dict[str, list[str]]:
        """Option -> the fields of the data that it names; those a test file needs, or all."""
        found = {"question": [name for name, _ in question_fields(self.question)]}
        found["answer"] = [self.answer]
        if self.choices is not None:
            found["choices"] = [self.choices] if isinstance(self.choices, str) else [*self.choices]
        others = {"id": self.id, "rationale": self.rationale, "class": self.class_}
        return found | {key: [name] for key, name in others.items() if name and optional}


class Read(BaseModel):
    """How the answer is read from a completion, and compared."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: ReadKind | None = Field(
        None, description="how the answer is read; null: choice if there are choices, else marker"
    )
    marker: str = Field(
        "The answer is",
        description="marker, math, yes-no, set, list: the text before the answer",
    )
    pattern: str | None = Field(
        None, description="regex: a pattern with one group, the answer; the last match is used"
    )
    compare: Literal["number", "text", "math"] | None = Field(
        None, description="marker, exact, regex: how answers are compared; null: as text"
    )
    count_from: Literal[0, 1] | None = Field(
        None, description="choice: the data's answers are positions, counted from this number"
    )
    decimal: DecimalMark = Field(".", description="the decimal mark of the numbers")
    thousands: ThousandsMark | None = Field(
        None,
        description="the mark between their thousands: , . ' or a blank; none: there is none; "
        "null: the usual one beside decimal",
    )
    convert_units: bool = Field(
        False, description="number, set, list: whether 6000 m is the right answer for 6 km"
    )
    yes: tuple[Name, ...] = Field((), description="yes-no: words for yes, besides yes and true")
    no: tuple[Name, ...] = Field((), description="yes-no: words for no, besides no and false")
    accept: Name | None = Field(
        None, description="the mark between several right answers in one field, such as |"
    )

    @property
    def notation(self) -> Notation:
        """How numbers are written."""
        return Notation(self.decimal, self.thousands)


class JsonlOptions(FileOptions):
    """The options of the task jsonl (``task.options`` of a recipe)."""

    path: Name = Field(
        description="the training file (.jsonl, .json, .csv, .tsv or .parquet), a folder of such "
        "files, or a pattern of their names"
    )
    fields: Fields = Field(description="the names of the fields")
    test: Annotated[StrictInt, Field(ge=1)] | Name | None = Field(
        None,
        description="a file, or the number of problems of path to hold out; null: no test split",
    )
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = Field(
        None, description="between the cells of a CSV file; null: found in the file"
    )
    encoding: Name | None = Field(None, description="of the data's text; null: UTF-8")
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
        stated = " {rationale} " + self.read.marker + " {answer}."
        defaults: dict[ReadKind, str] = {
            "choice": " {rationale} So the answer is ({answer}).",
            "exact": " {rationale}\n{answer}",
            "marker": stated,
            "yes-no": stated,
            "set": stated,
            "list": stated,
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
    if read.compare is not None and kind not in ("marker", "exact", "regex"):
        raise TaskError(
            f"task.options.read.compare is for kind marker, exact or regex: kind {kind} compares "
            "in its own way"
        )
    if not read.marker.strip():
        raise TaskError("task.options.read.marker is blank: give the text before the answer")
    _check_pattern(options)
    _check_words(read, kind)
    if options.hint == MARK_CHOICE and not has_choices:
        raise TaskError("task.options.hint mark-choice needs task.options.fields.choices")
    check_question(options.fields.question)
    if options.hint not in (None, MARK_CHOICE, AFTER_QUESTION):
        kinds = ", answer-after-question or mark-choice"
        check_places("hint", options.hint, ("question", "answer"), more=kinds)
    asked = ("question", "choices") if has_choices else ("question",)
    check_places("ask", options.ask, asked, also=("choices",))
    check_places("worked", options.worked, ("rationale", "answer"))
    if options.encoding is not None and not data.encoding.known(options.encoding):
        raise TaskError(
            f"task.options.encoding {options.encoding!r} is no encoding of text: give one such as "
            "cp1252 or utf-16, or leave it out for UTF-8"
        )
    same = options.test is not None and str(options.test) == options.path
    if same and not Path(options.path).expanduser().is_dir():  # a folder can have files of both
        raise TaskError(f"task.options.test and path are the same file {options.path}")


def _check_words(read: Read, kind: ReadKind) -> None:
    """Refuse words and marks that another kind reads, or that contradict each other."""
    if kind != "yes-no" and (read.yes or read.no):
        raise TaskError(f"task.options.read.yes and no are for kind yes-no, not {kind}")
    if bool(read.yes) != bool(read.no):
        given, lacks = ("yes", "no") if read.yes else ("no", "yes")
        raise TaskError(f"task.options.read.{given} needs task.options.read.{lacks} as well")
    both = {word.casefold() for word in read.yes} & {word.casefold() for word in read.no}
    if both:
        raise TaskError(f"task.options.read: {min(both)!r} is in both yes and no")
    if read.convert_units and kind not in ("number", "set", "list"):
        raise TaskError(
            f"task.options.read.convert_units is for kind number, set or list, not {kind}"
        )
    if read.thousands == read.decimal:
        raise TaskError(
            f"task.options.read.thousands is {read.thousands!r}, and so is decimal: give another "
            "mark, or none"
        )
    if read.accept is not None and not read.accept.strip():
        raise TaskError("task.options.read.accept is blank: give the mark between right answers")


def recorded(options: JsonlOptions) -> dict[str, Any]:
    """Every option with its value, as plain data; the later ones only if they are given, so that
    the recipe of an older run stays the same."""
    values = options.model_dump(mode="json", by_alias=True)
    for model, record, names in (
        (options, values, _LATER),
        (options.read, values["read"], _LATER_READ),
    ):
        for name in names:
            if getattr(model, name) == type(model).model_fields[name].default:
                del record[name]
    return values


def _check_pattern(options: JsonlOptions) -> None:
    pattern = options.read.pattern
    if options.kind != "regex":
        if pattern is not None:
            raise TaskError(f"task.options.read.pattern is for kind regex, not {options.kind}")
        return
    if not pattern:
        raise TaskError("task.options.read.kind regex needs task.options.read.pattern")
    import regex

    try:
        groups = regex.compile(pattern).groups
    except (regex.error, OverflowError, RecursionError) as error:
        raise TaskError(
            f"task.options.read.pattern {pattern!r} is not a valid pattern: {error}"
        ) from None
    if groups != 1:
        raise TaskError(
            f"task.options.read.pattern {pattern!r} has {groups} groups: put one pair of brackets "
            "around the answer, and use (?:...) for other brackets"
        )
