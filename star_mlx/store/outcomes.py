"""What became of attempts, read from their rows without the texts and the tokens.

Those are nearly all of a row. An attempt solved its problem if it is right; with a hint, it must
also have ended by itself, since one that the length limit cut off is not kept.

A block of rows as ``store`` writes them is read in one pass of a regular expression; any other is
read row by row, as JSON, which also finds what is damaged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from star_mlx.errors import RunError

Verdict = tuple[str, bool, bool]  # problem id, hinted, solved
BLOCK = 1 << 16  # bytes read at once: they stay in the processor's cache

_STRING = r'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*"'
_ROW = re.compile(  # groups: id; and, or else empty: hinted, correct, cut off
    rf'^{{"id":({_STRING}),"hinted":(?:false|(true)),"completion":{_STRING},'
    rf'"answer":(?:null|{_STRING}),"correct":(?:false|(true)),"finish":"(?:stop|(length))",'
    r'"token_ids":\[.*$',
    re.MULTILINE,
)
_TOKENS = ',"token_ids":['


def read(file: Path) -> Iterator[list[Verdict]]:
    """The verdicts of a file of attempts, in order, a block of rows at a time.

    Raises:
        RunError: a row that is no attempt, by its line.
    """
    with open(file, "rb") as rows:
        while block := rows.read(BLOCK) + rows.readline():
            try:
                yield of(block)
            except Damaged as damage:
                before = rows.tell() - len(block)
                rows.seek(0)
                line = rows.read(before).count(b"\n") + damage.line
                raise RunError(f"{file}, line {line} is no attempt: it is damaged") from None


class Damaged(ValueError):
    """A row is no attempt; ``line`` is its number from 1."""

    def __init__(self, line: int) -> None:
        super().__init__(f"row {line} is no attempt")
        self.line = line


def of(rows: bytes) -> list[Verdict]:
    """The verdicts of rows, each a line.

    Raises:
        Damaged: one of them is no attempt.
    """
    try:
        found = _ROW.findall(rows.decode())
    except UnicodeDecodeError:
        found = []
    if len(found) != rows.count(b"\n") + (not rows.endswith(b"\n")):
        return [_verdict(row, number) for number, row in enumerate(_lines(rows), 1)]
    return [
        (json.loads(id) if "\\" in id else id[1:-1], hint != "", right != "" and not (cut and hint))
        for id, hint, right, cut in found
    ]


def _lines(rows: bytes) -> list[bytes]:
    """Lines end at a newline alone: other line breaks may stand within a string of JSON."""
    lines = rows.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def _verdict(line: bytes, number: int) -> Verdict:
    try:
        row = _without_tokens(line.decode())
        hinted, solved = bool(row["hinted"]), bool(row["correct"])
        return row["id"], hinted, solved and not (hinted and row["finish"] != "stop")
    except (ValueError, KeyError, TypeError):
        raise Damaged(number) from None


def _without_tokens(line: str) -> Any:
    """A row without its token ids. Within a string of JSON the quotes of ``_TOKENS`` would be
    escaped."""
    head, found, _ = line.partition(_TOKENS)
    return json.loads(head + "}" if found else line)
