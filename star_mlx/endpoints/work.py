"""Requests that several servers share, and how far their answering has come."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from star_mlx.endpoints.connection import Connection, Server
from star_mlx.endpoints.reply import Reply


class Prepare(Protocol):
    """Makes a server ready for requests, and gives the fields that they have there."""

    async def __call__(self, connection: Connection, server: Server) -> Mapping[str, Any]: ...


@dataclass(slots=True)
class Job:
    """A request: its number, its body, how often it has failed, and since when."""

    index: int
    body: Mapping[str, Any]
    failures: int = 0
    since: float = 0.0


async def as_it_is(connection: Connection, server: Server) -> Mapping[str, Any]:
    """A server that needs no preparation."""
    return {}


class Work:
    """Requests that are to be answered.

    ``finished`` is done when all are; ``over`` says that no more are to be sent. ``last`` is when
    the last of those that were answered was sent: an answer to a request from before a failure does
    not show that the server still answers others.
    """

    def __init__(self, jobs: Sequence[Job], prepare: Prepare, news: queue.SimpleQueue[Any]) -> None:
        self.news, self._prepare = news, prepare
        self.waiting: asyncio.Queue[Job] = asyncio.Queue()
        for job in jobs:
            self.waiting.put_nowait(job)
        self.left, self.last, self.over = len(jobs), 0.0, False
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.servers: list[Server] = []
        self._ready: dict[Server, Mapping[str, Any]] = {}
        self._preparing = asyncio.Lock()

    async def prepared(self, connection: Connection, server: Server) -> Mapping[str, Any]:
        """The fields of requests at a server, which is made ready before its first one."""
        if server not in self._ready:
            async with self._preparing:
                if server not in self._ready:
                    self._ready[server] = await self._prepare(connection, server)
        return self._ready[server]

    def forget(self, server: Server) -> bool:
        """Have a server made ready again, which may have lost its adapters; whether it had any."""
        lost = bool(server.adapters)
        server.adapters = set()
        self._ready.pop(server, None)
        return lost

    def answered(self, index: int, answer: Reply, sent: float) -> None:
        self.news.put((index, answer))
        self.left, self.last = self.left - 1, max(self.last, sent)
        if not self.left and not self.finished.done():
            self.finished.set_result(None)

    def fail(self, error: BaseException) -> None:
        if not self.finished.done():
            self.finished.set_exception(error)

    def ended(self, worker: asyncio.Future[None]) -> None:
        """Pass on an error of a worker, which is a bug or one of preparing."""
        if not worker.cancelled() and (error := worker.exception()):
            self.fail(error)
