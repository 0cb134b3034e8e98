"""Another rank, as rank 0 sees it: what it is doing, and when it was last heard of."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from star_mlx.distributed.adapters import KEPT, pieces
from star_mlx.distributed.messages import (
    BaseOpened,
    Beat,
    Complete,
    Completed,
    Failed,
    FromRank,
    Hello,
    Learned,
)
from star_mlx.distributed.wire import Gone, Wire
from star_mlx.recipe.asking import ChunkWork


@dataclass(eq=False)
class Mate:
    """A rank, and the thread that hears it.

    Args:
        hello: what it said of itself.
        hear: called in the thread with each message but signs of life.
        lost: called in the thread with the reason why there will be no more.
    """

    wire: Wire
    hello: Hello
    hear: Callable[[Mate, Any], None]
    lost: Callable[[Mate, str], None]
    beat: Beat = field(default_factory=lambda: Beat(0, 0, 0, 0))  # the last one
    doing: int | None = None  # the number of its chunk
    tokens: int = 0  # of the chunks that it has completed
    _has: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT))

    def __post_init__(self) -> None:
        self._thread = threading.Thread(
            target=self._listen, name=f"rank {self.hello.rank}", daemon=True
        )
        self._thread.start()

    def __str__(self) -> str:
        return f"rank {self.hello.rank} ({self.hello.machine})"

    @property
    def rank(self) -> int:
        return self.hello.rank

    def give(self, number: int, work: ChunkWork, digest: str | None) -> None:
        """Have it complete a chunk, for which it may need an adapter sent."""
        try:
            if work.adapter is not None and digest is not None:
                self.equip(work.adapter, digest)
            self.wire.send(Complete(number, digest, list(work.batches)))
        except Gone as gone:
            self.lost(self, f"has died: {gone}")

    def equip(self, adapter: Path, digest: str) -> None:
        """Send it an adapter, unless it has that."""
        if digest not in self._has:
            for piece in pieces(adapter, digest):
                self.wire.send(piece)
            self.has(digest)

    def has(self, digest: str) -> None:
        """From now on it has an adapter, as it has made or been sent it."""
        if digest not in self._has:
            self._has.append(digest)

    def _listen(self) -> None:
        try:
            while True:
                message: FromRank = self.wire.receive()
                if isinstance(message, Beat):
                    self.beat = message
                elif isinstance(message, Failed):
                    self.lost(self, f"has failed: {message.text}")
                    return
                elif isinstance(message, Completed | Learned | BaseOpened):
                    self.hear(self, message)
        except Gone as gone:
            self.lost(self, f"has died: {gone}")
