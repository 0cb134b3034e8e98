"""Read a JSON file that is one list of objects item by item: it may be larger than memory."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from star_mlx.data import encoding as encodings
from star_mlx.data.row import Row
from star_mlx.errors import TaskError
from star_mlx.formatting import clipped

CHUNK = 1 << 20  # bytes read at once
MOST = 1 << 26  # characters of an item
_AHEAD = 16  # an item that ends, or an error, so near the end of what was read may go on after it
_SPACE = re.compile(r"[ \t\n\r]*")


def read(path: Path, encoding: str | None = None) -> Iterator[Row]:
    """The items of a file that holds one list; of an empty file, none.

    An item that is no object comes with its error. Text is UTF-8 unless an encoding is given.

    Raises:
        TaskError: the file is not JSON from some item on, is cut off, or is no list.
        UnicodeError: it is not in the given encoding.
    """
    with open(path, "rb") as file:
        text = _Text(path, file, encoding)
        if not (first := text.next()):
            return
        if first != "[":
            raise TaskError(
                f"{path} should hold a list of objects, [...], but begins with {first!r}; one "
                "object a line is .jsonl"
            )
        text.at += 1
        for number, item in enumerate(_items(text), 1):
            place = f"{path}, item {number}"
            yield Row(place, item if isinstance(item, dict) else no_object(item))


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object without duplicate fields; Python's reader would silently drop the first of two."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the field {next(n for n in names if names.count(n) > 1)!r} occurs twice")
    return found


def no_object(item: object) -> str:
    """What is wrong with a row that is JSON, but no object."""
    kind = type(item).__name__
    return f"is not an object with fields but {'null' if item is None else kind}"


_DECODER = json.JSONDecoder(object_pairs_hook=unique)


def decoded(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is not JSON, or an object has a field twice.
    """
    if text.startswith("\ufeff"):
        return json.loads(text)  # which says so
    return _DECODER.decode(text)


class _Text:
    """The text of a file from ``at`` on, of which more is read as it is needed."""

    def __init__(self, path: Path, file: IO[bytes], encoding: str | None) -> None:
        self.path, self.text, self.at, self.ended = path, "", 0, False
        self._file, self._encoding, self._line = file, encoding, 1
        self._decoder = codecs.getincrementaldecoder(encoding or "utf-8-sig")()

    def next(self) -> str:
        """Go to the next character that is no white space, and return it; empty at the end."""
        while True:
            if space := _SPACE.match(self.text, self.at):
                self.at = space.end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def more(self) -> bool:
        """Read on and forget what is before ``at``; False at the end of the file.

        The text doubles, so that a long item is not parsed anew too often.
        """
        if self.ended:
            return False
        rest = self.text[self.at :]
        self._line = self.line(self.at)
        self.text, self.at = rest, 0
        content = self._file.read(max(CHUNK, len(rest)))
        self.ended = not content
        self.text += self._decoded(content)
        return True

    def line(self, at: int) -> int:
        """The number of the line of a place in ``text``."""
        return self._line + self.text.count("\n", 0, at)

    def _decoded(self, content: bytes) -> str:
        try:
            return self._decoder.decode(content, self.ended)
        except UnicodeDecodeError as error:
            if self._encoding is not None:
                raise
            found = bytes(error.object)
            line = self.line(len(self.text)) + found.count(b"\n", 0, error.start)
            name = encodings.likely(found)
            raise TaskError(
                f"{self.path}, line {line} is not UTF-8 text but seems to be {name}: "
                f"{encodings.mend(name)}"
            ) from None


def _items(text: _Text) -> Iterator[Any]:
    """The items of a list after its opening bracket."""
    number = 0
    following = text.next()
    text.at += following == "]"
    while following != "]":
        number += 1
        yield _item(text, f"{text.path}, item {number}")
        following = text.next()
        if not following:
            raise TaskError(f"{text.path} is cut off: it ends after item {number}, without a ]")
        if following not in ",]":
            raise TaskError(
                f"{text.path} is not JSON: line {text.line(text.at)} has {following!r} after item "
                f"{number}, where a comma or ] should be"
            )
        text.at += 1
    if following := text.next():
        raise TaskError(
            f"{text.path} is not JSON: line {text.line(text.at)} has {following!r} after the end "
            "of its list; one object a line is .jsonl"
        )


def _item(text: _Text, place: str) -> Any:
    """The item that begins at ``text.at``, which is moved to its end."""
    text.next()
    while True:
        wrong, item = None, None
        try:
            item, end = _DECODER.raw_decode(text.text, text.at)
        except json.JSONDecodeError as error:
            wrong, end = error.msg, error.pos
        except (ValueError, RecursionError) as error:
            raise TaskError(f"{place} is not JSON: {_said(error)}") from None
        at_end = end + _AHEAD >= len(text.text) or (wrong or "").startswith("Unterminated")
        if not at_end or text.ended:
            if wrong is None:
                text.at = end
                return item
            if at_end and not text.text.rstrip().endswith("]"):
                raise TaskError(f"{place} is cut off: the file ends inside it")
            raise TaskError(f"{place} is not JSON: {wrong} (line {text.line(end)})")
        if len(text.text) - text.at > MOST:
            raise TaskError(
                f"{place} has more than {MOST:,} characters: a quotation mark or a bracket is not "
                "closed"
            )
        text.more()


def _said(error: Exception) -> str:
    return clipped(" ".join(str(error).split()), 200)
