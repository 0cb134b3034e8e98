"""Several servers that share requests: whichever is free takes the next one.

A request that fails is asked again after a wait, which grows and is partly chance, so that not all
come back at once. A server at which nothing succeeds for ``endpoints.give_up_after`` seconds is put
aside, and the others go on. The requests run in a thread of their own, so that this works where an
event loop runs already, as in a notebook; the caller hears of results in its own thread.
"""

from __future__ import annotations

import asyncio
import queue
import random
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from star_mlx.endpoints.connection import Connection, Server
from star_mlx.endpoints.key import Secret
from star_mlx.endpoints.reply import Fault, Reply
from star_mlx.endpoints.work import Job, Prepare, Work, as_it_is
from star_mlx.errors import EndpointError
from star_mlx.formatting import duration
from star_mlx.settings import Endpoints

TRIES = 8  # of a request, if others succeed meanwhile
FIRST_WAIT, MOST_WAIT = 0.5, 30.0  # seconds before a request is asked again
FIRST_PATIENCE = 5.0  # seconds for which a server is waited for before the work begins
KEPT = "finished work is kept: fix this and give the same command again"


class Pool:
    """Servers and how they are asked; see the docstring of the module.

    Args:
        settings: the addresses, and the bounds on requests and time.
        rng: for the chance in waits.
        tell: called with each sentence about a server.
        known: names by which a server may have the model.
    """

    def __init__(
        self,
        settings: Endpoints,
        rng: random.Random,
        tell: Callable[[str], None],
        known: Sequence[str] = (),
    ) -> None:
        if not settings.urls:
            raise EndpointError("there is no server to ask: give --endpoint URL")
        self.settings, self._rng, self.tell, self._known = settings, rng, tell, known
        self.key = Secret.of_environment()
        self.servers = [Server(url) for url in settings.urls]
        self.again = 0  # requests that were asked again

    def open(self) -> None:
        """Ask every server for its models. One that cannot be reached is put aside.

        Raises:
            EndpointError: none can be reached, or one cannot be used.
        """
        self._run(lambda news: self._opened())
        aside = [server for server in self.servers if server.aside]
        if len(aside) == len(self.servers):
            raise self._none(self.servers)
        for server in aside:
            self.tell(self._left_out(server))

    def ask(
        self,
        bodies: Sequence[Mapping[str, Any]],
        heard: Callable[[int, Reply], None],
        *,
        prepare: Prepare = as_it_is,
        only: Server | None = None,
    ) -> None:
        """Have every request answered.

        Args:
            bodies: the requests.
            heard: called with the number of a request and its answer, in the order of the answers.
            prepare: what makes a server ready.
            only: the one server to ask.

        Raises:
            EndpointError: a request is refused, or no server is left.
        """
        if bodies:
            jobs = [Job(i, body) for i, body in enumerate(bodies)]
            self._run(lambda news: self._all(jobs, prepare, only, news), heard)

    # ------------------------------------------------------------------ the thread

    def _run(
        self,
        work: Callable[[queue.SimpleQueue[Any]], Coroutine[Any, Any, None]],
        heard: Callable[[int, Reply], None] = lambda index, reply: None,
    ) -> None:
        """Run work in a thread with an event loop, and hear of its results in this one."""
        news: queue.SimpleQueue[Any] = queue.SimpleQueue()
        loop = asyncio.new_event_loop()
        task = loop.create_task(work(news))

        def run() -> None:
            try:
                loop.run_until_complete(task)
                news.put(None)
            except BaseException as error:
                news.put(error)
            finally:
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.close()

        thread = threading.Thread(target=run, name="endpoints", daemon=True)
        thread.start()
        try:
            while (one := news.get()) is not None:
                if isinstance(one, BaseException):
                    raise one
                if isinstance(one, str):
                    self.tell(one)
                else:
                    heard(*one)
        except BaseException:
            if not task.done():
                loop.call_soon_threadsafe(task.cancel)
            raise
        finally:
            thread.join(5)

    async def _opened(self) -> None:
        async with self._connection() as connection:
            reached = (self._reach(connection, server) for server in self.servers)
            for found in await asyncio.gather(*reached, return_exceptions=True):
                if found is not None:
                    raise found

    def _connection(self) -> Connection:
        return Connection(self.key, self.settings.timeout, self.settings.model, self._known)

    async def _reach(self, connection: Connection, server: Server) -> None:
        """Ask a server for its models, several times if it cannot be reached at once."""
        until = time.monotonic() + min(FIRST_PATIENCE, self.settings.give_up_after)
        failures = 0
        while True:
            try:
                await connection.describe(server)
                return
            except Fault as fault:
                if fault.kind != "again":
                    raise EndpointError(f"{server.url} cannot be asked: {fault.text}") from None
                wait = self._wait(failures) if fault.wait is None else fault.wait
                if time.monotonic() + wait > until:
                    server.aside = fault.text
                    return
            failures += 1
            await asyncio.sleep(wait)

    # ------------------------------------------------------------------ requests

    async def _all(
        self,
        jobs: Sequence[Job],
        prepare: Prepare,
        only: Server | None,
        news: queue.SimpleQueue[Any],
    ) -> None:
        """Share requests among the servers until all are answered."""
        work = Work(jobs, prepare, news)
        async with self._connection() as connection:
            if only is None:
                await self._back(connection, work)
            work.servers = [s for s in self.servers if not s.aside and only in (None, s)]
            if not work.servers:
                raise self._none([only] if only else self.servers)
            workers = [
                asyncio.ensure_future(self._answer(connection, server, work))
                for server in work.servers
                for _ in range(min(self.settings.at_once, work.left))
            ]
            for worker in workers:
                worker.add_done_callback(work.ended)
            try:
                await work.finished
            finally:
                work.over = True  # a worker may not hear that it is cancelled, see ``_answer``
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _back(self, connection: Connection, work: Work) -> None:
        """Try the servers that were put aside once more."""
        for server in self.servers:
            if not server.aside:
                continue
            try:
                await connection.describe(server)
            except Fault:
                continue
            server.aside, server.failing_since = "", 0.0
            work.news.put(f"{server.url} answers again, and is asked again")

    async def _answer(self, connection: Connection, server: Server, work: Work) -> None:
        """Take requests, one at a time, and have this server answer them.

        ``asyncio.wait_for`` of Python 3.11 and before drops a cancellation that comes together with
        the result it waits for, so whether the work is over is looked at as well.
        """
        failures = 0
        while not work.over:
            await asyncio.sleep(max(0.0, server.rests_until - time.monotonic()))
            job = await work.waiting.get()
            if server.aside:
                work.waiting.put_nowait(job)
                return
            try:
                more = await work.prepared(connection, server)
                sent = time.monotonic()
                answer = await connection.complete(server, {**job.body, **more})
            except Fault as fault:
                wait = self._wait(failures) if fault.wait is None else fault.wait
                failures += 1
                self._failed(server, job, fault, work)
                await asyncio.sleep(wait)
            else:
                failures, server.failing_since = 0, 0.0
                work.answered(job.index, answer, sent)

    def _failed(self, server: Server, job: Job, fault: Fault, work: Work) -> None:
        """Decide what becomes of a request that failed, and of the server."""
        now, patience = time.monotonic(), self.settings.give_up_after
        job.failures, job.since = job.failures + 1, job.since or now
        self.again += 1
        work.waiting.put_nowait(job)
        if fault.kind == "request":
            work.fail(EndpointError(f"{server.url} refuses a request: {fault.text}"))
        elif job.failures >= TRIES and work.last > job.since:
            text = f"{server.url} answers other requests, but not one of them in {TRIES} attempts"
            work.fail(EndpointError(f"{text}: {fault.text}; {KEPT}"))
        if server.aside:
            return
        server.failing_since = server.failing_since or now
        lost = fault.kind == "missing" and work.forget(server)
        if (fault.kind in ("server", "missing") and not lost) or (fault.wait or 0.0) > patience:
            server.aside = fault.text
        elif now - server.failing_since >= patience:
            server.aside = f"{fault.text}; nothing succeeds there since {duration(patience)}"
        else:
            server.rests_until = max(server.rests_until, now + (fault.wait or 0.0))
            return
        if any(not one.aside for one in work.servers):
            work.news.put(self._left_out(server))
        else:
            work.fail(self._none(work.servers))

    def _wait(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row; up to half of them are chance."""
        longest = min(MOST_WAIT, FIRST_WAIT * 2.0 ** min(failures, 16))
        return longest * (0.5 + 0.5 * self._rng.random())

    def _left_out(self, server: Server) -> str:
        left = sum(not one.aside for one in self.servers)
        rest = "1 other goes on" if left == 1 else f"{left} others go on"
        return f"{server.url} is put aside: {server.aside}; {rest}"

    def _none(self, servers: Sequence[Server]) -> EndpointError:
        each = "; ".join(f"{server.url}: {server.aside}" for server in servers)
        which = "no server is left to ask" if len(servers) > 1 else "the server cannot be asked"
        return EndpointError(f"{which}. {each}. {KEPT.capitalize()}")
