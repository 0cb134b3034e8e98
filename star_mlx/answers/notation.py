"""Numbers with other marks than 1,234.50: German 1.234,50, Swiss 1'234.50, French 1 234,50."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

DecimalMark = Literal[".", ","]
ThousandsMark = Literal[",", ".", "'", " ", "none"]

_WRITTEN = re.compile(r"(?<![0-9])[0-9]+(?:[.,'’][0-9]+)+")
_SPACED = re.compile(r"(?<![0-9.,'’])[1-9][0-9]{0,2}(?:[ \u00a0\u2009\u202f][0-9]{3})+(?![0-9])")
_SPACES = re.compile(r"\s")
_POINT = re.compile(r"(?<=[0-9])\.(?=[0-9])")


@dataclass(frozen=True, slots=True)
class Notation:
    """The marks in the numbers of some data.

    ``thousands`` is the mark between groups of three digits; None is the usual one beside
    ``decimal``. Numbers that can only be meant otherwise, such as 1,234.50 among German ones, are
    left as they are.

    >>> Notation(",").standard("1.234,50 and 2,5"), Notation(",").local("1234.5")
    ('1234.50 and 2.5', '1234,5')
    """

    decimal: DecimalMark = "."
    thousands: ThousandsMark | None = None

    @property
    def usual(self) -> bool:
        """Whether numbers are written as 1,234.50."""
        return self.decimal == "." and self.thousands in (None, ",")

    def standard(self, text: str) -> str:
        """A text with its numbers as 1234.50."""
        if self.usual:
            return text
        if self.thousands == " ":
            text = _SPACED.sub(lambda m: _SPACES.sub("", m[0]), text)
        return _WRITTEN.sub(lambda m: self._standard(m[0]), text)

    def local(self, text: str) -> str:
        """A text with numbers as 1234.50, with the decimal mark of this notation."""
        return _POINT.sub(",", text) if self.decimal == "," else text

    def _standard(self, written: str) -> str:
        mark = self.thousands or "."  # of the usual marks nothing is changed
        whole, _, places = written.partition(self.decimal)
        if places.isdecimal() and _grouped(whole, mark):
            return f"{_joined(whole, mark)}.{places}"
        if _grouped(written, mark):
            return _joined(written, mark)
        if mark == "none" and "," in written and self.decimal == ".":
            return written.replace(",", ", ")
        return written


USUAL = Notation()


def _grouped(digits: str, mark: str) -> bool:
    """Whether it is a whole number, with or without this mark between its thousands."""
    first, *rest = digits.replace("’", "'").split(mark)
    if not rest:
        return first.isdecimal()
    leads = first.isdecimal() and len(first) <= 3 and first[0] != "0"
    return leads and all(len(group) == 3 and group.isdecimal() for group in rest)


def _joined(digits: str, mark: str) -> str:
    return digits.replace("’", "'").replace(mark, "")
