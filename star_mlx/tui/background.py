"""Whether the background of the terminal is dark or light."""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Literal

WAIT = 0.5  # seconds for the terminal's reply, which usually takes a few milliseconds
ASK = b"\x1b]11;?\x1b\\\x1b[c"  # the background; and, since every terminal answers that, its kind
REPLY = re.compile(rb"\x1b\]11;rgba?:([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})")
MIDDLE = 0.18  # relative luminance; as different from black as from white
SILENT = ("linux", "dumb", "unknown", "screen.linux")  # terminals that would not answer

Kind = Literal["dark", "light"]


def kind(environment: Mapping[str, str]) -> Kind:
    """As COLORFGBG says, which some terminals set, else as the terminal answers; else dark."""
    number = environment.get("COLORFGBG", "").rpartition(";")[2]
    if number.isdecimal():
        return "light" if int(number) == 7 or 9 <= int(number) <= 15 else "dark"
    if environment.get("TERM", "dumb") in SILENT:
        return "dark"
    return read(_asked())


def read(reply: bytes) -> Kind:
    """The kind of a terminal's reply; dark if it does not say."""
    found = REPLY.search(reply)
    if found is None:
        return "dark"
    colour = [int(digits, 16) / (16 ** len(digits) - 1) for digits in found.groups()]
    return "light" if luminance(colour) > MIDDLE else "dark"


def luminance(colour: list[float]) -> float:
    """The relative luminance of red, green and blue from 0 to 1 (WCAG 2)."""
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _asked() -> bytes:
    """The terminal's reply; empty if there is no terminal, or it belongs to another job."""
    try:
        import termios
        import tty
    except ImportError:  # Windows
        return b""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return b""
    try:
        if os.tcgetpgrp(terminal) != os.getpgrp():  # in the background: asking would stop it
            return b""
        before = termios.tcgetattr(terminal)
        try:
            tty.setcbreak(terminal, termios.TCSANOW)
            os.write(terminal, ASK)
            return _received(terminal)
        finally:
            termios.tcsetattr(terminal, termios.TCSANOW, before)
    except (OSError, termios.error):
        return b""
    finally:
        with suppress(OSError):
            os.close(terminal)


def _received(terminal: int) -> bytes:
    """Read until the second reply ends, or for ``WAIT`` seconds."""
    reply, until = b"", time.monotonic() + WAIT
    while not re.search(rb"\x1b\[\?[\d;]*c", reply):
        ready, _, _ = select.select([terminal], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            break
        reply += os.read(terminal, 1024)
    return reply
