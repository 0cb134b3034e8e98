"""FOBAR: questions backwards (Jiang et al. 2023, arXiv 2308.07758), as MetaMath asks them.

A number of the question becomes x, the answer is given, and x is asked for. Its answer is known, so
an answer of a model can be checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from star_mlx.answers.accepted import accepted
from star_mlx.augment import masking
from star_mlx.augment.masking import Masked
from star_mlx.augment.numbers import find
from star_mlx.augment.written_number import WrittenNumber
from star_mlx.types import Problem

ASKED = (
    "If we know the answer to the above question is {answer}, what is the value of unknown "
    "variable {variable}?"
)
CHOICES = "the question has choices"
_PLAIN = re.compile(r"-?[0-9][0-9.,]*|[A-Za-z ]+")


@dataclass(frozen=True, slots=True)
class Backward:
    """A number of a problem and, if it can be masked, the question for it.

    ``place`` counts the numbers of the problem from 1. ``reason`` says why there is no question.
    """

    problem: Problem
    place: int
    number: WrittenNumber
    query: str = ""
    answer: str = ""
    masked: Masked | None = None
    reason: str = ""


def backward(problem: Problem, latex: bool = False) -> Iterator[Backward]:
    """Every number of a problem's question, in order.

    Args:
        problem: a question with its known answer.
        latex: whether its question and its answer are LaTeX.
    """
    text = problem.question.text
    variable = masking.variable(text, masking.names(latex), latex)
    for place, number in enumerate(find(text, latex), 1):
        why = CHOICES if problem.question.choices else masking.why_not(number, variable)
        if why or variable is None:
            yield Backward(problem, place, number, reason=why)
            continue
        masked, record = masking.mask(text, number, variable)
        asked = ASKED.format(answer=_given(problem.answer, latex), variable=variable)
        query = f"{masked}\n{asked}"
        yield Backward(problem, place, number, query, masking.answer_of(number), record)


def _given(answer: str, latex: bool) -> str:
    """The answer as the question gives it: the first of several, a formula between dollar signs."""
    first = accepted(answer)[0]
    return f"${first}$" if latex and not _PLAIN.fullmatch(first) else first
