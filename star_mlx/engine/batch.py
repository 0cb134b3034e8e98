"""Decode rows together after one shared prefix: they join, end and are replaced at any step.

A lane's rows are in slots of its caches. A slot whose row has ended is given to the next prompt at
once; when no prompt is left, empty slots are removed. The next step is always in progress while the
last one's tokens are examined.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.cache import make_prompt_cache

from star_mlx.engine.device import on_cpu
from star_mlx.engine.form import Cache, Form
from star_mlx.engine.sampling import Draws
from star_mlx.engine.shared_cache import Columns, SharedCache, as_prefix, caches

PASS = 512  # padded tokens to read at a time: an interruption waits for them
LINGER = 8  # an eighth of the slots may be empty before they are removed (or, on a GPU, filled)


def prefill(model: nn.Module, tokens: Sequence[int], reading: int = PASS) -> Cache:
    """The caches of a model after reading one row of tokens, ``reading`` at a time."""
    cache: Cache = make_prompt_cache(model)
    for start in range(0, len(tokens), reading):
        model(mx.array([tokens[start : start + reading]]), cache=cache)
        mx.eval([c.state for c in cache])
    return cache


class _Predictor:
    """The model after the prefix, and how its next tokens are chosen."""

    def __init__(
        self,
        model: nn.Module,
        form: Form,
        prefix: Cache | None,
        prefix_length: int,
        draws: Draws | None,
    ) -> None:
        self._model, self._form = model, form
        self._prefix = None if prefix is None else as_prefix(prefix)
        self._length, self._draws = prefix_length, draws
        self._count = len(make_prompt_cache(model))  # not always one per layer

    def caches(self, pads: Sequence[int]) -> list[SharedCache]:
        """Empty caches after the prefix."""
        return caches(self._prefix, self._count, Columns(pads, self._length))

    def next_tokens(
        self, tokens: mx.array, cached: list[SharedCache], rows: Sequence[int | None]
    ) -> mx.array:
        """Read tokens (B, L) and choose each row's next, (B,); None means no row."""
        b, length = tokens.shape
        cached[0].columns.advance(length)
        last = mx.arange(1, b + 1) * length - 1
        logits = self._form.logits(self._model, tokens, last, cached)
        if self._draws is None:
            return mx.argmax(logits, axis=-1)
        return self._draws.draw(rows, self._draws.nucleus(logits))


