"""Self-verification (Weng et al. 2023, arXiv 2212.09561), as MetaMath asks it: the question and its
answer as a statement, in which a number of the question becomes x."""

from __future__ import annotations

from collections.abc import Iterator

from star_mlx.answers.accepted import accepted
from star_mlx.answers.numerals import number as number_of
from star_mlx.answers.numerals import written
from star_mlx.augment import masking
from star_mlx.augment.masking import Masked
from star_mlx.augment.numbers import find
from star_mlx.augment.rephrasing import ADDS, LACKS, amounts
from star_mlx.types import Problem

LACKS_ANSWER = "it lacks the answer"
ASKED = "What is the value of unknown variable {variable}?"


def fault(problem: Problem, statement: str, latex: bool = False) -> str:
    """Why a statement does not say what a question and its answer do; empty if nothing is missing.

    It may have no question mark, and must have every number of the question that can be masked, as
    often as the question, and the answer besides, but no other number: one that was calculated, or
    one said twice, could give away the number that is masked.

    >>> from star_mlx.types import Question
    >>> problem = Problem("p", Question("Ann has 3 bags of 4 nuts. How many nuts?"), "12")
    >>> fault(problem, "Ann has 3 bags of nuts. She has 12 nuts.")
    'it lacks the number 4'
    """
    if not statement.strip():
        return "it is empty"
    if "?" in statement:
        return "it has a question mark"
    has = amounts(find(statement, latex))
    wanted = amounts(find(problem.question.text, latex))
    if missing := wanted - has:
        return f"{LACKS} {written(next(iter(missing)))}"
    answer = accepted(problem.answer)[0]
    value = number_of(answer)
    if value is not None:
        there = (has - wanted)[value] > 0
        wanted[value] += 1
    else:
        there = answer.casefold() in statement.casefold()
        wanted += amounts(find(answer, latex))
    if not there:
        return f"{LACKS_ANSWER} {answer}"
    added = has - wanted
    return f"{ADDS}, {written(next(iter(added)))}" if added else ""


def masked(
    problem: Problem, statement: str, latex: bool = False
) -> Iterator[tuple[str, str, Masked]]:
    """The statement with the variable in place of each number of the question in turn, and what is
    asked for: (query, answer, record). The answer's own number is left: the last of its value.

    Yields nothing if the statement has a ``fault``, or both variables in it.
    """
    variable = masking.variable(statement, masking.names(latex), latex)
    if variable is None or fault(problem, statement, latex):
        return
    wanted = amounts(find(problem.question.text, latex))
    numbers = [n for n in find(statement, latex) if not n.reason]
    value = number_of(accepted(problem.answer)[0])
    last = max((i for i, n in enumerate(numbers) if n.value == value), default=-1)
    for i, number in enumerate(numbers):
        if i == last or number.value not in wanted:
            continue
        text, record = masking.mask(statement, number, variable)
        query = f"{text.rstrip()} {ASKED.format(variable=variable)}"
        yield query, masking.answer_of(number), record
