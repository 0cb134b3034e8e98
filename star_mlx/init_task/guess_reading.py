"""Guess how the answers of a data file are read from a completion, with the reason.

It looks at the answers of a sample of the rows.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from star_mlx import answers, data
from star_mlx.errors import TaskError

SHORT = 80  # characters of an answer that a completion can be expected to give word for word
_MATH = re.compile(r"\\boxed|\\frac|\\sqrt|\\[a-z]+\{|\$|\w\^")


def guess_reading(
    rows: Sequence[Mapping[str, Any]],
    values: Sequence[Any],
    name: str,
    choices: str | list[str] | None,
) -> tuple[Mapping[str, Any], str] | None:
    """The options ``read`` for answers like these, and why; None if they cannot be graded.

    Args:
        rows: a sample of the rows.
        values: the answers in them that are not blank.
        name: the field of the answers.
        choices: the field of the choices, or the columns with one choice each, if there are any.
    """
    return _by_choice(rows, choices, name) if choices else _kind(_texts(values))


def _texts(values: Sequence[Any]) -> list[str]:
    """The values that can be text; a row whose answer cannot be is noticed when it is read."""
    found = []
    for value in values:
        try:
            found.append(data.text({"answer": value}, "answer"))
        except TaskError:
            continue
    return found


def _kind(texts: Sequence[str]) -> tuple[Mapping[str, Any], str] | None:
    """How answers like these are read, and why; None if they are too long to be compared."""
    if not texts:
        return None
    every = f"all {len(texts)}" if len(texts) > 1 else "the only one"
    tests: list[tuple[str, Callable[[str], bool], str]] = [
        ("last-number", lambda t: "####" in t and _is_number(t), "ends in #### and a number"),
        ("last-number", _is_number, "looks like a number"),
        ("math", lambda t: "\\boxed{" in t, "has a \\boxed answer"),
    ]
    for kind, test, what in tests:
        rest = [text for text in texts if not test(text)]
        share = 1 - len(rest) / len(texts)
        if share >= 0.95 or (share >= 0.8 and not any(map(_MATH.search, rest))):
            much = every if share == 1 else f"{share:.0%} of {len(texts)}"
            return {"kind": kind}, f"{much}: it {what}"
    if statistics.quantiles([len(t) for t in texts] * 2, n=20)[-1] > SHORT:
        return None
    if sum(bool(_MATH.search(t)) or _is_number(t) for t in texts) >= 0.9 * len(texts):
        return {"kind": "math"}, f"{every}: numbers and formulas"
    return {"kind": "marker", "marker": "The answer is"}, f"{every}: short texts"


def _is_number(text: str) -> bool:
    return answers.number(text.rpartition("####")[2]) is not None


def _by_choice(
    rows: Sequence[Mapping[str, Any]], choices: str | list[str], answer: str
) -> tuple[Mapping[str, Any], str] | None:
    """Whether the answers are among the choices: by label or text, or by position."""
    from star_mlx.tasks.jsonl import Jsonl
    from star_mlx.tasks.jsonl_options import Fields, JsonlOptions, Read

    spec = choices if isinstance(choices, str) else tuple(choices)
    for first, what in ((None, "labels or texts of the choices"), (0, "0 is the first choice"),
                        (1, "1 is the first choice")):  # fmt: skip
        options = JsonlOptions(
            path="sample.jsonl",
            fields=Fields(question="?", answer=answer, choices=spec),
            read=Read(kind="choice", count_from=first),
        )
        task, fit = Jsonl(options), 0
        for row in rows:
            try:
                fit += bool(task.pose_row({**row, "gold": None}).question.choices)
            except TaskError:
                continue
        if fit >= 0.95 * len(rows):
            read = {"kind": "choice"} if first is None else {"kind": "choice", "count_from": first}
            return read, f"{fit} of {len(rows)}: {what}"
    return None
