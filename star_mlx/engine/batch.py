"""What star-mlx uses of mlx-lm's batch machinery, and nothing else does. Tested with 0.32.2.

Rows join and leave a batch while it runs (continuous batching). Where a row ends is decided by the
caller, so mlx-lm is given no stop of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.generate import BatchGenerator
from mlx_lm.models.cache import make_prompt_cache

PREFILL_STEP = 512  # tokens a row in one evaluation, so that an interrupt gets through
NEVER = 1 << 30

Sampler = Callable[[mx.array], mx.array]  # log-probabilities (1, V) -> token (1,)
Cache = list[Any]  # one mlx-lm cache a layer


def greedy(logprobs: mx.array) -> mx.array:
    """The most probable token of every row, (B, V) -> (B,)."""
    return mx.argmax(logprobs, axis=-1)


def prefill(model: nn.Module, tokens: Sequence[int]) -> Cache:
    """The cache of a model that has read ``tokens``, one row; empty for no tokens."""
    cache: Cache = make_prompt_cache(model)
    for start in range(0, len(tokens), PREFILL_STEP):
        model(mx.array([tokens[start : start + PREFILL_STEP]]), cache=cache)
        mx.eval([c.state for c in cache])
    return cache


class Rows:
    """Rows being decoded together, at most ``size`` at once.

    Args:
        prefix: cache of the tokens that all rows begin with, or None where they share none.
        prompts: the rows' remaining token ids, at least one each, in the order they start.
        samplers: one a row, or None to decode greedily.
    """

    def __init__(
        self,
        model: nn.Module,
        prompts: Sequence[Sequence[int]],
        *,
        prefix: Cache | None,
        samplers: Sequence[Sampler] | None,
        size: int,
    ) -> None:
        self._generator = BatchGenerator(
            model,
            sampler=greedy,
            completion_batch_size=size,
            prefill_batch_size=size,
            prefill_step_size=PREFILL_STEP,
        )
        self._uids = self._generator.insert(
            [list(p) for p in prompts],
            max_tokens=[NEVER] * len(prompts),
            caches=[prefix] * len(prompts) if prefix else None,
            samplers=list(samplers) if samplers else None,
        )
        self._row = {uid: i for i, uid in enumerate(self._uids)}
        self._left = len(self._uids)

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *exception: object) -> None:
        self._generator.close()
        mx.clear_cache()

    def steps(self) -> Iterator[list[tuple[int, int]]]:
        """Yield one step's (row, token) pairs at a time, until every row is removed."""
        while self._left:
            responses = self._generator.next_generated()
            yield [(self._row[r.uid], r.token) for r in responses]

    def remove(self, rows: Sequence[int]) -> None:
        """End rows; others take their places."""
        self._generator.remove([self._uids[i] for i in rows])
        self._left -= len(rows)
