"""Keep a Mac awake while a run is in progress."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

COMMAND = "caffeinate"  # part of macOS


@contextmanager
def awake(wanted: bool = True) -> Iterator[None]:
    """Inside the block, macOS does not sleep for being idle; elsewhere nothing happens.

    A process of macOS's own (``caffeinate -i``) sees to it. It ends with the block, and by itself
    if this process is killed (``-w``). The display may still sleep, and so does a closed laptop.
    """
    process = _start() if wanted and sys.platform == "darwin" else None
    try:
        yield
    finally:
        if process is not None:
            process.terminate()
            process.wait()


def _start() -> subprocess.Popen[bytes] | None:
    quiet = subprocess.DEVNULL
    try:
        return subprocess.Popen(
            [COMMAND, "-i", "-w", str(os.getpid())], stdin=quiet, stdout=quiet, stderr=quiet
        )
    except OSError:  # there is none: the run does not depend on it
        return None
