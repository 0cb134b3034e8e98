"""Numbers in large digits, five lines high."""

from __future__ import annotations

HEIGHT = 5
_WIDE = 2  # columns of a dot, so that it is about as wide as high
_GAP = "  "
_DOTS = {  # each row is a number in binary
    "0": "111 101 101 101 111",
    "1": "010 110 010 010 111",
    "2": "111 001 111 100 111",
    "3": "111 001 111 001 111",
    "4": "101 101 111 001 001",
    "5": "111 100 111 001 111",
    "6": "111 100 111 101 111",
    "7": "111 001 010 010 010",
    "8": "111 101 111 101 111",
    "9": "111 101 111 001 111",
    ".": "0 0 0 0 1",
    "%": "101 001 010 100 101",
    "?": "111 001 011 000 010",
}


def large(text: str, ascii_only: bool) -> list[str]:
    """The lines of a number; a character without large dots is left out.

    >>> print(*large("1.", True), sep="\\n")
      ##
    ####
      ##
      ##
    ######  ##
    """
    dot = ("#" if ascii_only else "█") * _WIDE
    glyphs = [_DOTS[c].split() for c in text if c in _DOTS]
    rows = zip(*glyphs, strict=True) if glyphs else [()] * HEIGHT
    return [
        _GAP.join("".join(dot if bit == "1" else " " * _WIDE for bit in part) for part in row)
        .rstrip()
        for row in rows
    ]  # fmt: skip
