"""Rows of augmented questions, as MetaMathQA has them, and which answers become one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from star_mlx.answers import thinking
from star_mlx.answers.accepted import accepted
from star_mlx.augment.kinds import NewQuestion, type_of
from star_mlx.augment.overlap import words
from star_mlx.augment.yields import why_not
from star_mlx.types import Attempt

MARKER = "The answer is:"
ALIKE = "the same as another"
ONE_IS_KEPT = "another answer to the question is kept"
TOO_FEW = "too few answers agree"

Numbered = tuple[int, Attempt]  # the number of a sample, from 1


def kept(
    question: NewQuestion, attempts: Sequence[Attempt], agree: int
) -> tuple[list[Numbered], Counter[str]]:
    """The answers to a question that become rows, and why the others do not.

    All different right ones do, but of a rephrased question only the first, if at least ``agree``
    are right.
    """
    reasons = Counter(why for attempt in attempts if (why := why_not(attempt)))
    right = [(n, attempt) for n, attempt in enumerate(attempts, 1) if attempt.kept]
    if question.kind == "rephrase":
        enough = len(right) >= agree
        chosen, why = right[: int(enough)], ONE_IS_KEPT if enough else TOO_FEW
    else:
        first = {words(said(attempt)): (n, attempt) for n, attempt in reversed(right)}
        chosen, why = sorted(first.values(), key=lambda one: one[0]), ALIKE
    if left := len(right) - len(chosen):
        reasons[why] = left
    return chosen, reasons


def row(
    question: NewQuestion, chosen: Numbered, attempts: Sequence[Attempt], task: str, generator: str
) -> dict[str, Any]:
    """The row of one of the answers to a question."""
    number, attempt = chosen
    name = question.problem.id
    if question.kind == "ansaug":
        name = f"{name}/ansaug-{number}"
    elif question.kind == "fobar":
        name = f"{name}-{number}"
    right = sum(one.kept for one in attempts)
    made = {
        "id": name,
        "type": type_of(task, question.kind),
        "query": question.problem.question.as_text(),
        "original_question": question.original.question.as_text(),
        "response": response(attempt, question.problem.answer),
        "answer": accepted(question.problem.answer)[0],
        "generator": generator,
        "checked": {"right": right, "of": len(attempts)},
    }
    return made if question.masked is None else {**made, "masked": asdict(question.masked)}


def said(attempt: Attempt) -> str:
    """What an attempt says after any thinking."""
    return (thinking.said(attempt.completion) or attempt.completion).strip()


def response(attempt: Attempt, answer: str) -> str:
    """What an attempt says, ending in "The answer is: 3" as the responses of MetaMathQA do."""
    text, ending = said(attempt), f"{MARKER} {accepted(answer)[0]}"
    return text if text.endswith(ending) else f"{text}\n{ending}"
