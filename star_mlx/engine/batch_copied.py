"""Decode rows together with mlx-lm's own batches, with the shared prefix copied into every row.

For models whose layers keep more than keys and values (sliding windows, recurrent states), which
``batch`` does not support. Only this module uses mlx-lm's ``BatchGenerator``. The caller decides
where a row ends, so mlx-lm gets no stop tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.generate import BatchGenerator

from star_mlx.engine.sampling import Draws
from star_mlx.engine.shared_cache import Cache

PREFILL_STEP = 512  # tokens per row in one evaluation, so that an interrupt is noticed
NEVER = 1 << 30
LINGER = 16  # a 16th of the rows may have ended before they are removed


def greedy(logprobs: mx.array) -> mx.array:
    """The most probable token of every row, (B, V) -> (B,)."""
    return mx.argmax(logprobs, axis=-1)


class _Sampler:
    """Draws the tokens of all rows of a step at once.

    mlx-lm gives a sampler the rows' log-probabilities, but not which rows they are. It calls the
    logits processors of these rows before, in the same order, so that each can name its own.
    """

    def __init__(self, draws: Draws) -> None:
        self._draws = draws
        self._rows: list[int] = []

    def names(self, row: int) -> list[Callable[[mx.array, mx.array], mx.array]]:
        """The logits processors of a row."""

        def name(tokens: mx.array, logits: mx.array) -> mx.array:
            self._rows.append(row)
            return logits

        return [name]

    def __call__(self, logprobs: mx.array) -> mx.array:
        rows = self._rows[: len(logprobs)]
        del self._rows[: len(logprobs)]
        return self._draws.draw(rows, self._draws.nucleus(logprobs))


class CopiedBatch:
    """Rows that are decoded together, at most ``size`` at once.

    Args:
        prefix: cache of the tokens that all rows begin with, or None if they share none.
        prompts: the rows' remaining token ids, at least one each, in the order they start.
        draws: how the rows' tokens are drawn, or None to decode greedily.
    """

    def __init__(
        self,
        model: nn.Module,
        prompts: Sequence[Sequence[int]],
        *,
        prefix: Cache | None,
        draws: Draws | None,
        size: int,
    ) -> None:
        sampler = None if draws is None else _Sampler(draws)
        self._generator = BatchGenerator(
            model,
            sampler=sampler or greedy,
            completion_batch_size=size,
            prefill_batch_size=size,
            prefill_step_size=PREFILL_STEP,
        )
        names = None if sampler is None else [sampler.names(row) for row in range(len(prompts))]
        self._uids = self._generator.insert(
            [list(p) for p in prompts],
            max_tokens=[NEVER] * len(prompts),
            caches=[prefix] * len(prompts) if prefix else None,
            logits_processors=names,
        )
        self._row = {uid: i for i, uid in enumerate(self._uids)}
        self._size, self._left = size, len(self._uids)
        self._ended: set[int] = set()  # rows that are still decoded but ignored

    def __enter__(self) -> CopiedBatch:
        return self

    def __exit__(self, *exception: object) -> None:
        self._generator.close()
        mx.clear_cache()

    def steps(self) -> Iterator[list[tuple[int, int]]]:
        """Yield one step's (row, token) pairs at a time, until every row is removed."""
        while self._left:
            responses = self._generator.next_generated()
            pairs = [(self._row[r.uid], r.token) for r in responses]
            yield [(row, token) for row, token in pairs if row not in self._ended]

    def remove(self, rows: Sequence[int]) -> None:
        """End rows; waiting ones take their places once several have ended, as that copies the
        cache."""
        self._ended.update(rows)
        self._left -= len(rows)
        if len(self._ended) * LINGER > self._size or not self._left:
            self._generator.remove([self._uids[i] for i in self._ended])
            self._ended.clear()
