"""Name the encoding of a text file that is not UTF-8, and say how to read it."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from star_mlx.errors import TaskError

_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # UTF-32's marks begin with the first
_OLD = ("cp1252", "mac_roman", "cp850")  # of Excel on Windows, on old Macs, and of DOS
# Letters and signs of western languages: in the wrong encoding they become rarer ones.
_USUAL = frozenset("äöüÄÖÜßéèêëàâçñáíóúôûîïœæåøÅØÆ¿¡€£°–“”„’‘×÷±²³½")
# Encodings of other scripts: the letters of its own, and the least share of them in a text.
_SCRIPTS = (
    ("cp932", re.compile("[\u3040-\u30ff]"), 0.2),  # kana, beside kanji
    ("cp949", re.compile("[\uac00-\ud7a3]"), 0.85),  # Chinese looks like half of it
    ("cp1251", re.compile("[а-яё]"), 0.75),
    ("gbk", re.compile("[\u4e00-\u9fff]"), 0.6),
)
_CHECKED = 1 << 20  # bytes from which an encoding is guessed


def refuse_wide(path: Path) -> None:
    """Refuse a file that begins with the mark of UTF-16."""
    with open(path, "rb") as file:
        if file.read(4).startswith(_WIDE):
            raise TaskError(f"data file {path} is UTF-16 text: {mend('utf-16')}")


def refuse_foreign(path: Path) -> None:
    """Refuse a file that is in another encoding than UTF-8 as a whole.

    A file that is mostly UTF-8 passes: single lines that are not are bad rows.
    """
    with open(path, "rb") as file:
        content = file.read(_CHECKED)
    if content.startswith(_WIDE):
        refuse_wide(path)
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(content)  # it may end anywhere
    wrong = text.count("\ufffd")
    if 2 * wrong > sum(not c.isascii() for c in text):
        name = likely(content)
        raise TaskError(f"data file {path} is not UTF-8 text but seems to be {name}: {mend(name)}")


def likely(content: bytes) -> str:
    """The likeliest encoding of bytes that are not UTF-8, by the letters that they would be."""
    high, latin = len(re.findall(rb"[\x80-\xff]", content)), len(re.findall(rb"[A-Za-z]", content))
    for name, own, least in _SCRIPTS if high > latin else ():
        foreign = re.sub(r"[\x00-\x7f]", "", content.decode(name, "replace"))
        wrong = foreign.count("\ufffd")
        if len(own.findall(foreign)) >= max(4, least * len(foreign)) and 20 * wrong < len(foreign):
            return name

    def letters(encoding: str) -> int:
        return sum(c in _USUAL for c in content.decode(encoding, "replace"))

    return max(_OLD, key=letters)  # the first of equals


def mend(encoding: str) -> str:
    """How to read a file in this encoding, for the end of a message."""
    return (
        'save it as UTF-8 ("CSV UTF-8" in Excel), or read it as it is with '
        f"task.options.encoding={encoding} (in init-task: --encoding {encoding})"
    )


def known(encoding: str) -> bool:
    """Whether Python knows this as the name of an encoding of text."""
    try:
        return bool(codecs.lookup(encoding)._is_text_encoding)
    except (LookupError, ValueError):  # ValueError: a NUL in the name
        return False
