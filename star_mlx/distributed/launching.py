"""Start the ranks by mlx's own launcher, and see how each of them ends."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from star_mlx.distributed.environment import BACKEND, HEAD, LAUNCHER, TERMINAL
from star_mlx.distributed.hosts import HERE, Hosts
from star_mlx.distributed.keeper import MARK
from star_mlx.errors import RankError

PORT = 32323  # mlx's own, for machines of which it is not known which ports are free
GRACE = 10.0  # seconds from the end of a rank that failed to the end of all
# The beginning of a line of mlx about a rank that has ended. It comes before or after what the rank
# said last, as it happens, and ``last_lines`` says more.
_ENDED = b"\x1b[33m[WARN] Node with rank "
_HIDDEN = re.compile(
    b"(?:" + re.escape(MARK) + b"(?P<mark>[^\n]*)|" + re.escape(_ENDED) + b"[^\n]*)\n"
)


def launcher() -> str:
    """The path of mlx's launcher.

    Raises:
        RankError: there is none.
    """
    beside = Path(sys.executable).with_name("mlx.launch")
    found = str(beside) if beside.is_file() else shutil.which("mlx.launch")
    if found is None:
        raise RankError(
            f"there is no mlx.launch beside {sys.executable} or on the PATH: it comes with mlx, so "
            "install that again"
        )
    return found


def free_port(count: int) -> int:
    """The first of ``count`` ports in a row that are free on this machine."""
    for _ in range(100):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError, OverflowError):
            first = stack.enter_context(socket.create_server((_LOCAL, 0))).getsockname()[1]
            for port in range(first + 1, first + count):
                stack.enter_context(socket.create_server((_LOCAL, port)))
            return int(first)
    raise RankError(f"there are no {count} free ports in a row on this machine")


_LOCAL = "127.0.0.1"


class Launch:
    """The ranks of a command.

    Args:
        hosts: the machine of each.
        backend: mlx's name of it, or ``any``.
        arguments: of star-mlx.
        python: the interpreter on every machine.
        folder: the working directory there.
        port: the first port for mlx's connections.
    """

    def __init__(
        self,
        hosts: Hosts,
        backend: str,
        arguments: Sequence[str],
        *,
        python: str | None = None,
        folder: str | None = None,
        port: int | None = None,
    ) -> None:
        self._hosts, self._backend, self._arguments = hosts, backend, arguments
        self._python, self._folder = python or sys.executable, folder
        self._port = port or (free_port(len(hosts.entries)) if hosts.local else PORT)
        self.marks: dict[int, dict[str, Any]] = {}  # of the ranks that have ended
        self._keepers: dict[int, int] = {}  # the number of each keeper's process
        self._process: subprocess.Popen[bytes] | None = None
        self._ending_since: float | None = None
        self._asked: list[int] = []  # the signals to end

    def run(self) -> int:
        """Run all ranks to their end; return the exit code of rank 0, or of one that failed."""
        launch = launcher()
        with tempfile.TemporaryDirectory(prefix="star-mlx-launch-") as folder:
            file = Path(folder) / "hosts.json"
            file.write_text(self._hosts.text(), encoding="utf-8")
            process = subprocess.Popen(
                [launch, *self._options(file), "--", *self._command()],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                start_new_session=True,
            )  # fmt: skip
            self._process = process
            with self._signals(process):
                pumps = [
                    threading.Thread(target=self._pump, args=pair, daemon=True)
                    for pair in ((process.stdout, sys.stdout), (process.stderr, sys.stderr))
                ]
                for pump in pumps:
                    pump.start()
                self._wait(process)
                for pump in pumps:
                    pump.join(5)
        return self._code()

    @property
    def stopped(self) -> bool:
        """Whether it was asked to end."""
        return bool(self._asked)

    def last_lines(self) -> list[str]:
        """How each rank ended, in a line each."""
        return [self._how(rank) for rank in range(len(self._hosts.entries))]

    def failed(self) -> list[int]:
        """The ranks that did not end well."""
        ranks = range(len(self._hosts.entries))
        return [rank for rank in ranks if self.marks.get(rank, {}).get("code") != 0]

    # ------------------------------------------------------------------ the command

    def _options(self, file: Path) -> list[str]:
        envs = {
            HEAD: self._hosts.head,
            BACKEND: self._backend.removesuffix("-ring"),
            LAUNCHER: f"{platform.node()}:{os.getpid()}",
        }
        if sys.stdout.isatty():
            size = shutil.get_terminal_size()
            envs |= {"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1", TERMINAL: "1"}
            envs |= {"COLUMNS": str(size.columns), "LINES": str(size.lines)}
            envs |= {n: os.environ[n] for n in ("TERM", "COLORTERM", "NO_COLOR") if n in os.environ}
        options = ["--hostfile", str(file), "--starting-port", str(self._port)]
        options += [] if self._backend == "any" else ["--backend", self._backend]
        options += ["--cwd", self._folder] if self._folder else []
        return [*options, *(word for name, value in envs.items() for word in _env(name, value))]

    def _command(self) -> list[str]:
        return [self._python, "-m", "star_mlx.distributed.keeper", *self._arguments]

    # ------------------------------------------------------------------ the end

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the launcher; end all ranks if it does not, though one has failed."""
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
            over = len(self.marks) == len(self._hosts.entries) or self._ending_since is not None
            if over:
                self._ending_since = self._ending_since or time.monotonic()
                if time.monotonic() - self._ending_since > GRACE:
                    _kill(process)

    @contextlib.contextmanager
    def _signals(self, process: subprocess.Popen[bytes]) -> Any:
        """Inside the block, Ctrl-C asks the ranks to end, and the second time ends them."""

        def asked(number: int, _: object) -> None:
            self._asked.append(number)
            if self._asked == [signal.SIGINT] and 0 in self._keepers:
                self._interrupt()
            else:
                _kill(process)

        before = {n: signal.signal(n, asked) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if process.poll() is None:
                _kill(process)

    def _interrupt(self) -> None:
        """Have rank 0 end as after Ctrl-C, in its own time; it tells the others."""
        keeper, host = self._keepers[0], str(self._hosts.entries[0]["ssh"])
        if host == HERE:
            with contextlib.suppress(ProcessLookupError):
                os.kill(keeper, signal.SIGINT)
        else:
            _remotely(host, "kill", "-INT", str(keeper))

    def _poke(self) -> None:
        """Write a line to the launcher, which then sees that a rank here reads nothing. As long as
        it could write to one, it uses a processor for asking whether it can (mlx 0.32)."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(b"\n")
                self._process.stdin.flush()

    def _code(self) -> int:
        failed = self.failed()
        if not failed:
            return 0
        first = self.marks.get(0, {}).get("code", 0)
        if self._asked and first in (0, 128 + self._asked[0]):
            return 128 + self._asked[0]
        return first if first > 0 else RankError.exit_code

    def _how(self, rank: int) -> str:
        mark, where = self.marks.get(rank), f"rank {rank} ({self._hosts.name(rank)})"
        if mark is None and rank not in self._keepers:
            host = self._hosts.name(rank)
            hint = "" if host == HERE else f": does `ssh {host} {self._python} -V` work?"
            return f"{where} did not start{hint}"
        if mark is None:
            return f"{where} was ended without a word, or cannot be reached any more"
        code, last = mark["code"], mark["last"]
        said = f": {last}" if last else ""
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"{where} was ended by {signal.Signals(-code).name}{said}"
        return f"{where} ended with exit code {code}{said}"

    # ------------------------------------------------------------------ output

    def _pump(self, stream: IO[bytes], to: Any) -> None:
        """Pass output on without the marks in it, which are kept; see ``_unmarked``."""
        rest = b""
        while data := os.read(stream.fileno(), 1 << 16):
            shown, rest = self._unmarked(rest + data)
            _write(to, shown)
        _write(to, rest)

    def _unmarked(self, data: bytes) -> tuple[bytes, bytes]:
        """Output without marks and mlx's lines about ranks that ended, and the beginning of one at
        its end."""
        shown = b""
        while found := _HIDDEN.search(data):
            shown, data = shown + data[: found.start()], data[found.end() :]
            if found["mark"] is not None:
                self._enter(found["mark"])
        at = min(_begun(data, MARK), _begun(data, _ENDED))
        return shown + data[:at], data[at:]

    def _enter(self, mark: bytes) -> None:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entry = json.loads(mark)
            if "pid" in entry:
                self._keepers[int(entry["rank"])] = int(entry["pid"])
                self._poke()
                return
            self.marks[int(entry["rank"])] = {
                "code": int(entry["code"]), "last": str(entry["last"])
            }  # fmt: skip
            if entry["code"] != 0 and self._ending_since is None:
                self._ending_since = time.monotonic()


def _begun(data: bytes, start: bytes) -> int:
    """Where a line with this start begins that has no end yet, or the length of the data."""
    whole = data.find(start)
    cut = next((n for n in range(len(start) - 1, 0, -1) if data.endswith(start[:n])), 0)
    return whole if whole >= 0 else len(data) - cut


def _remotely(host: str, *words: str) -> None:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(["ssh", host, *words], timeout=10, check=False, capture_output=True)


def _env(name: str, value: str) -> list[str]:
    return ["--env", f"{name}={value}"]


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the launcher and all that it has started here; elsewhere keepers see that it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _write(to: Any, data: bytes) -> None:
    with contextlib.suppress(OSError, ValueError):
        to.buffer.write(data)
        to.buffer.flush()
