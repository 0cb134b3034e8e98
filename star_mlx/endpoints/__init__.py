"""Completions by OpenAI-compatible servers, in place of the local model.

``open_endpoints`` gives an object with the ``generate`` of ``types.Engine``; ``RemoteEngine`` is a
whole engine, whose completions come from servers and whose training is local. Importing it loads
nothing heavy.

May import ``engine`` and what is below it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from star_mlx.endpoints.generator import Encoder, Generator
    from star_mlx.settings import Endpoints

__all__ = ["open_endpoints"]


def open_endpoints(
    settings: Endpoints,
    text: Encoder,
    *,
    rng: random.Random,
    tell: Callable[[str], None] = lambda text: None,
    context: int | None = None,
) -> Generator:
    """Reach servers and return an object that completes prompts by them.

    Args:
        settings: the addresses, and how the servers are asked.
        text: an engine, or a tokenizer (``engine.open_tokenizer``) for the token ids of
            completions.
        rng: for the jitter of the waits between attempts.
        tell: called with each sentence about the servers, such as that one was put aside.
        context: tokens that a prompt and its completion may have together, if that is known.

    Raises:
        EndpointError: no server can be reached, or one of them cannot be used; the text names it,
            and says why and what to do.
    """
    from star_mlx.endpoints.generator import Generator
    from star_mlx.endpoints.pool import Pool

    pool = Pool(settings, rng, tell)
    pool.open()
    return Generator(pool, text, context)
