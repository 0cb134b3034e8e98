"""Read the answer from a completion, and compare answers.

Every function here is pure and takes any text. "No answer" is None, which is not a wrong answer.
The reading is in ``numerals`` and ``completion`` (a number), ``quantities`` and ``units``,
``choices``, ``yes_no``, ``several`` (sets and lists) and ``statement`` (texts); ``thinking`` finds
the text after a model's thinking; ``steps`` checks GSM8K's annotations, and ``prose`` every
equation of a rationale in words and LaTeX; ``math`` compares mathematical answers, in a process of
its own.

May import ``types``.
"""

from __future__ import annotations

from star_mlx.answers.accepted import accepted, joined
from star_mlx.answers.choices import choice
from star_mlx.answers.completion import final_number
from star_mlx.answers.notation import Notation
from star_mlx.answers.numerals import SCALE, last_number, number
from star_mlx.answers.quantities import final_quantity, quantity, same_quantity
from star_mlx.answers.several import final_several, parts, same_list, same_set
from star_mlx.answers.statement import (
    MARKER,
    after,
    brief,
    forms,
    normalized,
    same_statement,
    same_text,
    stated,
)
from star_mlx.answers.yes_no import YesNo
from star_mlx.errors import TaskError

__all__ = [
    "MARKER",
    "Notation",
    "YesNo",
    "accepted",
    "after",
    "brief",
    "choice",
    "final_number",
    "final_quantity",
    "final_several",
    "forms",
    "gold_number",
    "joined",
    "last_number",
    "normalized",
    "number",
    "parts",
    "quantity",
    "same_list",
    "same_math",
    "same_number",
    "same_quantity",
    "same_set",
    "same_statement",
    "same_text",
    "stated",
]

_PLAIN = 16  # digits of a number that is surely written as it is read


def same_number(answer: str, gold: str) -> bool:
    """Whether two texts are the same number: 18 is 18.0 is "$18", 1/2 is 0.5, 25 is not 5."""
    a, b = number(answer), number(gold)
    if a is not None and a != b and (scaled := SCALE.search(answer)):
        # "4 million" is the answer 4 as well, where millions are asked for.
        a = number(answer[: scaled.start()])
    if a is None and b is None:
        return answer.strip() == gold.strip() != "" and last_number(answer) is not None
    return a is not None and a == b


def same_math(answer: str, gold: str) -> bool:
    """Whether two mathematical expressions have the same value (``answers.math.judge``).

    False also if that is undecided.

    Raises:
        TaskError: mpmath is needed and not installed.
    """
    from star_mlx.answers.math import judge  # starts no process before it is needed

    return judge(answer, gold).decision == "right"


def gold_number(text: str) -> str:
    """The answer of a GSM8K row's ``answer`` field: after its last "####", else the text itself.

    Raises:
        TaskError: there is no number.
    """
    answer = text.rpartition("####")[2].strip()
    if len(answer) < _PLAIN and answer.isascii() and answer.isdigit():
        return answer  # as below, in a fortieth of the time: there may be millions of rows
    value = last_number(answer)
    if value is None or number(answer) is None:
        raise TaskError(f"the answer {answer[:60]!r} is no number")
    return value
