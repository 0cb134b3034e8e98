"""The keys of a terminal, and the projector view on it; the terminal is restored on every exit."""

from __future__ import annotations

import os
import re
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.align import Align
from rich.console import Console
from rich.text import Text

from star_mlx.errors import StarError
from star_mlx.formatting import program
from star_mlx.tui.present.drawing import LINES, WIDTH, too_small
from star_mlx.tui.present.presenter import Presenter, SlideSource

LOOK = 0.1  # seconds to wait for a key
READ = 1.0  # seconds between two reads of the run's files
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-9;]*[@-~]?|O.?)?")
_NAMED = {
    b"\x1b[C": "next", b"\x1bOC": "next", b"\x1b[B": "next", b"\x1bOB": "next", b"\x1b[6~": "next",
    b"\x1b[D": "back", b"\x1bOD": "back", b"\x1b[A": "back", b"\x1bOA": "back", b"\x1b[5~": "back",
    b"\r": "enter", b"\n": "enter", b"\x7f": "erase", b"\x08": "erase",
}  # fmt: skip


def refuse_without_terminal() -> None:
    """Raise if slides cannot be shown here.

    Raises:
        StarError: standard input or output is not a terminal that can draw.
    """
    drawn = sys.stdin.isatty() and sys.stdout.isatty()
    if not drawn or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        raise StarError(
            "slides need a terminal that can be drawn on, and its keyboard; this is a pipe, a file "
            f"or a dumb terminal: use {program()} show RUN for the same figures as text"
        )
    try:
        import termios  # noqa: F401
    except ImportError:
        raise StarError(f"slides need a Unix terminal: use {program()} show RUN") from None


def keys(data: bytes) -> list[str]:
    """The keys that a terminal sent: ``next``, ``back``, ``enter``, ``erase`` or a character.

    >>> keys(b"7\\x1b[C\\r")
    ['7', 'next', 'enter']
    """
    found, at = list[str](), 0
    while at < len(data):
        sequence = _SEQUENCE.match(data, at)
        one = sequence.group() if sequence else data[at : at + 1]
        at += len(one)
        if one in _NAMED:
            found.append(_NAMED[one])
        elif one.isascii() and len(one) == 1 and one >= b" ":
            found.append(one.decode())
    return found


def show(source: SlideSource, console: Console, presenter: Presenter) -> None:
    """Show slides until somebody leaves them or the terminal is closed."""
    from rich.live import Live

    with (
        Live(console=console, screen=True, auto_refresh=False, redirect_stderr=False) as live,
        _one_by_one(sys.stdin.fileno()) as terminal,
    ):
        before: object = None
        read = time.monotonic()
        while not presenter.left:
            if time.monotonic() >= read + READ:
                source.read()
                read = time.monotonic()
            size = console.size
            lines = presenter.lines(console.options.ascii_only)
            if before != (size, lines):
                before = size, lines
                live.update(_placed(lines, *size), refresh=True)
            if select.select([terminal], [], [], LOOK)[0]:
                data = os.read(terminal, 1024)
                if not data:  # the terminal is gone
                    return
                for key in keys(data):
                    presenter.press(key)


def _placed(lines: list[Text], width: int, height: int) -> Align | Text:
    """The slide in the middle of the terminal, or why there is no room for it."""
    if width < WIDTH or height < LINES:
        return too_small(width, height)
    padded = [_padded(line) for line in lines]
    return Align(Text("\n").join(padded), "center", vertical="middle", height=height)


def _padded(line: Text) -> Text:
    """A line as wide as the slide, so that all begin at the same column."""
    line = line.copy()
    line.append(" " * (WIDTH - line.cell_len))
    line.no_wrap = True
    return line


@contextmanager
def _one_by_one(terminal: int) -> Iterator[int]:
    """Have a terminal deliver each key at once and unseen, except Ctrl-C, which interrupts; and
    leave it as it was. Ctrl-Z does nothing: it would leave the terminal in this state."""
    import termios
    import tty

    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSAFLUSH)
        during = termios.tcgetattr(terminal)
        during[6][termios.VSUSP] = os.fpathconf(terminal, "PC_VDISABLE")
        termios.tcsetattr(terminal, termios.TCSANOW, during)
        yield terminal
    finally:  # keys that were pressed too late are not for the shell
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
