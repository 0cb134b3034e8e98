"""Completions by servers, in the order of the prompts, with the tokens that they cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from star_mlx.endpoints.adapters import Adapters, Write
from star_mlx.endpoints.connection import Server
from star_mlx.endpoints.pool import Pool
from star_mlx.endpoints.reply import Reply
from star_mlx.endpoints.work import as_it_is
from star_mlx.errors import EndpointError, ModelError
from star_mlx.store.metrics import Served
from star_mlx.types import Completion, Decoding


class Encoder(Protocol):
    """What encodes texts: an engine or a tokenizer alone. See ``types.Engine.encode``."""

    def encode(self, text: str) -> list[int]: ...


class Generator:
    """Completes prompts as ``types.Engine.generate`` does, by servers.

    The token ids of a completion are those that the server drew, if it says which (vLLM,
    mlx_lm.server). Else they are those of its text, which need not be the same ones.

    Args:
        pool: the servers, opened.
        text: encodes completions.
        context: tokens that a prompt and its completion may have together, if that is known.
        write_peft: writes an adapter in the form of PEFT, for servers that want it.
    """

    def __init__(
        self, pool: Pool, text: Encoder, context: int | None = None, write_peft: Write | None = None
    ) -> None:
        self.pool, self._text, self._context = pool, text, context
        self._start = str(getattr(text, "start", ""))  # a server puts it before a prompt itself
        self._adapters = Adapters(write_peft)
        self._answered = self._prompt_tokens = self._completion_tokens = 0

    @property
    def served(self) -> Served:
        """What the servers have done so far."""
        return Served(self._answered, self.pool.again, self._prompt_tokens, self._completion_tokens)

    def close(self) -> None:
        """Remove what was made for the servers."""
        self._adapters.close()

    def generate(
        self,
        prompts: Sequence[str],
        decoding: Decoding,
        *,
        prefix: str,
        adapter: Path | None,
        seeds: Sequence[int],
        progress: Callable[[int, int], None],
        only: Server | None = None,
    ) -> list[Completion]:
        """Complete every prompt; see ``types.Engine``. ``only`` is the one server to ask.

        Raises:
            EndpointError: no server is left, or one refuses a request.
            ModelError: a prompt fills the context.
        """
        texts = [(prefix + prompt).removeprefix(self._start) for prompt in prompts]
        bodies = [self._body(text, decoding, seed) for text, seed in zip(texts, seeds, strict=True)]
        made: list[Completion | None] = [None] * len(bodies)
        done = tokens = 0

        def heard(index: int, reply: Reply) -> None:
            nonlocal done, tokens
            made[index] = found = self._completion(reply, decoding)
            self._count(texts[index], found, reply)
            done, tokens = done + 1, tokens + len(found.token_ids)
            progress(done, tokens)

        servers = self.pool.servers if only is None else [only]
        prepare = as_it_is if adapter is None else self._adapters.at(adapter, servers)
        self.pool.ask(bodies, heard, prepare=prepare, only=only)
        completions = [one for one in made if one is not None]
        if len(completions) != len(bodies):
            raise EndpointError("not every prompt was answered: this is a fault of star-mlx")
        return completions

    def _body(self, text: str, decoding: Decoding, seed: int) -> Mapping[str, Any]:
        """The fields of a request that do not depend on the server."""
        body: dict[str, Any] = {
            "prompt": text,
            "max_tokens": self._room(text, decoding.max_tokens),
            "temperature": decoding.temperature,
        }
        if decoding.stop:
            body["stop"] = [stop for stop in decoding.stop if stop]
        if decoding.temperature > 0:
            body |= {"top_p": decoding.top_p, "seed": seed}
        return body

    def _room(self, text: str, most: int) -> int:
        """How many tokens a completion may have: servers refuse what does not fit."""
        known = [self._context, *(server.context for server in self.pool.servers)]
        context = min((n for n in known if n), default=None)
        if context is None or len(text.encode(errors="replace")) + most + 2 < context:
            return most  # a token is a byte or more
        used = len(self._text.encode(text)) + 1  # a start token
        if used >= context:
            raise ModelError(
                f"a prompt of {used} tokens leaves no room in the context of {context}: use fewer "
                "few-shot examples or a base with a longer context"
            )
        return min(most, context - used)

    def _completion(self, reply: Reply, decoding: Decoding) -> Completion:
        """The completion of an answer, cut at the first stop string that a server left in it.

        It is made of the tokens that the server drew, if it says which, and else of its text.
        """
        completed = getattr(self._text, "completed", None)  # of a tokenizer, not of every engine
        if completed is not None and reply.ids is not None:
            drawn, ids, ended = completed(reply.ids, decoding.stop)
            return Completion(drawn, tuple(ids), "stop" if ended else reply.finish)
        found = [at for stop in decoding.stop if stop and (at := reply.text.find(stop)) >= 0]
        text = reply.text[: min(found)] if found else reply.text
        return Completion(text, tuple(self._text.encode(text)), "stop" if found else reply.finish)

    def _count(self, text: str, made: Completion, reply: Reply) -> None:
        """Add the tokens of an answer, counted here if the server does not say."""
        asked, given = reply.prompt_tokens, reply.completion_tokens
        self._answered += 1
        self._prompt_tokens += len(self._text.encode(text)) if asked is None else asked
        self._completion_tokens += len(made.token_ids) if given is None else given
