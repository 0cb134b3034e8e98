"""Chunks that several ranks share: whichever is free takes the next one.

What a rank does is decided here, by rank 0. The chunks are taken from their iterator, and yielded,
in the thread of whoever asks for them, so a task's own code never runs in two threads. A few are
prepared ahead, so that a rank that has ended one does not wait for rank 0 to end its own.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from star_mlx.distributed.adapters import digest
from star_mlx.distributed.mate import Mate
from star_mlx.distributed.messages import Beat, Completed
from star_mlx.events import RankAt
from star_mlx.recipe.asking import ChunkWork
from star_mlx.types import Completion

AHEAD = 4  # chunks that are prepared for each rank

CompleteHere = Callable[[ChunkWork, Callable[[int, int], None]], list[Completion]]
GivenChunk = tuple[int, ChunkWork, str | None]  # the number of a chunk, and its adapter's digest


class Sharing:
    """Chunks that are being shared out.

    Args:
        mates: the other ranks.
        works: the chunks.
        first: the number of the first chunk; no two have the same, also in other sharings.
        changed: the lock of all that is here; notified when a rank is heard.
        check: raises the error of a rank that is lost.
        memory: bytes in use by this rank, now and at most.
    """

    def __init__(
        self,
        mates: Sequence[Mate],
        works: Iterator[ChunkWork],
        first: int,
        changed: threading.Condition,
        check: Callable[[], None],
        memory: Callable[[], tuple[int, int]],
    ) -> None:
        self._mates, self._works, self._changed = mates, works, changed
        self._check, self._memory = check, memory
        self._ready: deque[GivenChunk] = deque()
        self._made: dict[int, list[Completion]] = {}
        self.next = self._out = first  # the numbers of the next chunk taken, and yielded
        self._taken_all = False
        self._digests: dict[Path, str] = {}
        self._own = (0, 0)  # rows and tokens of the chunk that this rank completes
        self._tokens = 0  # of those that it has completed
        self._began = time.monotonic()

    def run(
        self, complete: CompleteHere, progress: Callable[[int, int], None]
    ) -> Iterator[list[Completion]]:
        """Yield the completions of each chunk, in order.

        Args:
            complete: completes a chunk here, and is given what to call with its progress.
            progress: called with the rows and tokens that are completed and not yielded yet.
        """

        def here(done: int, tokens: int) -> None:
            self._own = (done, tokens)
            self._prepare()
            progress(*self._so_far())

        while True:
            self._prepare()
            while self._out in self._made:
                made = self._made.pop(self._out)
                self._out += 1
                yield made
                self._prepare()
            if self._taken_all and self._out == self.next:
                return
            if own := self._take():
                number, work, _ = own
                self._made[number] = made = complete(work, here)
                self._tokens += sum(len(one.token_ids) for one in made)
                self._own = (0, 0)
            else:
                with self._changed:
                    self._changed.wait_for(lambda: self._out in self._made, 0.5)
            progress(*self._so_far())

    def completed(self, mate: Mate, message: Completed) -> GivenChunk | None:
        """Keep what a rank has completed; return the chunk that it is to complete next."""
        with self._changed:
            if message.number < self.next:
                self._made[message.number] = message.completions
                mate.tokens += sum(len(one.token_ids) for one in message.completions)
            mate.doing = None
            mate.beat = Beat(0, 0, mate.beat.held, mate.beat.peak)
            return self._for(mate)

    def states(self) -> tuple[RankAt, ...]:
        """Each rank's tokens a second since the sharing began, its memory, and its silence."""
        seconds = max(1e-3, time.monotonic() - self._began)
        here = RankAt(0, (self._tokens + self._own[1]) / seconds, *self._memory(), 0.0)
        others = (
            RankAt(
                mate.rank,
                (mate.tokens + (mate.beat.tokens if mate.doing is not None else 0)) / seconds,
                mate.beat.held,
                mate.beat.peak,
                mate.wire.silent,
            )
            for mate in self._mates
        )
        return (here, *others)

    def _prepare(self) -> None:
        """Take chunks from their iterator, and give each rank that has none one."""
        self._check()
        while not self._taken_all and len(self._ready) < AHEAD * (1 + len(self._mates)):
            work = next(self._works, None)
            if work is None:
                self._taken_all = True
            else:
                given = self.next, work, self._digest(work.adapter)
                self.next += 1
                with self._changed:
                    self._ready.append(given)
        for mate in self._mates:
            with self._changed:
                given_now = self._for(mate)
            if given_now:
                mate.give(*given_now)

    def _for(self, mate: Mate) -> GivenChunk | None:
        if mate.doing is not None or not self._ready:
            return None
        given = self._ready.popleft()
        mate.doing = given[0]
        return given

    def _take(self) -> GivenChunk | None:
        with self._changed:
            return self._ready.popleft() if self._ready else None

    def _digest(self, adapter: Path | None) -> str | None:
        if adapter is None:
            return None
        if adapter not in self._digests:
            self._digests[adapter] = digest(adapter)
        return self._digests[adapter]

    def _so_far(self) -> tuple[int, int]:
        """The rows and tokens that are completed and not yielded yet."""
        with self._changed:
            waiting = [one for made in self._made.values() for one in made]
            busy = [mate.beat for mate in self._mates if mate.doing is not None]
        done = len(waiting) + self._own[0] + sum(beat.done for beat in busy)
        tokens = sum(len(one.token_ids) for one in waiting) + self._own[1]
        return done, tokens + sum(beat.tokens for beat in busy)
