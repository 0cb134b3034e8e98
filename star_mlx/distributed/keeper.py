"""The parent of a rank's process, run by mlx's launcher: it says how the rank ended.

mlx's launcher exits with 0 whatever becomes of the ranks, and waits for ever for one that was
stopped. A keeper runs the rank as its child, remembers its last line, ends it when the launcher has
gone or says so, with force if need be, and prints marks: one with its own number when it begins,
one with the exit code at the end. Imports nothing heavy.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO

from star_mlx.distributed.environment import LAUNCHER

MARK = b"\x1estar-mlx "  # before the JSON of a mark
PATIENCE = 4.0  # seconds from a request to end to the end by force
LONGEST = 1000  # characters of a last line
_RING = re.compile(rb"^\[ring\] .*\n", re.MULTILINE)  # of mlx: ten lines for each lost peer


_RANK = ("MLX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK")  # of mlx's launcher, and of MPI's


def main(arguments: Sequence[str]) -> int:
    """Run a command as a rank, and return its exit code."""
    rank = next((os.environ[name] for name in _RANK if name in os.environ), "0")
    first = rank == "0"
    os.close(0)  # mlx's launcher, which would write to it, is to see that nobody reads
    os.open(os.devnull, os.O_RDONLY)
    child = subprocess.Popen(
        [sys.executable, "-m", "star_mlx.cli.rank", *arguments],
        stdin=subprocess.PIPE,  # whose end tells it that its keeper has gone
        stdout=None if first else subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    ending = _Ending(child)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ending.begin())
    signal.signal(signal.SIGINT, lambda *_: child.send_signal(signal.SIGINT))
    _mark(rank, pid=os.getpid())
    threading.Thread(target=_orphaned, args=(os.getppid(), ending), daemon=True).start()
    last = _LastLine()
    pumps = [threading.Thread(target=last.pump, args=(child.stderr, first), daemon=True)]
    if child.stdout is not None:
        pumps.append(threading.Thread(target=last.pump, args=(child.stdout, False), daemon=True))
    for pump in pumps:
        pump.start()
    code = child.wait()
    for pump in pumps:
        pump.join(2)
    _mark(rank, code=code, last=last.line)
    return code if code >= 0 else 128 - code


def _mark(rank: str, **entry: str | int) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.buffer.write(MARK + json.dumps({"rank": int(rank), **entry}).encode() + b"\n")
        sys.stderr.buffer.flush()


class _Ending:
    """Ends a child, with force if it does not end by itself."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child, self._begun = child, False

    def begin(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._child.terminate()
        if not self._begun:
            self._begun = True
            timer = threading.Timer(PATIENCE, self._child.kill)
            timer.daemon = True
            timer.start()


def _orphaned(parent: int, ending: _Ending) -> None:
    """End when the process that started this one has gone, which was mlx's launcher, or the one
    that started that, if it was on this machine."""
    host, _, launcher = os.environ.get(LAUNCHER, "").rpartition(":")
    watched = int(launcher) if host == platform.node() and launcher.isdigit() else 0
    while os.getppid() == parent and (not watched or _is_there(watched)):
        time.sleep(1)
    ending.begin()


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        pass
    return True


class _LastLine:
    """The last line that a rank printed, but for those of mlx's ring."""

    def __init__(self) -> None:
        self.line = ""

    def pump(self, stream: IO[bytes], shown: bool) -> None:
        """Read a stream to its end, and pass it on if it is ``shown``."""
        rest = b""
        while data := os.read(stream.fileno(), 1 << 16):
            if shown:
                with contextlib.suppress(OSError):
                    sys.stderr.buffer.write(_RING.sub(b"", data))
                    sys.stderr.buffer.flush()
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._keep(line)
        self._keep(rest)

    def _keep(self, line: bytes) -> None:
        text = line.decode(errors="replace").strip()
        if text and not _RING.match(line + b"\n"):
            self.line = text[:LONGEST]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
