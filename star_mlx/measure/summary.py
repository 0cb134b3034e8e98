"""The summary of a run: a file of a few kB, enough to compare it with other runs pair by pair.

It has the verdict on every dev problem of every iteration, and the settings that are not those of
the task's recipe, but no text of the data or of a model. Problems are named by a hash of their
question and answer, so that runs are paired wherever they asked the same. Files come from
strangers: ``read`` checks all of one.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from star_mlx.errors import RecipeError, RunError
from star_mlx.formatting import clipped
from star_mlx.measure import compare, run_problems
from star_mlx.measure.run_problems import Known
from star_mlx.recipe import loading, provenance
from star_mlx.recipe.layers import leaves, shown
from star_mlx.store.reading import RunRecord
from star_mlx.types import Problem

VERSION = 1
LARGEST = 2_000_000  # bytes of a file
KEY = 10  # hexadecimal digits of a problem's hash
LONGEST = 200  # characters of a name or a setting

_MARKS = {True: "1", False: "0", None: "-"}
_Name = Annotated[str, Meta(min_length=1, max_length=LONGEST)]
_Text = Annotated[str, Meta(max_length=LONGEST)]
_Right = Annotated[str, Meta(pattern=r"^[01-]*\Z")]
_Count = Annotated[int, Meta(ge=0, le=1_000_000)]


class MeasuredIteration(msgspec.Struct, frozen=True):
    """The dev verdicts of an iteration, a sign a problem: ``1`` right, ``0`` not, ``-`` not
    measured."""

    iteration: _Count
    right: _Right


class RunSummary(msgspec.Struct, frozen=True):
    """The summary of a run. ``problems`` has the hashes of the dev problems one after the other,
    ``settings`` those that are not the recipe's, and ``zero_shot`` the verdicts on the base without
    examples, if it was measured."""

    star_mlx_summary: int
    name: _Name
    task: _Name
    base: _Text
    settings: Annotated[dict[_Text, _Text], Meta(max_length=300)]
    problems: Annotated[str, Meta(pattern=rf"^([0-9a-f]{{{KEY}}})+\Z")]
    iterations: Annotated[list[MeasuredIteration], Meta(min_length=1)]
    zero_shot: _Right = ""

    @property
    def keys(self) -> list[str]:
        """The hashes of the problems."""
        return [self.problems[i : i + KEY] for i in range(0, len(self.problems), KEY)]

    def verdicts(self, right: str) -> dict[str, bool]:
        """Problem -> right or not, of those that were measured."""
        return {k: sign == "1" for k, sign in zip(self.keys, right, strict=True) if sign != "-"}


# --------------------------------------------------------------------------- of a run


def of_run(record: RunRecord, name: str = "", known: Known | None = None) -> RunSummary:
    """Summarize a run.

    Args:
        record: the run.
        name: what it is called beside others; by default its folder's name.
        known: its problems, if they have been loaded.

    Raises:
        RunError: no iteration was measured on dev, the problems cannot be loaded, or a file of the
            run is damaged.
    """
    verdicts = {
        line.iteration: found
        for line in sorted(record.metrics, key=lambda line: line.iteration)
        if (found := compare.dev_verdicts(record, line.iteration))
    }
    if not verdicts:
        raise RunError(
            f"{record.path} has no dev verdicts, so it cannot be compared: star-mlx evaluate "
            f"{record.path} --iteration last makes them"
        )
    known = known or run_problems.of_run(record)
    if known.why_not:
        raise RunError(
            f"{record.path} cannot be summarized, since its problems cannot be read: "
            f"{known.why_not}"
        )
    zero_shot = compare.dev_verdicts(record, 0, zero_shot=True)
    ids = list(dict.fromkeys(id for found in (*verdicts.values(), zero_shot) for id in found))
    if strange := next((id for id in ids if id not in known.dev), None):
        raise RunError(
            f"{record.path} cannot be summarized: {clipped(strange)} is no dev problem of its data"
        )
    base = record.provenance.get("base") or {}
    return RunSummary(
        VERSION,
        _utf8(name or record.path.resolve().name)[:LONGEST],
        str(record.recipe.get("task", {}).get("name"))[:LONGEST],
        str(base.get("name", ""))[:LONGEST],
        settings(record),
        "".join(_keys(known.dev[id] for id in ids)),
        [MeasuredIteration(number, _signs(ids, found)) for number, found in verdicts.items()],
        _signs(ids, zero_shot) if zero_shot else "",
    )


def _utf8(text: str) -> str:
    """The name of a file, of which some bytes may be no text, as a text."""
    return text.encode("utf-8", "backslashreplace").decode()


def _keys(problems: Iterable[Problem]) -> Iterator[str]:
    """The hash of each problem; one that is asked again has another hash the second time."""
    seen: Counter[str] = Counter()
    for problem in problems:
        asked = f"{problem.question.as_text()}\0{problem.answer}"
        text = f"{asked}\0{seen[asked]}" if seen[asked] else asked
        seen[asked] += 1
        yield hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:KEY]


def _signs(ids: Sequence[str], verdicts: Mapping[str, bool]) -> str:
    return "".join(_MARKS[verdicts.get(id)] for id in ids)


def settings(record: RunRecord) -> dict[str, str]:
    """The settings of a run that are not those of its task's recipe, or of the defaults if there is
    none. Of a place on the run's machine only the last part of its name is kept."""
    name = str(record.recipe.get("task", {}).get("name"))
    try:
        usual = _flat(loading.resolved(loading.load(task=name)))
    except RecipeError:
        usual = {}
    found = _flat(record.recipe)
    return {
        key[:LONGEST]: shown(_placeless(value))[:LONGEST]
        for key, value in found.items()
        if usual.get(key) != value
    }


