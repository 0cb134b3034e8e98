"""Caches that keep the prefix of all rows once, passed to a model in place of mlx-lm's own.

The rows of a batch end at the same column of their buffers and begin at different ones, so that a
row that has ended can be replaced by another at any step.

Shapes: B rows, G heads of keys, L new tokens, S tokens of the rows' own so far, P tokens of the
prefix, D the width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mlx.core as mx

from star_mlx.engine.device import on_cpu

GROW = 64  # columns by which the rows' buffers grow
LOW = -1e30  # a masked score; finite, so that a row of masked scores does not become NaN

Cache = list[Any]  # one cache per layer


class NotOrdinary(Exception):
    """The model's attention is of a kind that these caches do not support."""


class Columns:
    """The columns of the rows' buffers that hold tokens; one object for the caches of all layers.

    Row b owns the columns ``pads[b]`` up to ``stop``: rows end at the same column and begin at
    different ones. A pass reads tokens into ``start`` up to ``stop``.
    """

    def __init__(self, pads: Sequence[int], prefix: int) -> None:
        self.prefix = prefix
        self.start = self.stop = 0
        self.pads = list(pads)
        self.offset: mx.array | None = None
        self._real: mx.array | None = None
        self._nothing = mx.zeros((prefix,))
        self._added: dict[int, tuple[mx.array | None, mx.array]] = {}

    def advance(self, tokens: int) -> None:
        """Begin a pass that reads ``tokens`` tokens of every row."""
        self.start, self.stop = self.stop, self.stop + tokens
        self._pads = mx.array(self.pads)
        self.offset = self.prefix + self.start - self._pads  # (B,) positions of the first tokens
        self._real = None
        self._added.clear()

    def mask(self) -> mx.array | None:
        """The columns, (1, S) or (L, S), that new tokens of each row see, (B, 1, L, S); or None."""
        new, old = mx.arange(self.start, self.stop), mx.arange(self.stop)
        if self.stop - self.start == 1 and not any(self.pads):
            return None
        inside = old[None, None, None, :] >= self._pads[:, None, None, None]
        return inside & (old[None, :] <= new[:, None])[None, None]

    def blank(self, a: mx.array) -> mx.array:
        """New tokens' keys or values (B, G, L, D), with zeros for pads.

        A model may make NaN of the position of a pad, which can be negative, and a kernel of a
        token that sees nothing. NaN would reach the real tokens, as zero times NaN is NaN.
        """
        if self.stop - self.start == 1 or not any(self.pads):
            return a
        if self._real is None:
            new = mx.arange(self.start, self.stop)
            self._real = (new >= self._pads[:, None])[:, None, :, None]
        return mx.where(self._real, a, 0)

    def added(self, mask: mx.array | None, heads: int) -> tuple[mx.array, mx.array]:
        """What is added to the scores of the prefix, (P,), and of the rows' own tokens.

        The latter is the mask as numbers, (B, 1, heads * L, S), or (S,) zeros without a mask, where
        ``heads`` is the number of heads that share keys. All layers of a pass get the same arrays.
        """
        known = self._added.get(heads)
        if known is None or known[0] is not mask:
            made = mx.zeros((self.stop,)) if mask is None else _repeated(mask, heads)
            known = self._added[heads] = mask, made
        return self._nothing, known[1]


def _repeated(mask: mx.array, heads: int) -> mx.array:
    b, _, length, s = mask.shape
    added = mx.where(mask[:, :, None], 0.0, LOW)  # (B, 1, 1, L, S)
    return mx.broadcast_to(added, (b, 1, heads, length, s)).reshape(b, 1, heads * length, s)