class SharedBatch:
    """Rows that are decoded together, at most ``size`` at once. For one thread.

    Args:
        prefix: caches of the tokens that all rows begin with, or None if they share none.
        prefix_length: the number of those tokens.
        prompts: the rows' remaining token ids, at least one each, the longest first: a later one
            is read into the place of an earlier one.
        draws: how the rows' tokens are drawn, or None to decode greedily.
        reading: the maximum padded tokens of new prompts to read in one pass.
    """

    def __init__(
        self,
        model: nn.Module,
        form: Form,
        prompts: Sequence[Sequence[int]],
        *,
        prefix: Cache | None,
        prefix_length: int,
        draws: Draws | None,
        size: int,
        reading: int = PASS,
    ) -> None:
        self._reading = reading
        self._predictor = _Predictor(model, form, prefix, prefix_length, draws)
        self._queue, self._size = deque(enumerate(prompts)), size
        self._slots: list[int | None] = []  # the row in each slot
        self._caches: list[SharedCache] = []
        self._next: mx.array | None = None  # each slot's next token, being computed
        self._cpu = on_cpu()

    def __enter__(self) -> SharedBatch:
        return self

    def __exit__(self, *exception: object) -> None:
        self._caches.clear()
        self._next = None
        mx.clear_cache()

    def steps(self) -> Iterator[list[tuple[int, int]]]:
        """Yield one step's (row, token) pairs at a time, until every row is removed."""
        while self._queue or any(row is not None for row in self._slots):
            if self._due():
                while self._queue and (not self._slots or None in self._slots):
                    self._admit()
                    yield []  # so that an interruption is noticed
            if not self._queue:
                self._shrink()
            yield self._step()

    def _due(self) -> bool:
        """Whether prompts are read into the free slots now. A GPU reads several as fast as one, and
        is idle before and after, so that there several slots must be free."""
        free = self._slots.count(None)
        return self._cpu or free * LINGER > len(self._slots) or free == len(self._slots)

    def remove(self, rows: Sequence[int]) -> None:
        """End rows; waiting ones take their places."""
        ended = set(rows)
        self._slots = [None if row in ended else row for row in self._slots]

    def _step(self) -> list[tuple[int, int]]:
        assert self._next is not None
        self._room()
        after = self._predictor.next_tokens(self._next[:, None], self._caches, self._slots)
        if not self._cpu:
            mx.async_eval(after)
        tokens: Any = self._next.tolist()  # waits
        if self._cpu:  # only now: before, the last step was still reading the caches, and writing
            mx.async_eval(after)  # to them would have copied them
        self._next = after
        return [(row, t) for row, t in zip(self._slots, tokens, strict=True) if row is not None]

    def _admit(self) -> None:
        """Read the next prompts into free slots, as many as fit a pass."""
        if not self._slots or all(row is None for row in self._slots):
            self._begin()
        free = [i for i, row in enumerate(self._slots) if row is None]
        group: list[tuple[int, Sequence[int]]] = []
        while self._queue and len(group) < len(free):
            longest = max(len(self._queue[0][1]), *(len(p) for _, p in group), 0)
            if group and (len(group) + 1) * longest > self._reading:
                break
            group.append(self._queue.popleft())
        longest = max(len(p) for _, p in group)
        pads = [longest - len(p) for _, p in group]
        fresh = self._predictor.caches(pads)
        tokens = mx.array([[0] * pad + list(p) for pad, (_, p) in zip(pads, group, strict=True)])
        first = self._predictor.next_tokens(tokens, fresh, [row for row, _ in group])
        mx.eval(first)
        columns = self._caches[0].columns
        assert self._next is not None
        for i, (slot, (row, prompt)) in enumerate(zip(free, group, strict=False)):
            self._slots[slot] = row
            for cache, new in zip(self._caches, fresh, strict=True):
                cache.put(slot, new, i)
            columns.pads[slot] = columns.stop - len(prompt)
            self._next[slot] = first[i]

    def _begin(self) -> None:
        """Make empty slots, wide enough for the longest waiting prompt."""
        n = min(self._size, len(self._queue))
        longest = max(len(prompt) for _, prompt in self._queue)
        self._slots = [None] * n
        self._caches = self._predictor.caches([longest] * n)
        self._caches[0].columns.stop = longest
        self._next = mx.zeros((n,), mx.uint32)

    def _shrink(self) -> None:
        """Remove empty slots once there are enough of them to justify copying the caches."""
        kept = [i for i, row in enumerate(self._slots) if row is not None]
        if (len(self._slots) - len(kept)) * LINGER <= len(self._slots):
            return
        self._keep(kept)

    def _room(self) -> None:
        """Before the caches grow, drop the columns that no row uses any more."""
        columns = self._caches[0].columns
        pads = [p for p, row in zip(columns.pads, self._slots, strict=True) if row is not None]
        if self._caches[0].full and min(pads) > 0:
            self._keep(list(range(len(self._slots))))

    def _keep(self, slots: list[int]) -> None:
        columns = self._caches[0].columns
        rows = [self._slots[i] for i in slots]
        pads = [columns.pads[i] for i in slots]
        first = min(p for p, row in zip(pads, rows, strict=True) if row is not None)
        for cache in self._caches:
            cache.select(slots, first)
        columns.pads = [max(p - first, 0) for p in pads]
        columns.stop -= first
        assert self._next is not None
        self._slots, self._next = rows, self._next[mx.array(slots)]
