"""A process of a launch, started by ``distributed.keeper``: rank 0 runs the command of its
arguments, the others do what it says."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from star_mlx.distributed import environment, joining
from star_mlx.errors import RankError, StarError

if TYPE_CHECKING:
    from star_mlx.distributed.crew import Crew
    from star_mlx.engine.ranks import Ranks
    from star_mlx.settings import Recipe
    from star_mlx.types import Engine

LOST = signal.SIGUSR1  # sent to this process itself when another rank is lost
GRACE = 4.0  # seconds in which the main thread has to end after that
CODE = RankError.exit_code


def main(arguments: Sequence[str]) -> None:
    """Join the other ranks, and lead or serve."""
    threading.Thread(target=_with_keeper, daemon=True).start()
    from star_mlx.engine import blas

    blas.load()  # before the first import of mlx
    from star_mlx.engine.ranks import Ranks

    try:
        try:
            ranks = Ranks(os.environ.get(environment.BACKEND, "any"))
        except RuntimeError as error:
            text = f"mlx cannot connect the ranks: {' '.join(str(error).split())}"
            raise RankError(text) from None
        if ranks.first:
            _lead(ranks, arguments)
        else:
            _serve(ranks)
    except StarError as error:
        _say(f"star-mlx: error: {error}")
        sys.exit(error.exit_code)


# --------------------------------------------------------------------------- rank 0


def _lead(ranks: Ranks, arguments: Sequence[str]) -> None:
    from star_mlx.distributed.crew import Crew, leading

    lost = _Lost(os.dup(2))
    signal.signal(LOST, lost.raised)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's script may ignore it
    wires = joining.gather(ranks, os.environ.get(environment.HEAD, "127.0.0.1"))
    lost.crew = Crew(wires, lost.interrupt, ranks)
    with leading(lost.crew):
        from star_mlx.cli import main as run

        run(arguments)


class _Lost:
    """Makes the main thread end when a rank is lost, whatever it is doing.

    In Python it gets the exception. If it waits in mlx for a rank that is silent, which nothing
    ends, the process does.
    """

    def __init__(self, terminal: int) -> None:
        self.crew: Crew | None = None
        self._terminal = terminal  # standard error, before a run captures it

    def interrupt(self) -> None:
        """Called in another thread."""
        signal.pthread_kill(threading.main_thread().ident or 0, LOST)
        timer = threading.Timer(GRACE, self._end)
        timer.daemon = True
        timer.start()

    def raised(self, number: int, frame: FrameType | None) -> None:
        """Called in the main thread. The launcher may say that it should end, too: it is ending."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self.crew is not None and self.crew.error is not None:
            raise self.crew.error

    def _end(self) -> None:
        error = self.crew.error if self.crew is not None else None
        os.write(self._terminal, f"star-mlx: error: {error}\n".encode())
        os._exit(CODE)


# --------------------------------------------------------------------------- the others


def _serve(ranks: Ranks) -> None:
    from star_mlx.distributed.member import Member
    from star_mlx.run.awake import awake
    from star_mlx.run.ranked import serve

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # rank 0 says when to end
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # tidily

    def end(code: int, why: str) -> None:
        if why:
            _say(f"star-mlx: error: rank {ranks.rank}: {why}")
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(code)

    def open_base(recipe: Recipe) -> Engine:
        from star_mlx import engine as engines

        engine = engines.open_base(recipe)
        engine.join(ranks)
        return engine

    with awake(), tempfile.TemporaryDirectory(prefix="star-mlx-rank-") as folder:
        member = Member(joining.joined(ranks), joining.hello(ranks.rank), end)
        serve(member, open_base, Path(folder))


def _with_keeper() -> None:
    """End when the keeper has gone, which holds the other end of standard input."""
    while os.read(0, 1024):
        continue
    os.kill(os.getpid(), signal.SIGTERM)


def _say(text: str) -> None:
    from star_mlx.formatting import harmless

    os.write(2, f"{harmless(' '.join(text.split()))}\n".encode())


def run(arguments: Sequence[str]) -> NoReturn:
    """Run ``main`` and exit; after an error at once, as mlx may wait for ranks that have gone."""
    code: Any = 0
    try:
        main(arguments)
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if not code:
        sys.exit()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    run(sys.argv[1:])
