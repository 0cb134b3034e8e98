"""A text against the right answer: right, wrong, or undecided with a reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from star_mlx.answers.math import compare
from star_mlx.answers.math.forms import read
from star_mlx.answers.math.limits import Undecided, Unreadable
from star_mlx.answers.math.values import Phrase, Region, Value

MathVerdict = Literal["right", "wrong", "undecided"]

_PLAIN = re.compile(
    r"(-?)(?:(\d{1,18}(?:\.\d{1,18})?)|\\[dt]?frac\{(-?\d{1,18})\}\{(\d{1,18})\})", re.A
)

_WORDS = re.compile(r"[^\W\d_]+(?:[ ,]+[^\W\d_]+)*")


@dataclass(frozen=True, slots=True)
class Judged:
    """A decision with its reason, which is empty unless it is undecided."""

    decision: MathVerdict
    reason: str = ""


RIGHT, WRONG = Judged("right"), Judged("wrong")


def at_once(answer: str, gold: str) -> Judged | None:
    """The decision on two plain numbers, or on the same text twice; None for all others."""
    answer, gold = answer.strip(), gold.strip()
    if answer == gold:
        return RIGHT
    a, b = plain_number(answer), plain_number(gold)
    if a is None or b is None:
        return None
    return RIGHT if a == b else WRONG


def plain_number(text: str) -> Fraction | None:
    """The value of a text that is an integer, a decimal or a fraction of integers."""
    match = _PLAIN.fullmatch(text)
    if match is None:
        return None
    sign = -1 if match[1] else 1
    if match[2]:
        return sign * Fraction(match[2])
    return sign * Fraction(int(match[3]), int(match[4])) if int(match[4]) else None


@lru_cache(maxsize=2_000)
def readings(text: str) -> tuple[Value, ...]:
    """As ``forms.read``; a right answer is compared with many."""
    return read(text)


def judged(answer: str, gold: str) -> Judged:
    """Compare an answer with the right answer, in this process and without a time limit.

    Everything is bounded by ``limits``, but ``checker.judge`` is what to call: it works in a
    process that can be ended.
    """
    known = at_once(answer, gold)
    if known is not None:
        return known
    try:
        golds = readings(gold)
    except Unreadable as error:
        return Judged("undecided", f"the right answer cannot be read: {error}")
    try:
        answers = readings(answer)
    except Unreadable as error:
        return Judged("undecided", f"the answer cannot be read: {error}")
    reason = ""
    for one in answers:
        for other in golds:
            try:
                if compare.same(one, other):
                    if isinstance(one, Phrase | Region) or not _other_words(answer, gold):
                        return RIGHT
                    reason = reason or "they are other words, or the same product of letters"
            except Undecided as error:
                reason = reason or str(error)
    return Judged("undecided", reason) if reason else WRONG


def _other_words(answer: str, gold: str) -> bool:
    """Whether both are nothing but words, and not the same ones: seat and east."""
    texts = [text.strip(" .").casefold() for text in (answer, gold)]
    if not all(_WORDS.fullmatch(text) for text in texts):
        return False
    words = [sorted(set(re.findall(r"\w+", text)) - {"and", "or"}) for text in texts]
    return words[0] != words[1] and any(len(word) > 2 for both in words for word in both)


def unreadable(gold: str) -> str:
    """Why a right answer cannot be read; empty if it can."""
    try:
        readings(gold)
    except Unreadable as error:
        return str(error)
    return ""
