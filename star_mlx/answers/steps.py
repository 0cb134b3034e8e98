"""The calculator steps of GSM8K rationales: ``<<9*2=18>>18``.

Expressions are evaluated by the parser below over fractions, never by Python. Every size is
bounded: the text, the nesting, and the bits of a value, so that no power can take long.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

DEEPEST = 40  # brackets, signs and powers inside one another
MOST_BITS = 4096  # of a value's numerator and denominator
LARGEST_POWER = 64

_STEP = re.compile(r"<<([^<>]{0,500})>>(?:(?=[$€£]? ?(-?[$€£]?[.0-9][0-9,./]{0,40}%?)))?")
_SAME = str.maketrans(
    {**dict.fromkeys("x×X·", "*"), **dict.fromkeys("−–", "-"), "÷": "/", "[": "(", "]": ")"}
)
_TOKEN = re.compile(
    r"\*\*|//|[-+*/^()%]|[0-9][0-9,]{0,60}(?:\.[0-9]{0,60})?|\.[0-9]{1,60}|[$€£\s]+|."
)
_NUMBER = re.compile(r"\.?[0-9]")
_STATED = re.compile(r"(-?)[$€£]? ?(-?)([0-9]{0,60}(?:\.[0-9]{0,60})?)(%?)\.?")


@dataclass(frozen=True, slots=True)
class Calculation:
    """One annotation: what was computed and the value it states.

    ``right`` is None if the expression or the value cannot be read. It is False if the value is
    wrong, or if the number written directly after the annotation differs from it.
    """

    expression: str
    value: str
    right: bool | None


def steps(text: str) -> list[Calculation]:
    """The calculator annotations of a rationale, in order."""
    found = []
    for match in _STEP.finditer(text):
        expression, _, value = match[1].rpartition("=")
        right = _right(expression, value)
        if right and match[2] is not None:
            right = _repeated(value, match[2])
        found.append(Calculation(expression.strip(), value.strip(), right))
    return found


def valid(text: str) -> bool | None:
    """Whether every annotation of a rationale is right; None where it has none."""
    found = steps(text)
    return all(step.right for step in found) if found else None


def evaluate(expression: str) -> Fraction | None:
    """The value of an expression of + - * / ^ % and brackets; None where it has none."""
    tokens = [t for t in _TOKEN.findall(expression[:500].translate(_SAME)) if t.strip("$€£ \t\n")]
    parser = _Parser(tokens)
    try:
        value = parser.sum(0)
    except _NoValueError:
        return None
    return value if parser.at == len(tokens) else None


@lru_cache(maxsize=4096)  # a repetition loop has the same one thousands of times
def _right(expression: str, value: str) -> bool | None:
    """Whether every side before the last comes to the stated value; None where one is unread."""
    stated = _stated(value)
    if stated is None:
        exact = evaluate(value)  # such as <<1/2=1/2>>
        stated = [(exact, Fraction(0))] if exact is not None else None
    values = [evaluate(side) for side in expression.split("=")[-4:]]
    if stated is None or None in values:
        return None
    return all(any(abs(v - s) <= off for s, off in stated) for v in values if v is not None)


def _stated(text: str) -> list[tuple[Fraction, Fraction]] | None:
    """The possible meanings of a stated value, each with half a unit of its last place.

    "20%" may be 20 or 0.2: the data has both.
    """
    match = _STATED.fullmatch(text.strip().replace(",", "").replace("−", "-"))
    if match is None or not match[3].strip("."):
        return None
    digits = match[3]
    value = Fraction(digits)
    value = -value if match[1] or match[2] else value
    off = Fraction(1, 2 * 10 ** len(digits.partition(".")[2]))
    return [(value, off), (value / 100, off / 100)] if match[4] else [(value, off)]


def _repeated(value: str, written: str) -> bool:
    """Whether the number after an annotation is the stated one, as exactly as it is written.

    Only a plain number is compared: in ``>>3/4`` or ``>>1.2.`` it is not clear where it ends.
    """
    a, b = _stated(value), _stated(written.rstrip("/.,"))
    if a is None or b is None:
        return True
    return any(abs(x - y) <= max(p, q) for x, p in a for y, q in b)


class _NoValueError(Exception):
    """The expression is none, divides by zero or grows too large."""


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0

    def sum(self, depth: int) -> Fraction:
        value = self.product(depth)
        while self.next in ("+", "-"):
            if self.take() == "+":
                value = _bounded(value + self.product(depth))
            else:
                value = _bounded(value - self.product(depth))
        return value

    def product(self, depth: int) -> Fraction:
        value = self.signed(depth)
        while self.next in ("*", "/", "//", "("):
            sign = "*" if self.next == "(" else self.take()  # 2(3+4) is a product
            by = self.signed(depth)
            if sign == "*":
                value = _bounded(value * by)
            elif by == 0:
                raise _NoValueError
            else:
                value = _bounded(value / by if sign == "/" else Fraction(value // by))
        return value

    def signed(self, depth: int) -> Fraction:
        if depth > DEEPEST:
            raise _NoValueError
        if self.next in ("+", "-"):
            sign = -1 if self.take() == "-" else 1
            return sign * self.signed(depth + 1)
        return self.power(depth)

    def power(self, depth: int) -> Fraction:
        value = self.atom(depth)
        while self.next == "%":
            self.take()
            value = _bounded(value / 100)
        if self.next not in ("^", "**"):
            return value
        self.take()
        exponent = self.signed(depth + 1)
        bits = max(value.numerator.bit_length(), value.denominator.bit_length())
        if (
            exponent.denominator != 1
            or abs(exponent) > LARGEST_POWER
            or bits * abs(exponent) > MOST_BITS
            or (value == 0 and exponent < 0)
        ):
            raise _NoValueError
        return Fraction(value) ** int(exponent)

    def atom(self, depth: int) -> Fraction:
        token = self.take()
        if token == "(":
            value = self.sum(depth + 1)
            if self.take() != ")":
                raise _NoValueError
            return value
        if _NUMBER.match(token):
            return Fraction(token.replace(",", ""))
        raise _NoValueError

    @property
    def next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.next
        self.at += 1
        return token


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MOST_BITS:
        raise _NoValueError
    return value
