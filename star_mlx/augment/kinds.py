"""The kinds of augmented questions, and what a question of each kind is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from star_mlx.augment import statements
from star_mlx.augment.backward import CHOICES, backward
from star_mlx.augment.masking import Masked
from star_mlx.types import Problem, Question, Task

TYPES = {"ansaug": "AnsAug", "rephrase": "Rephrased", "sv": "SV", "fobar": "FOBAR"}
KINDS = tuple(TYPES)  # in the order of their rows
REWRITTEN = ("rephrase", "sv")  # a model writes their questions
BACKWARD = ("sv", "fobar")  # they ask for a number of the original question
_PREFIXES = {"gsm8k": "GSM", "math": "MATH"}  # of a row's type, as MetaMathQA names it
_VARIABLES = "has both variables, x and X"


@dataclass(frozen=True, slots=True)
class NewQuestion:
    """A question of a kind: the problem it was made of, and the problem to ask.

    ``masked`` says what was replaced: in the original question, or for ``sv`` in its statement.
    """

    kind: str
    original: Problem
    problem: Problem
    masked: Masked | None = None


Refused = Callable[[str], None]  # called with each reason why something gives no question


def type_of(task: str, kind: str) -> str:
    """The type of a row, as MetaMathQA names it: GSM_FOBAR; MY_TASK_FOBAR for other tasks."""
    prefix = _PREFIXES.get(task) or re.sub(r"\W+", "_", task).upper()
    return f"{prefix}_{TYPES[kind]}"


def is_latex(task: Task) -> bool:
    """Whether the questions and answers of a task are LaTeX."""
    return bool(getattr(task, "mathematical", False))


def same(problem: Problem) -> NewQuestion:
    """AnsAug: the question as it is."""
    return NewQuestion("ansaug", problem, problem)


def rephrased(problem: Problem, number: str, text: str) -> NewQuestion:
    """A question in other words, of the rewriting with this number; its choices stay."""
    asked = Question(text, problem.question.choices)
    name = f"{problem.id}/rephrase-{number}"
    return NewQuestion(
        "rephrase", problem, replace(problem, id=name, question=asked, rationale=None)
    )


def masked(problem: Problem, latex: bool, refused: Refused) -> Iterator[NewQuestion]:
    """FOBAR: a question for every number of the question that can be masked."""
    for one in backward(problem, latex):
        if one.reason:
            refused(one.reason)
        else:
            posed = Problem(f"{problem.id}/fobar-{one.place}", Question(one.query), one.answer)
            yield NewQuestion("fobar", problem, posed, one.masked)


def masked_statement(
    problem: Problem, number: str, statement: str, latex: bool, refused: Refused
) -> Iterator[NewQuestion]:
    """Self-verification: a question for every number of a faultless statement that can be
    masked."""
    found = list(statements.masked(problem, statement, latex))
    if not found:
        refused(_VARIABLES)
    for place, (query, answer, record) in enumerate(found, 1):
        posed = Problem(f"{problem.id}/sv-{number}-{place}", Question(query), answer)
        yield NewQuestion("sv", problem, posed, record)


def can_be_stated(problem: Problem, latex: bool) -> str:
    """Why a problem has no statement with a number to mask; empty if it may have one."""
    if problem.question.choices:
        return CHOICES
    if not any(not one.reason for one in backward(problem, latex)):
        return "the question has no number that can be masked"
    return ""
