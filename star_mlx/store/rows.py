"""The types of the rows in a run's files, with the only writer and reader of each.

A row of attempts is a ``types.Attempt`` and a row of a training set a ``types.Example``; a line of
train.jsonl is a ``types.Step``, and one of questions.jsonl an ``AddedQuestion``. Every reader
checks the type of a row.
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
from star_mlx.types import Attempt, Example, Problem, Question, Step

T = TypeVar("T")
BLOCK = 1 << 18  # bytes of rows to read at once
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The verdict of an attempt, read without its texts and tokens, which are most of the row."""

    id: str
    hinted: bool
    correct: bool
    finish: str

    @property
    def solved(self) -> bool:
        """Whether it solved its problem. With a hint it must also have finished: if the length
        limit cut it off, it is not kept."""
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
    undecided: str = ""


class AddedQuestion(msgspec.Struct, frozen=True, omit_defaults=True):
    """A question that an iteration asked besides the problems of its task: its kind (see
    ``augment.kinds``), and the problem it was made of."""

    id: str
    kind: str
    original: str
    question: str
    answer: str
    choices: tuple[tuple[str, str], ...] = ()
    group: str = ""

    @property
    def problem(self) -> Problem:
        """The problem to solve."""
        return Problem(self.id, Question(self.question, self.choices), self.answer, self.group)


class Damaged(ValueError):
    """A row that is not valid; ``line`` counts from 1."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"row {line} is damaged: {why}")
        self.line, self.why = line, why


# --------------------------------------------------------------------------- reading


def decode(data: bytes, type: type[T]) -> list[T]:
    """Decode the rows in ``data``, one per line.

    Raises:
        Damaged: a row is not a ``type``.
    """
    try:
        return list(_decoder_of(type).decode_lines(data))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return [_decoded(line, type, n) for n, line in enumerate(_lines(data), 1)]


def _decoded(line: bytes, type: type[T], number: int) -> T:
    """Decode a row. The escape of a lone surrogate can only be read by the module ``json``."""
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
    """The attempt of a parsed row.

    Raises:
        Damaged: it is not an attempt.
    """
    try:
        found = msgspec.convert(values, Attempt)
    except msgspec.ValidationError as error:
        raise Damaged(1, str(error)) from None
    if any(id < 0 for id in found.token_ids):
        raise Damaged(1, "its token_ids should be token numbers")
    return found


def _lines(data: bytes) -> list[bytes]:
    """Split at newlines only, because a JSON string may contain other line breaks."""
    lines = data.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def read(file: Path, type: type[T]) -> Iterator[list[T]]:
    """Read the rows of a file, one block at a time; none if there is no such file.

    Raises:
        RunError: the file cannot be read, or a row is not a ``type``; names its line.
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
    """Attempts as lines; ``tokens``, the number of tokens, is for people who read the file. Most
    attempts are decided, and their lines do not have ``undecided``."""
    lines = ({**_fields(row), "tokens": len(row.token_ids)} for row in rows)
    return b"".join(
        json_line({k: v for k, v in line.items() if v or k != "undecided"}) for line in lines
    )


def examples(rows: Iterable[Example]) -> Iterator[bytes]:
    """Examples of a training set, one per line."""
    return (json_line(_fields(row)) for row in rows)


def questions(rows: Iterable[AddedQuestion]) -> Iterator[bytes]:
    """Questions that an iteration added, one per line."""
    return (json_line(msgspec.to_builtins(row)) for row in rows)


def steps(rows: Iterable[Step]) -> Iterator[bytes]:
    """Optimizer steps, one per line."""
    return (json_line(_without(asdict(row), "seconds")) for row in rows)


def _without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k != name}


def _fields(row: Attempt | Example) -> dict[str, Any]:
    """Like ``asdict``, but without the deep copy of the token ids, which takes 30 times as long."""
    return {name: getattr(row, name) for name in row.__dataclass_fields__}
