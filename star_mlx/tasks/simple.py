"""The base class of a user's own task, which needs only a method that returns its problems."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from star_mlx import answers
from star_mlx.tasks.written import WordTask, gold, question_text
from star_mlx.types import Problem, Question, Split

MARKER = "The answer is"


class SimpleTask(WordTask):
    """A task of your own: subclass it and write ``problems``; everything else has a default.

    A question is asked as ``Q: ...`` with ``A:`` on the next line, and a completion ends in "The
    answer is ...". The answer is compared as a number if it is one, else as text. Override
    ``ask``, ``worked``, ``read`` or ``equal`` for another form; see ``types.Task`` for each.

    Attributes:
        name: the name of the task; by default the name of the class in lower case.
        few_shot: the worked examples of the prompt, each with a rationale. Without any, give
            ``prompts.file``, or ``prompts.k`` to draw them from the problems' rationales.

    A task with parameters is a dataclass: its fields are recorded as the task's options.

    >>> import star_mlx as sx
    >>> class Halves(sx.SimpleTask):
    ...     few_shot = [sx.Problem("e1", sx.Question("Half of 6?"), "3", rationale="3 + 3 = 6.")]
    ...
    ...     def problems(self, split):
    ...         first = {"train": 10, "dev": 110, "test": 210}[split]
    ...         return [
    ...             sx.Problem(str(n), sx.Question(f"Half of {n}?"), str(n // 2))
    ...             for n in range(first, first + 100, 2)
    ...         ]
    >>> task = Halves()
    >>> print(task.ask(task.problems("train")[0].question))
    Q: Half of 10?
    A:
    >>> task.read(" 5 + 5 = 10. The answer is 5.", sx.Question("Half of 10?"))
    '5'
    """

    name = ""
    few_shot: Sequence[Problem] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in vars(cls):
            cls.name = cls.__name__.lower()

    @abstractmethod
    def problems(self, split: Split) -> Sequence[Problem]:
        """The problems of ``"train"``, ``"dev"`` or ``"test"``, each with a unique id, and no
        question in two splits. It is called often and must return the same problems every time."""

    def settings(self) -> Mapping[str, Any]:
        if not dataclasses.is_dataclass(self):
            return {}
        fields = ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))
        return {name: list(v) if isinstance(v, tuple) else v for name, v in fields}

    def pose(self, text: str) -> Problem:
        """A question as a user types it; the answer is known if it is a train or dev problem."""
        posed = super().pose(text)
        known = (p for split in _LOOKED_UP for p in self.problems(split))
        return next((p for p in known if p.question == posed.question), posed)

    def pose_row(self, row: Mapping[str, Any]) -> Problem:
        """The problem of a row with a ``question`` and a ``gold`` or ``answer``."""
        question = Question(question_text(row, "question"))
        return Problem(str(row.get("id") or ""), question, gold(row, "answer"))

    def worked(self, rationale: str | None, answer: str) -> str:
        return f" {MARKER} {answer}." if rationale is None else f" {rationale} {MARKER} {answer}."

    def read(self, completion: str, question: Question) -> str | None:
        if question.choices:
            labels, texts = zip(*question.choices, strict=True)
            return answers.choice(completion, labels, texts)
        return answers.after(completion, MARKER)

    def equal(self, answer: str, gold: str) -> bool:
        return answers.same_number(answer, gold) or answers.same_statement(answer, gold)


_LOOKED_UP: tuple[Split, ...] = ("train", "dev")