class SharedCache:
    """A layer's keys and values: the prefix as one row, the rows' own tokens (B, G, S, D)."""

    def __init__(self, columns: Columns, prefix: tuple[mx.array, mx.array] | None) -> None:
        self.columns = columns
        self.prefix = prefix  # (G, P, D) each
        self.keys: mx.array | None = None
        self.values: mx.array | None = None
        self.attended = False  # whether ``attend`` was called since the last update

    @property
    def offset(self) -> mx.array:
        """The positions (B,) of the tokens being read, for rotary embeddings."""
        assert self.columns.offset is not None
        return self.columns.offset

    def make_mask(
        self, n: int, return_array: bool = False, window_size: int | None = None
    ) -> mx.array | None:
        """The mask of the rows' own tokens; see ``Columns.mask``."""
        if window_size is not None:
            raise NotOrdinary("it attends through a sliding window")
        return self.columns.mask()

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Add new tokens' keys and values (B, G, L, D); return all of the rows' own so far."""
        start, stop = self.columns.start, self.columns.stop
        self.attended = False
        if not on_cpu():
            keys, values = self.columns.blank(keys), self.columns.blank(values)
        if self.prefix is not None:
            keys = keys.astype(self.prefix[0].dtype)
        if self.keys is None or self.values is None:
            self.keys, self.values = keys, values
            return keys, values
        if stop > self.keys.shape[2]:
            more = max(GROW, stop - self.keys.shape[2])
            self.keys = _widened(self.keys, more)
            self.values = _widened(self.values, more)
        self.keys[..., start:stop, :] = keys
        self.values[..., start:stop, :] = values
        return self.keys[..., :stop, :], self.values[..., :stop, :]

    @property
    def full(self) -> bool:
        """Whether the next token needs wider buffers."""
        return self.keys is not None and self.columns.stop >= self.keys.shape[2]

    def select(self, rows: Sequence[int], first: int) -> None:
        """Keep these rows, and the columns from ``first`` on."""
        assert self.keys is not None and self.values is not None
        stop, index = self.columns.stop, mx.array(list(rows))
        self.keys = self.keys[index, :, first:stop]
        self.values = self.values[index, :, first:stop]

    def put(self, row: int, other: SharedCache, source: int) -> None:
        """Copy one row of another batch into a row of this one, aligned to end where all end."""
        assert other.keys is not None and other.values is not None
        begin, end = other.columns.pads[source], other.columns.stop
        stop = self.columns.stop
        if self.keys is None or self.values is None:
            rows, (g, d) = len(self.columns.pads), other.keys.shape[1::2]
            self.keys = mx.zeros((rows, g, stop + GROW, d), other.keys.dtype)
            wide = stop + GROW, other.values.shape[3]
            self.values = mx.zeros((rows, g, *wide), other.values.dtype)
        self.keys[row, :, stop - (end - begin) : stop] = other.keys[source, :, begin:end]
        self.values[row, :, stop - (end - begin) : stop] = other.values[source, :, begin:end]

    @property
    def state(self) -> list[mx.array]:
        """The arrays to evaluate."""
        return [a for a in (self.keys, self.values) if a is not None]


def _widened(a: mx.array, more: int) -> mx.array:
    return mx.concatenate([a, mx.zeros((*a.shape[:2], more, a.shape[3]), a.dtype)], axis=2)


def as_prefix(read: Sequence[Any]) -> list[tuple[mx.array, mx.array]]:
    """The prefix of each layer (G, P, D) from mlx-lm's caches of one row.

    It is kept in float32: keys because of ``attention_gpu``, values so that sums are not rounded.
    """
    pairs = [cache.keys_and_values() for cache in read]
    return [(k[0].astype(mx.float32), v[0].astype(mx.float32)) for k, v in pairs]


def caches(
    prefix: Sequence[tuple[mx.array, mx.array]] | None, layers: int, columns: Columns
) -> list[SharedCache]:
    """Empty caches of all layers, after a prefix or none."""
    if prefix is None:
        return [SharedCache(columns, None) for _ in range(layers)]
    return [SharedCache(columns, pair) for pair in prefix]
