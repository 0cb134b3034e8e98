"""Read the answer from a completion, and compare answers.

Every function here is pure and takes any text. "No answer" is None, which is not a wrong answer.
The reading is in ``numerals``, ``completion`` and ``choices``; ``steps`` checks GSM8K's
calculations.

May import ``types``.
"""

from __future__ import annotations

import re
import threading
import unicodedata

from star_mlx.answers.choices import choice
from star_mlx.answers.completion import final_number
from star_mlx.answers.numerals import SCALE, last_number, number
from star_mlx.errors import TaskError

__all__ = [
    "after",
    "choice",
    "final_number",
    "gold_number",
    "last_number",
    "normalized",
    "number",
    "same_math",
    "same_number",
    "same_text",
]

MATH_SECONDS = 5  # how long math-verify may think about one comparison


def after(text: str, marker: str) -> str | None:
    """The text after the last occurrence of a marker, to the end of its line.

    Case does not matter; a final full stop is removed. None without the marker or with nothing
    after it.
    """
    ends = [found.end() for found in re.finditer(re.escape(marker), text, re.IGNORECASE)]
    if not ends:
        return None
    line = text[ends[-1] :].split("\n", 1)[0].strip()
    return line.removesuffix(".").rstrip() or None


def normalized(text: str) -> str:
    """A text without differences that do not matter: case, width, spaces, quotes, a final stop."""
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    text = text.strip("\"'`“”‘’«» ")
    return text.removesuffix(".").strip("\"'`“”‘’«» ")


def same_text(a: str, b: str) -> bool:
    """Whether two texts are the same after ``normalized``."""
    return normalized(a) == normalized(b)


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
    """Whether two mathematical expressions are the same, or equal according to math-verify.

    Raises:
        TaskError: math-verify is needed and not installed.
    """
    if same_text(answer, gold) or same_number(answer, gold):
        return True
    try:
        from math_verify import parse, verify
    except ImportError:
        raise TaskError(
            'comparing expressions needs math-verify: pip install "star-mlx[math]"'
        ) from None
    # Its timeout is a signal, which Python allows on the main thread only.
    limit = MATH_SECONDS if threading.current_thread() is threading.main_thread() else None
    values = [parse(f"${text}$", parsing_timeout=limit) for text in (gold, answer)]
    return bool(all(values) and verify(values[0], values[1], timeout_seconds=limit))


def gold_number(text: str) -> str:
    """The answer of a GSM8K row's ``answer`` field: after its last "####", else the text itself.

    Raises:
        TaskError: there is no number.
    """
    answer = text.rpartition("####")[2].strip()
    value = last_number(answer)
    if value is None or number(answer) is None:
        raise TaskError(f"the answer {answer[:60]!r} is no number")
    return value
