r"""Numbers as they are written: 1.5, 0.1\overline{6}, and mixed numbers such as 1\frac{1}{2}."""

from __future__ import annotations

from fractions import Fraction

from star_mlx.answers.math.cursor import Cursor
from star_mlx.answers.math.limits import Unreadable
from star_mlx.answers.math.tokens import Token
from star_mlx.answers.math.values import Node, number

CUT_DIGITS = "the digits after its \\frac have more than one reading"


def plain_number(cursor: Cursor) -> Node:
    """The number that follows, without a fraction behind it."""
    cursor.at += 1
    return number(Fraction(cursor.tokens[cursor.at - 1].text))


def written_number(cursor: Cursor) -> Node:
    """The number that follows, with the fraction of a mixed number or a repeating part.

    Raises:
        Unreadable: the fraction behind it is not less than 1.
    """
    text = cursor.tokens[cursor.at].text
    cursor.at += 1
    if cursor.next() == "." and cursor.next(1) == "overline" and not cursor.spaced():
        cursor.at += 1
        text += "."
    if "." in text:
        return _repeating(cursor, text) if cursor.next() == "overline" else number(Fraction(text))
    part = _written_fraction(cursor) if cursor.next() == "frac" else _slashed_fraction(cursor)
    return number(int(text) + part)


def _repeating(cursor: Cursor, text: str) -> Node:
    r"""0.1\overline{6} is 1/6."""
    cursor.at += 1
    digits = cursor.braced()
    if not digits.isdecimal():
        raise Unreadable("its line over digits has something else below it")
    whole, _, places = text.partition(".")
    plain = Fraction(f"{whole}.{places or 0}")
    return number(plain + Fraction(int(digits), (10 ** len(digits) - 1) * 10 ** len(places)))


def _written_fraction(cursor: Cursor) -> Fraction:
    r"""The \frac of a mixed number; 0 if it is one of other things than digits, a factor."""
    begin, kept = cursor.at, list(cursor.tokens)
    cursor.at += 1
    top, bottom = _digits(cursor), _digits(cursor)
    if not top or not bottom or cursor.next() == "^":
        cursor.at, cursor.tokens = begin, kept
        return Fraction(0)
    if kept != cursor.tokens and cursor.kind() == "number" and not cursor.spaced():
        raise Unreadable(CUT_DIGITS)
    if int(top) >= int(bottom):
        raise Unreadable("its number before a fraction has more than one reading")
    return Fraction(int(top), int(bottom))


def _digits(cursor: Cursor) -> str:
    """The digits in braces that follow, or a single digit; empty if it is anything else."""
    if cursor.kind() != "number":
        digits = cursor.braced()
        return digits if digits.isdecimal() else ""
    digits = cursor.tokens[cursor.at].text
    if "." in digits:
        return ""
    take_digit(cursor)
    return digits[0]


def take_digit(cursor: Cursor) -> bool:
    """Read the first digit of the number that follows; whether it has more, which are left."""
    token = cursor.tokens[cursor.at]
    if len(token.text) == 1:
        cursor.at += 1
        return False
    cursor.tokens[cursor.at] = Token("number", token.text[1:])
    return True


def _slashed_fraction(cursor: Cursor) -> Fraction:
    """The fraction of 1 3/4; 0 if none follows."""
    if (
        [cursor.kind(0), cursor.next(1), cursor.kind(2)] == ["number", "/", "number"]
        and cursor.spaced()
        and cursor.next(3) not in ("^", "/", "!")
    ):
        top, bottom = (Fraction(cursor.tokens[cursor.at + ahead].text) for ahead in (0, 2))
        if top.denominator == bottom.denominator == 1 and top < bottom:
            cursor.at += 3
            return top / bottom
    return Fraction(0)
