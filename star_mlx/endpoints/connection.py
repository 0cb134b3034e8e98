"""One request to one server: bounded in time and size, and its answer read or named as a fault."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import msgspec

from star_mlx.endpoints import reply
from star_mlx.endpoints.key import Secret
from star_mlx.endpoints.reply import Fault, Reply

LARGEST = 64 << 20  # bytes of an answer
CONNECTING = 10.0  # seconds
DESCRIBING = 60.0  # seconds to name its models, or to load an adapter
VLLM, LLAMA_CPP = "vllm", "llamacpp"  # as they call the owner of their models
MLX_LM = "mlx_lm"  # which names none, and is known by its kind of HTTP server
# The fields by which a server samples only as it is asked to, without values of its own or of the
# model's files, and says which tokens it drew.
PLAIN: Mapping[str, Mapping[str, Any]] = {
    VLLM: {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "return_token_ids": True},
    LLAMA_CPP: {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},
    MLX_LM: {"top_k": 0, "min_p": 0.0, "logprobs": True},
}


@dataclass(slots=True, eq=False)
class Server:
    """A server and its state; ``aside`` says why it is not asked any more.

    ``context`` is the number of tokens of a prompt with its completion, None if it does not say.
    """

    url: str
    model: str = ""
    kind: str = ""  # VLLM, LLAMA_CPP, MLX_LM or a word of its own
    software: str = ""  # as it names itself in the header of its last answer
    context: int | None = None
    aside: str = ""
    failing_since: float = 0.0  # when it began that nothing succeeds; 0 if the last request did
    rests_until: float = 0.0
    adapters: set[str] = field(default_factory=set)  # names of those that it has loaded


class _Model(msgspec.Struct):
    id: str
    owned_by: str | None = None
    max_model_len: int | None = None
    parent: str | None = None  # of an adapter: its base


class _Models(msgspec.Struct):
    data: list[_Model]


class Connection:
    """Connections to servers, while the block lasts.

    Args:
        key: given to every server.
        timeout: seconds that a completion may take.
        model: the name to ask for; None: one of ``known``, or the only one that a server has.
    """

    def __init__(
        self, key: Secret, timeout: float, model: str | None = None, known: Sequence[str] = ()
    ) -> None:
        self._key, self._timeout = key, timeout
        self._model, self._known = model, known
        self._clients: dict[bool, Any] = {}

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def describe(self, server: Server) -> None:
        """Ask a server which models it has, and choose the one to ask for.

        Raises:
            Fault: it does not answer, or it is not clear which model is meant.
        """
        try:
            body = await self._send("GET", server, "/models", None, DESCRIBING)
            listed = reply.decoded(body, _Models, self._key).data
            there = [one for one in listed if one.parent is None]
        except Fault as fault:
            if not fault.reached or fault.kind == "server":
                raise
            if self._model is None and fault.kind == "missing":
                raise
            if self._model is None:
                text = f"asked for its models, {fault.text}; endpoints.model would name one"
                raise Fault(fault.kind, text, fault.wait) from None
            there = []  # some servers do not list them
        server.model = self._chosen([one.id for one in there])
        one = next((m for m in there if reply.same_model(m.id, server.model)), None)
        server.kind = (one.owned_by or "") if one else ""
        if not server.kind and server.software.startswith("BaseHTTP"):
            server.kind = MLX_LM
        server.context = one.max_model_len if one else None
        server.adapters = set()  # it may have been started again

    def _chosen(self, there: Sequence[str]) -> str:
        if self._model is not None:
            return self._model
        known = [name for name in there if name in self._known]
        if len(known) == 1 or len(there) == 1:
            return (known or list(there))[0]
        shown = ", ".join(self._key.shown(name, 60) for name in there[:8]) or "none"
        raise Fault("server", f"it has {len(there)} models ({shown}): give endpoints.model")

    async def complete(self, server: Server, body: Mapping[str, Any]) -> Reply:
        """Have a server complete a prompt.

        Raises:
            Fault: it does not.
        """
        asked = {"model": server.model, **PLAIN.get(server.kind, {}), **body}
        found = await self._send("POST", server, "/completions", asked, self._timeout)
        return reply.read(found, asked["model"], self._key)

    async def post(self, server: Server, path: str, body: Mapping[str, Any]) -> None:
        """Have a server do something of which only the success matters.

        Raises:
            Fault: it has none.
        """
        await self._send("POST", server, path, body, DESCRIBING)

    async def _send(
        self, method: str, server: Server, path: str, body: Any, seconds: float
    ) -> bytes:
        """The body of a successful answer."""
        import httpx2

        sent = self._read(method, server, path, body)
        try:
            return await asyncio.wait_for(sent, seconds)
        except (asyncio.TimeoutError, httpx2.TimeoutException):
            what = f"it does not answer within {seconds:g} seconds"
            more = " (endpoints.timeout)" if path == "/completions" else ""
            raise Fault("again", what + more, reached=False) from None
        except httpx2.InvalidURL as error:
            raise Fault("server", f"this is no address: {self._key.shown(str(error))}") from None
        except httpx2.HTTPError as error:
            text = self._key.shown(str(error)) or type(error).__name__
            raise Fault("again", f"it cannot be reached: {text}", reached=False) from None

    async def _read(self, method: str, server: Server, path: str, body: Any) -> bytes:
        url = server.url + path
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        async with self._client(url).stream(method, url, content=data, headers=headers) as answer:
            found = bytearray()
            async for part in answer.aiter_bytes():
                found += part
                if len(found) > LARGEST:
                    raise Fault("again", f"its answer is longer than {LARGEST >> 20} MB")
            server.software = answer.headers.get("server", "")
            reply.check(answer.status_code, answer.headers, bytes(found), self._key)
            return bytes(found)

    def _client(self, url: str) -> Any:
        """The client for addresses on this machine without TLS, for which no proxy is meant, or for
        others. The first needs no certificates, which take longer to read than a short answer."""
        import httpx2

        near = _near(url)
        if near not in self._clients:
            self._clients[near] = httpx2.AsyncClient(
                headers=self._key.headers(),
                timeout=httpx2.Timeout(None, connect=CONNECTING),
                limits=httpx2.Limits(),  # the pool bounds them
                trust_env=not near,
                verify=not near,
            )
        return self._clients[near]


def _near(url: str) -> bool:
    """Whether an address is on this machine, and without TLS."""
    host = urlsplit(url).hostname or ""
    here = host in ("localhost", "::1") or host.startswith("127.")
    return here and url.startswith("http:")
