"""The rows of a run's files as types: one writer and one reader of each.

A row of attempts is a ``types.Attempt`` and a row of a training set a ``types.Example``; a line of
train.jsonl is a ``types.Step``. Every reader checks that a row is what it should be.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from star_mlx.errors import RunError
from star_mlx.store.files import json_line
from star_mlx.types import Attempt, Example, Step

T = TypeVar("T")
BLOCK = 1 << 18  # bytes of rows that are read at once
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of an attempt, read from its row without the texts and the tokens, which are
    nearly all of it."""

    id: str
    hinted: bool
    correct: bool
    finish: str

    @property
    def solved(self) -> bool:
        """Whether it solved its problem. With a hint it must also have ended by itself: one that
        the length limit cut off is not kept."""
        return self.correct and not (self.hinted and self.finish != "stop")


class AttemptText(msgspec.Struct, frozen=True, gc=False):
    """An attempt without its tokens, as it is shown."""

    id: str
    hinted: bool
    completion: str
    answer: str | None
    correct: bool
    finish: str
    rejected: str = ""


class Damaged(ValueError):
    """A row that is not what it should be; ``line`` counts from 1."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"row {line} is damaged: {why}")
        self.line, self.why = line, why


# --------------------------------------------------------------------------- reading


def decode(data: bytes, type: type[T]) -> list[T]:
    """The rows in ``data``, each a line.

    Raises:
        Damaged: one of them is not a ``type``.
    """
    try:
        return list(_decoder_of(type).decode_lines(data))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return [_decoded(line, type, n) for n, line in enumerate(_lines(data), 1)]


def _decoded(line: bytes, type: type[T], number: int) -> T:
    """A row. The lone half of a surrogate pair, as an escape, is read by json alone."""
    try:
        found: T = _decoder_of(type).decode(line)
        return found
    except msgspec.ValidationError as error:
        raise Damaged(number, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        return msgspec.convert(json.loads(line), type)
    except (ValueError, RecursionError) as error:
        raise Damaged(number, " ".join(str(error).split())) from None


def _decoder_of(type: Any) -> msgspec.json.Decoder[Any]:
    if type not in _DECODERS:
        _DECODERS[type] = msgspec.json.Decoder(type)
    return _DECODERS[type]


def attempt(values: Mapping[str, Any]) -> Attempt:
    """A row of attempts that is parsed already.

    Raises:
        Damaged: it is no attempt.
    """
    try:
        found = msgspec.convert(values, Attempt)
    except msgspec.ValidationError as error:
        raise Damaged(1, str(error)) from None
    if any(id < 0 for id in found.token_ids):
        raise Damaged(1, "its token_ids should be token numbers")
    return found


def _lines(data: bytes) -> list[bytes]:
    """Lines end at a newline alone: other line breaks may stand within a string of JSON."""
    lines = data.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def read(file: Path, type: type[T]) -> Iterator[list[T]]:
    """The rows of a file, a block of them at a time; none if there is no such file.

    Raises:
        RunError: the file cannot be read, or a row is not a ``type``: which line it is.
    """
    try:
        with open(file, "rb") as rows:
            before = 0
            while block := rows.read(BLOCK) + rows.readline():
                try:
                    yield decode(block, type)
                except Damaged as damage:
                    raise RunError(
                        f"{file}, line {before + damage.line} is damaged: {damage.why}"
                    ) from None
                before += block.count(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror or error}") from None


# --------------------------------------------------------------------------- writing


def attempts(rows: Iterable[Attempt]) -> bytes:
    """Attempts as lines; ``tokens``, their number, is there for those who read the file."""
    return b"".join(json_line({**_fields(row), "tokens": len(row.token_ids)}) for row in rows)


def examples(rows: Iterable[Example]) -> Iterator[bytes]:
    """The examples of a training set, each as a line."""
    return (json_line(_fields(row)) for row in rows)


def steps(rows: Iterable[Step]) -> Iterator[bytes]:
    """Optimizer steps, each as a line."""
    return (json_line(asdict(row)) for row in rows)


def _fields(row: Attempt | Example) -> dict[str, Any]:
    """As ``asdict``, but without a deep copy of the token ids, which takes 30 times as long."""
    return {name: getattr(row, name) for name in row.__dataclass_fields__}
