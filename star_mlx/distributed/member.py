"""A rank other than 0: its connection to rank 0, to which it shows that it is there."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from star_mlx.distributed.messages import Beat, Hello, Ping, Stop, ToRank
from star_mlx.distributed.wire import BEAT, SILENCE, Gone, Wire

PATIENCE = 3.0  # seconds that the main thread has to end what it is doing


class Member:
    """This rank. Messages are heard in a thread, so that rank 0 never waits for the model.

    Args:
        end: called from another thread with an exit code and the reason, if there is nothing more
            to do; unless there is a reason, the main thread has had time to end by itself.
        memory: bytes in use by the engine, now and at most.
    """

    def __init__(
        self,
        wire: Wire,
        hello: Hello,
        end: Callable[[int, str], None],
        memory: Callable[[], tuple[int, int]] = lambda: (0, 0),
    ) -> None:
        self.wire, self._end, self.memory = wire, end, memory
        self.done = self.tokens = 0  # of the chunk that is being completed
        self._inbox: queue.SimpleQueue[ToRank | None] = queue.SimpleQueue()
        self._over, self._closed = False, threading.Event()
        wire.send(hello)
        for work in (self._listen, self._beat):
            threading.Thread(target=work, name=work.__name__, daemon=True).start()

    def next(self) -> ToRank | None:
        """The next thing to do; None if there is no more."""
        return self._inbox.get()

    def progress(self, done: int, tokens: int) -> None:
        self.done, self.tokens = done, tokens

    def close(self) -> None:
        self._over = True
        self._closed.set()
        self.wire.close()

    def _listen(self) -> None:
        try:
            while True:
                message = self.wire.receive()
                if isinstance(message, Stop):
                    self._finish(0, "")
                    return
                if not isinstance(message, Ping):
                    self._inbox.put(message)
        except Gone as gone:
            self._finish(3, f"rank 0 has died: {gone}")

    def _beat(self) -> None:
        while not self._over:
            try:
                self.wire.beat(Beat(self.done, self.tokens, *self.memory()))
            except Gone as gone:
                self._finish(3, f"rank 0 has died: {gone}")
                return
            if self.wire.silent > SILENCE:
                self._finish(3, f"rank 0 has been silent for {SILENCE:.0f} s")
                return
            time.sleep(BEAT)

    def _finish(self, code: int, why: str) -> None:
        if not self._over:
            self._over = True
            self._inbox.put(None)
            if why or not self._closed.wait(PATIENCE):
                self._end(code, why)
