"""What other programs' rules say about an answer, to find mistakes in ours."""

from __future__ import annotations

import logging

from star_mlx.answers.math import metamath
from star_mlx.errors import TaskError

LONGEST = 1_000  # characters; math-verify has no limits of its own


def opinions(answer: str, gold: str) -> dict[str, bool | None]:
    """The verdict of each; None if it could not read the answer or the right answer.

    Raises:
        TaskError: math-verify is not installed.
    """
    return {"math-verify": _math_verify(answer, gold), "metamath": metamath.equal(answer, gold)}


def _math_verify(answer: str, gold: str) -> bool | None:
    """The verdict of math-verify, asked in the direction that it has: the right answer first."""
    try:
        from math_verify import parse, verify
    except ImportError:
        raise TaskError(
            'a second opinion needs math-verify: pip install "star-mlx[math]"'
        ) from None
    logging.disable(logging.WARNING)  # that there is no time limit; the process has one
    if max(len(answer), len(gold)) > LONGEST:
        return None
    try:
        right, given = (parse(f"${text}$", parsing_timeout=None) for text in (gold, answer))
        if not right or not given:
            return None
        return bool(verify(right, given, timeout_seconds=None))
    except Exception:  # of sympy or its parsers, on text that is any: it could not say
        return None
