"""How long, deep and large an answer may be. Every limit is checked before the work it bounds.

The limits are on the text and on the size of results, not on time, so that a verdict is the same on
every machine. ``SECONDS`` is only a net below them.
"""

from __future__ import annotations

import re

LONGEST = 4_000  # characters of an answer
MOST_DIGITS = 600  # of one numeral
DEEPEST = 40  # brackets and braces inside each other
MOST_TOKENS = 1_500
MOST_ITEMS = 300  # of a set, list or matrix
MOST_PAIRS = 10_000  # comparisons of the members of two sets
MOST_BITS = 100_000  # of an exact integer, as the result of a power or factorial
MOST_PRECISION = 40_000  # bits of a floating-point number
LARGEST_FACTORIAL = 5_000
SECONDS = 5.0  # that one comparison may take

_DIGITS = re.compile(rf"[0-9]{{{MOST_DIGITS + 1}}}")
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")


class Unreadable(Exception):
    """A text that is no answer in a form that is known; the message is the reason."""


class Undecided(Exception):
    """A comparison that cannot be decided; the message is the reason."""


def check(text: str) -> None:
    """Refuse a text that is too long or too deep to be read.

    Raises:
        Unreadable: it is.
    """
    if len(text) > LONGEST:
        raise Unreadable(f"it has more than {LONGEST} characters")
    if _DIGITS.search(text):
        raise Unreadable(f"a number in it has more than {MOST_DIGITS} digits")
    depth = 0
    for character in text:
        if character in _OPEN:
            depth += 1
            if depth > DEEPEST:
                raise Unreadable(f"its brackets are more than {DEEPEST} deep")
        elif character in _CLOSE and depth:
            depth -= 1
