"""Ranks in the threads of a test: a crew and the others, joined by pipes, without mlx."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from star_mlx.distributed.crew import Crew, leading
from star_mlx.distributed.member import Member
from star_mlx.distributed.messages import FromRank, Hello, ToRank
from star_mlx.distributed.wire import Wire
from star_mlx.run.ranked import serve
from star_mlx.types import Engine


@contextmanager
def led(*engines: Callable[[], Engine], **more: Any) -> Iterator[Crew]:
    """Inside the block this process is rank 0, and there is a rank for each of the engines."""
    wires = []
    for number, engine in enumerate(engines, 1):
        here, there = Pipe()
        hello = Hello(number, f"machine{number}", {}, "")
        threading.Thread(target=_rank, args=(there, hello, engine), daemon=True).start()
        wire = Wire(here, FromRank)
        wires.append((wire, wire.receive()))
    with leading(Crew(wires, **more)) as crew:
        yield crew


def _rank(connection: Any, hello: Hello, engine: Callable[[], Engine]) -> None:
    member = Member(Wire(connection, ToRank), hello, lambda code, why: None)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Exception):
        serve(member, lambda recipe: engine(), Path(folder))  # rank 0 hears of an error
