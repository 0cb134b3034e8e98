"""The user's own questions and answers, from a file, described by a recipe alone.

One problem, of a row ``{"q": "What is 6 times 7?", "a": 42}`` and the options ``path: mine.jsonl``,
``fields: {question: q, answer: a}``, ``read: {kind: last-number}``: question "What is 6 times 7?",
answer ``42``. A completion ends in "The answer is 42.". See docs/your-data.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from star_mlx import answers, data
from star_mlx.answers.accepted import accepted, joined
from star_mlx.errors import TaskError
from star_mlx.tasks.jsonl_options import AFTER_QUESTION, MARK_CHOICE, JsonlOptions, check, recorded
from star_mlx.tasks.jsonl_question import asked_of, question_of
from star_mlx.tasks.jsonl_reading import SECONDS, Reading
from star_mlx.tasks.jsonl_splits import FileSplits
from star_mlx.tasks.jsonl_text import (
    counted,
    filled,
    without_conclusion,
)
from star_mlx.tasks.written import MARK
from star_mlx.types import Problem, Question

_TRIED = ("7", "B", "blue", "yes", "3.5", "x=2")  # answers to try a pattern with

_TRIED_WITH = {
    "number": ("7",), "quantity": ("7",), "math": ("7",), "choice": ("B",), "yes-no": ("yes",),
}  # fmt: skip


class Jsonl(FileSplits):
    """The task on the user's own data.

    Raises:
        TaskError: options that do not fit together, such as a template from which the answer
            cannot be read back.
    """

    name = "jsonl"
    Options = JsonlOptions

    def __init__(self, options: JsonlOptions) -> None:
        super().__init__(options)
        check(options)
        self._reading = Reading(options.read, options.kind)
        self.stop = options.stop
        self.classes = options.fields.class_ or ""
        self._check_worked()

    def settings(self) -> Mapping[str, Any]:
        return recorded(self.options)

    # ------------------------------------------------------------------ rows

    def pose_row(self, row: Mapping[str, Any]) -> Problem:
        asked = asked_of(row, self.options.fields.question)
        return self._posed(row, asked, "gold" if row.get("gold") is not None else None)

    def whole_row(self, row: Mapping[str, Any]) -> Problem:
        """The problem of a row of the data files, which must have all fields of the options."""
        problem = self._posed(row, question_of(row, self.options.fields.question), None)
        if self.options.fields.choices is not None and not problem.question.choices:
            raise TaskError("its choices are missing")
        # Numbers and expressions read back by themselves, and would take minutes on a large file.
        if self._reading.compared in ("number", "quantity", "math"):
            return problem
        for answer in accepted(problem.answer):
            found = self.read(self.worked(None, answer), problem.question)
            if found is None and self._reading.gives_up(self.worked(None, answer)):
                raise TaskError(
                    f"task.options.read.pattern takes more than {SECONDS:g} s on its answer "
                    f"{answer[:60]!r}: write it so that a text matches in one way alone, unlike "
                    "(a|aa)+"
                )
            if found is None or not self.equal(found, answer):
                lines = "; an answer of several lines needs read.kind regex" * ("\n" in answer)
                raise TaskError(f"its answer {answer[:60]!r} is read back as {found!r}{lines}")
        return problem

    def _posed(self, row: Mapping[str, Any], asked: str, answer: str | None) -> Problem:
        fields = self.options.fields
        choices = self._choices(row)
        texts = self._reading.right_answers(row, answer or fields.answer)
        if answer is None and fields.answer == fields.rationale:
            texts = [self._concluded(text, choices) for text in texts]
        return Problem(
            id=_optional(row, fields.id),
            question=Question(asked, choices),
            answer=joined(self._gold(text, choices) for text in texts),
            group=_optional(row, fields.class_),
            rationale=self._rationale(row),
        )

    def _choices(self, row: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
        spec = self.options.fields.choices
        if spec is None:
            return ()
        if isinstance(spec, str):
            value = data.value_of(row, spec)
            return () if value is None else data.choices(value)
        last = [name.rpartition(".")[2] for name in spec]
        labels = last if all(len(name) == 1 for name in last) else list(data.LABELS)
        texts = {k: _optional(row, name) for k, name in zip(labels, spec, strict=False)}
        there = {label: text for label, text in texts.items() if text}
        return data.choices(there) if there else ()

    def _gold(self, answer: str, choices: Sequence[tuple[str, str]]) -> str:
        """The right answer of a row, in the form in which it is compared and shown.

        Raises:
            TaskError: this task cannot read it as an answer.
        """
        if self._reading.compared == "number":
            return self._reading.gold(answer)
        if self.options.read.count_from is not None and choices:
            return counted(answer, self.options.read.count_from, choices)
        if self.options.read.count_from is not None and answer.isdecimal():
            raise TaskError(
                f"its answer {answer[:60]!r} is a position, but its choices are missing: "
                "give them, or a label as gold"
            )
        label = self._label(answer, choices)
        if self._reading.compared == "choice":
            return label
        return self._reading.gold(answer)

    def _concluded(self, text: str, choices: tuple[tuple[str, str], ...]) -> str:
        """The answer of a text that is the rationale too, as a completion of this task is read."""
        if "####" in text or self._by_math or answers.number(text) is not None:
            return text
        return self.read(text, Question("", choices)) or text

    def _label(self, answer: str, choices: Sequence[tuple[str, str]]) -> str:
        """The label of the choice that an answer names by its label, its text or its column."""
        said = answer.strip(" ().").casefold()
        found = [k for k, _ in choices if k.casefold() == said]
        found = found or [k for k, text in choices if answers.same_text(text, answer)]
        columns = self.options.fields.choices
        if not found and isinstance(columns, tuple) and answer in columns:
            found = [choices[columns.index(answer)][0]] if len(choices) == len(columns) else []
        if len(found) > 1:
            raise TaskError(f"its answer {answer[:60]!r} is the text of two of its choices")
        if choices and not found:
            labels = ", ".join(label for label, _ in choices)
            raise TaskError(f"its answer {answer[:60]!r} is not among its choices {labels}")
        return found[0] if found else answer

    def _rationale(self, row: Mapping[str, Any]) -> str | None:
        """The human rationale, without the "#### N" at its end in GSM8K-like data."""
        name = self.options.fields.rationale
        value = None if name is None else data.value_of(row, name)
        if name is None or value is None or value == "":
            return None
        steps = list(value) if isinstance(value, (list, tuple)) else [value]
        parts = [data.text({name: step}, name) for step in steps if str(step).strip()]
        text = "\n".join(parts)
        before, mark, _ = text.rpartition("####")
        if name == self.options.fields.answer and not mark and not self._by_math:
            return without_conclusion(text, self.options.read.marker)
        return (before if mark and self._reading.compared == "number" else text).strip() or None

    # ------------------------------------------------------------------ text

    def ask(self, question: Question) -> str:
        return self._shown(question.text, question.choices)

    def ask_hinted(self, question: Question, answer: str) -> str:
        hint = self.options.hint or (MARK_CHOICE if question.choices else AFTER_QUESTION)
        if hint == MARK_CHOICE and question.choices:
            right = self._label(accepted(answer)[0], question.choices)
            marked = [(k, text + MARK * (k == right)) for k, text in question.choices]
            return self._shown(question.text, marked)
        if hint in (MARK_CHOICE, AFTER_QUESTION):
            hint = "{question} ({answer})"
        return self._shown(
            filled(hint, question=question.text, answer=accepted(answer)[0]), question.choices
        )

    def _shown(self, text: str, choices: Sequence[tuple[str, str]]) -> str:
        if self.options.ask is None:
            return self._asked(text, choices)
        listed = "\n".join(f"({label}) {choice}" for label, choice in choices)
        return filled(self.options.ask, question=text, choices=listed)

    def worked(self, rationale: str | None, answer: str) -> str:
        template, answer = self.options.shown_worked, accepted(answer)[0]
        if rationale is None:
            return filled(re.sub(r"\{rationale\}\s*", "", template), answer=answer)
        return filled(template, rationale=rationale, answer=answer)

    # ------------------------------------------------------------------ answers

    def read(self, completion: str, question: Question) -> str | None:
        return self._reading.read(completion, question)

    def equal(self, answer: str, gold: str) -> bool:
        return self._reading.equal(answer, gold)

    def undecided(self, answer: str, gold: str) -> str:
        """See ``tasks.why_undecided``."""
        return self._reading.undecided(answer, gold)

    @property
    def mathematical(self) -> bool:
        """Whether answers are compared by ``answers.math``."""
        return self._by_math

    @property
    def _by_math(self) -> bool:
        return self._reading.compared == "math"

    def _check_worked(self) -> None:
        """Refuse a worked example whose own answer cannot be read back, or that is cut short."""
        question = Question("", tuple((k, k * 3) for k in "ABCD"))
        tried = _TRIED_WITH.get(self._reading.compared, _TRIED)
        texts = [self.worked("It follows.", answer) for answer in tried]
        found = [self.read(text, question) for text in texts]
        if not any(f is not None and self.equal(f, a) for f, a in zip(found, tried, strict=True)):
            raise TaskError(
                f"task.options.worked: {texts[0]!r} is read as {found[0]!r}, not as its answer "
                f"{tried[0]!r}: give task.options.worked a text with {{rationale}} and {{answer}} "
                f"from which task.options.read (kind {self.options.kind}) reads that answer"
            )
        if cut := next((stop for stop in self.stop if stop in texts[0]), None):
            raise TaskError(
                f"task.options.stop: {cut!r} is part of {texts[0]!r}, which task.options.worked "
                "makes, so answers would be cut off: give another stop text"
            )


def _optional(row: Mapping[str, Any], name: str | None) -> str:
    """A field as text; empty if it is blank or missing."""
    value = None if name is None else data.value_of(row, name)
    blank = value is None or (isinstance(value, str) and not value.strip())
    return "" if name is None or blank else data.text(row, name)