def _flat(recipe: Mapping[str, Any]) -> dict[str, Any]:
    values = provenance.placeless(provenance.complete(recipe))
    values.pop("endpoints", None)  # addresses of the servers, which are nobody else's business
    return leaves(values)


def _placeless(value: Any) -> Any:
    return os.path.basename(value) if isinstance(value, str) and os.path.isabs(value) else value


# --------------------------------------------------------------------------- a file


def encoded(summary: RunSummary) -> bytes:
    """A summary as the content of its file."""
    return msgspec.json.format(msgspec.json.encode(summary), indent=1) + b"\n"


def read(file: Path) -> RunSummary:
    """Read a summary, and check all of it.

    Raises:
        RunError: it cannot be read, is no summary, or does not agree with itself.
    """
    try:
        with open(file, "rb") as opened:
            data = opened.read(LARGEST + 1)
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror or error}") from None
    try:
        if len(data) > LARGEST:
            raise ValueError(f"it is larger than {LARGEST // 10**6} MB")
        return _checked(data)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        why = " ".join(str(error).split())
        raise RunError(
            f"{file} is not the summary of a run: {why[:1].lower()}{why[1:]}; star-mlx summary RUN "
            "--out FILE makes one"
        ) from None


class _Head(msgspec.Struct):
    star_mlx_summary: int


def _checked(data: bytes) -> RunSummary:
    """The summary in a file.

    Raises:
        ValueError: there is none, or it does not agree with itself.
    """
    version = msgspec.json.decode(data, type=_Head).star_mlx_summary
    if version != VERSION:
        raise ValueError(f"it has version {version}, and this star-mlx reads version {VERSION}")
    found = msgspec.json.decode(data, type=RunSummary)
    keys = found.keys
    if len(set(keys)) < len(keys):
        raise ValueError("it names a problem twice")
    numbers = [one.iteration for one in found.iterations]
    if sorted(set(numbers)) != numbers:
        raise ValueError("its iterations are not in order")
    for right in (*(one.right for one in found.iterations), found.zero_shot or keys):
        if len(right) != len(keys):
            raise ValueError(f"it has {len(keys)} problems, and {len(right)} verdicts on them")
    if not any(re.search("[01]", one.right) for one in found.iterations):
        raise ValueError("it has no verdict")
    return found
