"""Draw tokens: temperature, then the nucleus of ``top_p`` (Holtzman et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx

from star_mlx.engine import fused
from star_mlx.engine.device import on_cpu
from star_mlx.types import Decoding


class Draws:
    """The draws of rows, each from its own key.

    A row's key is split at every token, so its draws depend only on its seed and its logits, not
    on the other rows.
    """

    def __init__(self, decoding: Decoding, seeds: Sequence[int]) -> None:
        self._temperature, self._top_p = decoding.temperature, decoding.top_p
        seeds = [*seeds, 0]  # the last one is for places without a row
        self._keys = mx.stack([mx.random.key(seed % (1 << 64)) for seed in seeds])

    def nucleus(self, logits: mx.array) -> mx.array:
        """Logits (B, V) divided by the temperature, -inf for tokens outside the nucleus."""
        logits = logits.astype(mx.float32) / self._temperature
        if self._top_p >= 1.0:
            return logits
        p = mx.softmax(logits, axis=-1)
        ranked = -mx.sort(-p, axis=-1)
        above = mx.cumsum(ranked, axis=-1) - ranked  # probability of the tokens ranked higher
        least = mx.min(mx.where(above < self._top_p, ranked, mx.inf), axis=-1, keepdims=True)
        return mx.where(p >= least, logits, -mx.inf)

    def draw(self, rows: Sequence[int | None], logits: mx.array) -> mx.array:
        """The rows' next tokens, (B,), by their logits (B, V) from ``nucleus``; any token if a row
        is None.

        The inverse of the cumulative distribution, for all rows at once: the last possible token
        at which the probability of the tokens before it is at most a uniform random number.
        """
        place = mx.array([len(self._keys) - 1 if row is None else row for row in rows])
        keys = mx.vmap(mx.random.split)(self._keys[place])
        self._keys[place] = keys[:, 0]
        u = mx.vmap(lambda key: mx.random.uniform(shape=(1,), key=key))(keys[:, 1])
        if on_cpu() and fused.wanted(logits.size):
            return fused.draw(logits, u)
        p = mx.softmax(logits, axis=-1)
        passed = mx.cumsum(p, axis=-1)
        reached = (passed - p <= u * passed[:, -1:]) & (p > 0)
        tokens = mx.where(reached, mx.arange(p.shape[-1], dtype=mx.uint32), 0)
        return tokens.max(axis=-1)
