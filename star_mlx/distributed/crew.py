"""All other ranks, as rank 0 sees them: whether they are there, and how chunks are shared out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from star_mlx.distributed.adapters import digest
from star_mlx.distributed.mate import Mate
from star_mlx.distributed.messages import (
    BaseOpened,
    Completed,
    Hello,
    Learn,
    Learned,
    Open,
    Ping,
    Stop,
    TrainingRows,
)
from star_mlx.distributed.sharing import CompleteHere, Sharing
from star_mlx.distributed.wire import BEAT, SILENCE, Gone, Wire
from star_mlx.errors import RankError
from star_mlx.events import RankAt
from star_mlx.recipe.asking import ChunkWork
from star_mlx.types import Amount, Completion, Example

ROWS = 200  # examples in a message
KEPT = "finished work is kept: give the same command again, with any number of ranks"
_led: list[Crew] = []


class Crew:
    """The ranks beside this one, rank 0.

    Args:
        wires: a connection to each, with its ``Hello``.
        interrupt: called once, from another thread, if a rank is lost.
        group: what mlx computes with in all ranks, ``engine.ranks.Ranks``; None if they do not.
    """

    def __init__(
        self,
        wires: Sequence[tuple[Wire, Hello]],
        interrupt: Callable[[], None] = lambda: None,
        group: Any = None,
    ) -> None:
        self._interrupt, self.group = interrupt, group
        self.error: RankError | None = None
        self._changed = threading.Condition(threading.RLock())
        self._closed = False
        self._answers: dict[int, Any] = {}
        self._sharing: Sharing | None = None
        self._number = 0  # of the next chunk
        self._of: tuple[Any, ...] = ()
        ordered = sorted(wires, key=lambda wire: wire[1].rank)
        self.mates = [Mate(wire, hello, self._hear, self._lose) for wire, hello in ordered]
        threading.Thread(target=self._watch, name="ranks", daemon=True).start()

    def __str__(self) -> str:
        return ", ".join(["this one", *map(str, self.mates)])

    @property
    def size(self) -> int:
        """The number of ranks, this one included."""
        return len(self.mates) + 1

    def check(self) -> None:
        """Raise the error of a rank that is lost.

        Raises:
            RankError: one is.
        """
        if self.error is not None:
            raise self.error

    def why(self, seconds: float = 3.0) -> RankError | None:
        """The error of a rank that is lost, for which it waits a little: mlx may have noticed
        first."""
        with self._changed:
            self._changed.wait_for(lambda: self.error is not None, seconds)
        return self.error

    def open(self, recipe: str, here: dict[str, Any]) -> list[str]:
        """Have every rank load the base of a recipe, the same as here, unless it has it.

        Args:
            recipe: as JSON; only the parts on which the base depends.
            here: what the engine of this rank says of its base.

        Returns:
            What may make results differ between ranks, in sentences.

        Raises:
            RankError: one cannot load it, or has another.
        """
        if self._of == (recipe, here.get("hash")):
            return []
        self._of = (recipe, here.get("hash"))
        found: dict[Mate, BaseOpened] = self._all(Open(recipe))
        notes = []
        for mate, opened in found.items():
            there = opened.describe
            if there.get("hash") != here.get("hash"):
                raise RankError(
                    f"the base of {mate} is not that of rank 0: its content differs "
                    f"({_short(there.get('hash'))} instead of {_short(here.get('hash'))}). Copy "
                    "the same model to every machine, or name a revision"
                )
            if there.get("device") != here.get("device"):
                notes.append(
                    f"{mate} computes on a {there.get('device')}, rank 0 on a "
                    f"{here.get('device')}: attempts depend on which rank makes them"
                )
        return notes

    def learn(self, examples: Sequence[Example], settings: str, amount: Amount, seed: int) -> None:
        """Have every rank train on these examples; ``learned`` waits for them."""
        for mate in self.mates:
            self._answers.pop(mate.rank, None)
            self._send(mate, *(
                TrainingRows(list(examples[i : i + ROWS])) for i in range(0, len(examples), ROWS)
            ), Learn(settings, amount, seed))  # fmt: skip

    def learned(self, adapter: Path) -> None:
        """Wait until every rank has ended its training, and compare their adapters with ours.

        Raises:
            RankError: one is lost, or has another adapter.
        """
        own = digest(adapter)
        for mate, learned in self._answered(Learned).items():
            if learned.error or learned.digest != own:
                why = learned.error or "its adapter is not that of rank 0"
                raise RankError(f"{mate} did not train as rank 0 did: {why}; {KEPT}")
            mate.has(own)

    def share(
        self,
        works: Iterator[ChunkWork],
        complete: CompleteHere,
        progress: Callable[[int, int], None],
        memory: Callable[[], tuple[int, int]],
    ) -> Iterator[list[Completion]]:
        """Share chunks among all ranks, and yield their completions in order; see ``Sharing``.

        Raises:
            RankError: a rank is lost.
        """
        for mate in self.mates:
            mate.tokens = 0
        sharing = Sharing(self.mates, works, self._number, self._changed, self.check, memory)
        self._sharing = sharing
        try:
            yield from sharing.run(complete, progress)
        finally:
            self._number, self._sharing = sharing.next, None

    def states(self, memory: tuple[int, int], rate: float = 0.0) -> tuple[RankAt, ...]:
        """What is known of every rank, for the screen. If all train together, each has the same
        ``rate``, of tokens a second."""
        if self._sharing is not None:
            return self._sharing.states()
        here = RankAt(0, rate, *memory, 0.0)
        others = (RankAt(m.rank, rate, m.beat.held, m.beat.peak, m.wire.silent) for m in self.mates)
        return (here, *others)

    def close(self) -> None:
        """Tell the others that there is no more to do."""
        self._closed = True
        for mate in self.mates:
            try:
                mate.wire.beat(Stop())  # not after a message that is stuck
            except Gone:
                continue

    # ------------------------------------------------------------------ other threads

    def _hear(self, mate: Mate, message: Any) -> None:
        given = None
        with self._changed:
            if not isinstance(message, Completed):
                self._answers[mate.rank] = message
            elif self._sharing is not None:
                given = self._sharing.completed(mate, message)
            self._changed.notify_all()
        if given is not None:
            mate.give(*given)

    def _lose(self, mate: Mate, why: str) -> None:
        with self._changed:
            if self._closed or self.error is not None:
                return
            self.error = RankError(f"{mate} {why}; {KEPT}")
            self._changed.notify_all()
        self._interrupt()

    def _watch(self) -> None:
        """Tell the others that this rank is there, and see whether they are."""
        while not self._closed and self.error is None:
            for mate in self.mates:
                if mate.wire.silent > SILENCE:
                    self._lose(mate, f"has been silent for {SILENCE:.0f} s")
                    return
                try:
                    mate.wire.beat(Ping())
                except Gone as gone:
                    self._lose(mate, f"has died: {gone}")
                    return
            time.sleep(BEAT)

    # ------------------------------------------------------------------ this thread

    def _send(self, mate: Mate, *messages: Any) -> None:
        try:
            for message in messages:
                mate.wire.send(message)
        except Gone as gone:
            self._lose(mate, f"has died: {gone}")
            self.check()

    def _all(self, message: Any) -> dict[Mate, Any]:
        for mate in self.mates:
            self._answers.pop(mate.rank, None)
            self._send(mate, message)
        return self._answered(BaseOpened)

    def _answered(self, kind: type) -> dict[Mate, Any]:
        """What every rank has answered; waits for it."""
        with self._changed:
            while True:
                self.check()
                if all(isinstance(self._answers.get(m.rank), kind) for m in self.mates):
                    return {mate: self._answers.pop(mate.rank) for mate in self.mates}
                self._changed.wait(1.0)


def _short(value: Any) -> str:
    return str(value)[:12]


@contextmanager
def leading(crew: Crew) -> Iterator[Crew]:
    """Inside the block, ``led`` is this crew. A process leads one at most, as mlx has one group."""
    _led.append(crew)
    try:
        yield crew
    finally:
        _led.pop()
        crew.close()


def led() -> Crew | None:
    """The ranks that this process leads, if it is rank 0 of several."""
    return _led[-1] if _led else None
