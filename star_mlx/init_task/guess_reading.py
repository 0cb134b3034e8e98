"""Guess how the answers of a data file are read from a completion, with the reason.

It looks at the answers of a sample of the rows, and prefers a way in which all of them are read
back from their usual wordings.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, get_args

from star_mlx import answers, data
from star_mlx.answers.notation import Notation
from star_mlx.errors import TaskError
from star_mlx.init_task.wordings import unread
from star_mlx.tasks.jsonl import Jsonl
from star_mlx.tasks.jsonl_options import Fields, JsonlOptions, Read, ReadKind
from star_mlx.types import Question

SHORT = 80  # characters of an answer that a completion can be expected to give word for word
_MOST_TRIED = 50  # different answers of the sample
_MATH = re.compile(r"\\boxed|\\frac|\\sqrt|\\[a-z]+\{|\$|\w\^")

# Numbers that are written with a comma, or with a stop, before the decimals for certain.
_COMMA = re.compile(
    r"(?<![0-9.,])(?:[0-9]{1,3}(?:[. '’\u00a0\u202f][0-9]{3})+|[0-9]+),"
    r"(?:[0-9]{1,2}|[0-9]{4,})(?![0-9.,])"
)
_STOP = re.compile(
    r"(?<![0-9.,])(?:[0-9]+\.(?:[0-9]{1,2}|[0-9]{4,})|[0-9]{1,3}(?:,[0-9]{3})+\.[0-9]+)(?![0-9.,])"
)
_GROUPS = re.compile(r"(?<![0-9.,'’])[0-9]{1,3}([ \u00a0\u202f'’])[0-9]{3}(?![0-9])")
_PAIR = re.compile(r"\s*[(\[][^()\[\]]*[,;][^()\[\]]*[)\]]\s*\Z")  # a point or an interval
_BARS = re.compile(r"[^|\s][^|]*\|[^|]*[^|\s]")

# The words for yes and no, beside the English ones.
_YES_NO = (
    ("yes", "no"), ("true", "false"), ("y", "n"), ("t", "f"), ("ja", "nein"), ("wahr", "falsch"),
    ("richtig", "falsch"), ("oui", "non"), ("vrai", "faux"), ("sí", "no"), ("si", "no"),
    ("verdadero", "falso"), ("sì", "no"), ("vero", "falso"), ("sim", "não"), ("sim", "nao"),
    ("ja", "nee"), ("ja", "nej"), ("ja", "nei"), ("tak", "nie"), ("да", "нет"), ("так", "ні"),
    ("evet", "hayır"), ("是", "否"), ("是", "不是"), ("对", "错"), ("はい", "いいえ"),
    ("예", "아니요"), ("네", "아니요"), ("نعم", "لا"), ("हाँ", "नहीं"), ("ναι", "όχι"),
)  # fmt: skip
_KNOWN = {"yes", "no", "true", "false"}

_Found = tuple[dict[str, Any], str]


def guess_reading(
    rows: Sequence[Mapping[str, Any]],
    values: Sequence[Any],
    name: str,
    choices: str | list[str] | None,
    kind: str | None = None,
) -> tuple[Mapping[str, Any], str] | None:
    """The options ``read`` for answers like these, and why; None if they cannot be graded.

    Args:
        rows: a sample of the rows.
        values: the answers in them that are not blank; each of a list for itself.
        name: the field of the answers.
        choices: the field of the choices, or the columns with one choice each, if there are any.
        kind: ``read.kind``, if it should not be guessed.

    Raises:
        TaskError: the kind is none, or cannot be written without more options.
    """
    if kind is not None:
        _check_kind(kind, choices)
    if choices and kind in (None, "choice"):
        return _by_choice(rows, choices, name)
    texts = _texts(values)
    if not texts:
        return None
    accept, split = _accepted(texts)
    texts = split if accept else texts
    numeric = _lists_of_numbers(rows, name)
    found = _given(kind, texts) if kind else None
    tried = [found] if found else [*_candidates(texts, numeric)]
    fits = (read for read in tried if kind or _reads_back(read[0], texts, numeric))
    best = next(fits, tried[-1] if tried else None)  # one that does not is refused later, by name
    return best and ({**best[0], **accept}, best[1])


def _check_kind(kind: str, choices: str | list[str] | None) -> None:
    kinds = [known for known in get_args(ReadKind) if known != "regex"]
    if kind == "regex":
        raise TaskError(
            "--read regex needs a pattern: give another kind, and write read.kind and read.pattern "
            "into the recipe"
        )
    if kind not in kinds:
        raise TaskError(f"--read {kind}: there are {', '.join(kinds)}")
    if kind == "choice" and not choices:
        raise TaskError("--read choice needs choices: name their field with --choices FIELD")


def _texts(values: Sequence[Any]) -> list[str]:
    """The values that can be text; a row whose answer cannot be is noticed when it is read."""
    found = []
    for value in values:
        try:
            found.append(data.text({"answer": value}, "answer"))
        except TaskError:
            continue
    return found


# --------------------------------------------------------------------------- kinds


def _given(kind: str, texts: Sequence[str]) -> _Found:
    """The options of a kind that is given, with the marks and words of the data."""
    read: dict[str, Any] = {"kind": kind}
    if kind == "yes-no":
        read |= _yes_no(texts) or {}
    if kind in ("last-number", "number", "set", "list"):
        read |= _notation(texts)
    if kind == "marker":
        read["marker"] = "The answer is"
    return read, "--read " + kind


def _candidates(texts: Sequence[str], numeric: list[list[Any]]) -> Iterator[_Found]:
    """The kinds that texts look like, the most exact ones first."""
    every = f"all {len(texts)}" if len(texts) > 1 else "the only one"
    words = _yes_no(texts)
    if words is not None:
        yield {"kind": "yes-no", **words}, f"{every}: yes or no"
    marks = _notation(texts)
    notation = Notation(**marks)
    if numeric:
        kind = "list" if any(len({*map(str, one)}) < len(one) for one in numeric) else "set"
        yield {"kind": kind, **marks}, f"all {len(numeric)}: lists of numbers"
    for kind, what, share in _numbers(texts, notation):
        much = every if share == 1 else f"{share:.0%} of {len(texts)}"
        found = {} if kind == "math" else marks
        yield {"kind": kind, **found}, f"{much}: it {what}"
    if several := _several(texts, notation):
        yield {"kind": several, **marks}, f"{every}: numbers, some of them several"
    if statistics.quantiles([len(t) for t in texts] * 2, n=20)[-1] > SHORT:
        return
    if sum(bool(_MATH.search(t)) or _is_number(t, notation) for t in texts) >= 0.9 * len(texts):
        yield {"kind": "math"}, f"{every}: numbers and formulas"
    yield {"kind": "marker", "marker": "The answer is"}, f"{every}: short texts"


def _numbers(texts: Sequence[str], notation: Notation) -> Iterator[tuple[str, str, float]]:
    """The kinds for numbers, what a text looks like, and the share of the texts that do."""
    kind = "number" if len(_units(texts, notation)) > 1 else "last-number"
    units = " with a unit" if kind == "number" else ""

    def numeric(text: str) -> bool:
        return _is_number(text, notation)

    tests: list[tuple[str, Callable[[str], bool], str]] = [
        (kind, lambda t: "####" in t and numeric(t), f"ends in #### and a number{units}"),
        (kind, numeric, f"looks like a number{units}"),
        ("math", lambda t: "\\boxed{" in t, "has a \\boxed answer"),
    ]
    for kind, test, what in tests:
        rest = [text for text in texts if not test(text)]
        share = 1 - len(rest) / len(texts)
        if share >= 0.95 or (share >= 0.8 and not any(map(_MATH.search, rest))):
            yield kind, what, share


def _is_number(text: str, notation: Notation) -> bool:
    return answers.number(notation.standard(text.rpartition("####")[2])) is not None


def _units(texts: Sequence[str], notation: Notation) -> set[Any]:
    """The different known units of the numbers."""
    found = (answers.quantity(notation.standard(t.rpartition("####")[2])) for t in texts)
    return {one.units for one in found if one and one.units}


def _several(texts: Sequence[str], notation: Notation) -> str | None:
    """``set`` or ``list`` if the texts are numbers, and some are several; else None."""
    found = [answers.parts(text, notation) for text in texts]
    some = sum(len(one) > 1 for one in found)
    if some < 0.1 * len(texts) or any(isinstance(part, str) for part in chain(*found)):
        return None
    pairs = any(_PAIR.match(text) for text in texts)  # (1, 2) is another point than (2, 1)
    return "list" if pairs or any(len({*one}) < len(one) for one in found) else "set"


def _lists_of_numbers(rows: Sequence[Mapping[str, Any]], name: str) -> list[list[Any]]:
    """The answers that are lists of different numbers or of numbers not as text, if all are."""
    found = [value for row in rows if (value := data.value_of(row, name)) is not None]
    if not found or not all(isinstance(value, list) for value in found):
        return []
    inside = [*chain(*found)]
    numbers = inside and all(type(part) in (int, float) for part in inside)
    return found if numbers and any(len(value) > 1 for value in found) else []


# --------------------------------------------------------------------------- marks and words


def _notation(texts: Sequence[str]) -> dict[str, Any]:
    """``decimal`` and ``thousands`` of the numbers, where they are not those of 1,234.50."""
    commas = sum(bool(_COMMA.search(text)) and not _PAIR.match(text) for text in texts)
    decimal = "," if commas > sum(bool(_STOP.search(text)) for text in texts) else "."
    groups = {found[1] for text in texts for found in _GROUPS.finditer(text)}
    marks = {} if decimal == "." else {"decimal": decimal}
    if not groups or (decimal == "." and groups & {"'", "’"}):
        return marks
    return {**marks, "thousands": "'" if groups & {"'", "’"} else " "}


def _yes_no(texts: Sequence[str]) -> dict[str, Any] | None:
    """``yes`` and ``no`` if the texts are these words; None if they are others."""
    said = {answers.normalized(text) for text in texts}
    if said <= _KNOWN:
        return {}
    for yes, no in _YES_NO:
        if said == {yes, no}:
            return {"yes": [yes], "no": [no]}
    return None


def _accepted(texts: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """``accept`` if there are bars between several right answers, with all these answers."""
    some = [text for text in texts if _BARS.search(text)]
    mathematical = any(_MATH.search(text) or text.strip()[:1] == "|" for text in texts)
    if mathematical or len(some) < max(1, 0.05 * len(texts)):
        return {}, []
    return {"accept": "|"}, [part.strip() for t in texts for part in t.split("|") if part.strip()]


# --------------------------------------------------------------------------- trying


def _reads_back(read: Mapping[str, Any], texts: Sequence[str], numeric: list[list[Any]]) -> bool:
    """Whether the answers of the sample are read back from their usual wordings."""
    options = Read.model_validate(read)
    fields = Fields(question="q", answer="a")
    task = Jsonl(JsonlOptions(path="sample.jsonl", fields=fields, read=options))
    tried: list[Any] = [*dict.fromkeys(texts)][:_MOST_TRIED]
    if numeric:
        tried = numeric[:_MOST_TRIED]
    unusable = lost = 0
    for value in tried:
        try:
            gold = task.pose_row({"q": "?", "a": value}).answer
        except TaskError:
            unusable += 1
            continue
        lost += unread(task, gold, Question("?")) is not None
    return lost <= 0.05 * len(tried) and unusable < len(tried)


def _by_choice(
    rows: Sequence[Mapping[str, Any]], choices: str | list[str], answer: str
) -> _Found | None:
    """Whether the answers are among the choices: by label or text, or by position."""
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
