"""Put a variable in place of one number of a text, exactly and reversibly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from star_mlx.answers.numerals import written
from star_mlx.augment import latex as in_latex
from star_mlx.augment.written_number import TAKEN, WrittenNumber
from star_mlx.errors import TaskError


@dataclass(frozen=True, slots=True)
class Masked:
    """What was replaced in a text: ``text[start:end]`` was ``text`` and became ``by``."""

    start: int
    end: int
    text: str
    by: str
    kind: str


def mask(text: str, number: WrittenNumber, variable: str) -> tuple[str, Masked]:
    """A text with the variable in place of a number, and the record that undoes it.

    >>> from star_mlx.augment.numbers import find
    >>> text = "It weighs 5kg."
    >>> mask(text, find(text)[0], "x")
    ('It weighs x kg.', Masked(start=10, end=11, text='5', by='x ', kind='integer'))
    """
    by = number.form.format(variable)
    record = Masked(number.start, number.end, number.text, by, number.kind)
    return text[: number.start] + by + text[number.end :], record


def restore(masked: str, record: Masked) -> str:
    """The text before ``mask``, character for character. Text added at its end is left.

    Raises:
        TaskError: the record is of another text.
    """
    end = record.start + len(record.by)
    if masked[record.start : end] != record.by:
        raise TaskError(f"the record is of another text: it has no {record.by!r} there")
    return masked[: record.start] + record.text + masked[end:]


def variable(text: str, names: Sequence[str], latex: bool) -> str | None:
    """The first of the names that is no variable in the text; None if there is none.

    In a formula every letter is one, unless it is part of a command or of ``\\text{}``.
    """
    inside = in_latex.letters(text) if latex else ""
    for name in names:
        alone = re.search(rf"(?<![^\W\d_]){name}(?![^\W\d_])", text)
        if not alone and name not in inside:
            return name
    return None


def names(latex: bool) -> tuple[str, str]:
    """The names of the variable, as MetaMathQA has them: x, and X in competition mathematics."""
    return ("X", "x") if latex else ("x", "X")


def why_not(number: WrittenNumber, variable: str | None) -> str:
    """Why a number is not masked; empty if it can be."""
    return number.reason or ("" if variable else TAKEN)


def answer_of(number: WrittenNumber) -> str:
    """The value of a number that can be masked, as an answer: 3.5, 2500, 1/3."""
    assert number.value is not None
    return written(number.value)
