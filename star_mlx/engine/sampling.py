"""Drawing tokens: temperature, then the nucleus of ``top_p`` (Holtzman et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx

from star_mlx.types import Decoding


class Draws:
    """The draws of rows, each from a key of its own.

    A row's key is split at every token, so that what it draws depends on its seed and its logits
    alone, not on the rows beside it.
    """

    def __init__(self, decoding: Decoding, seeds: Sequence[int]) -> None:
        self._temperature, self._top_p = decoding.temperature, decoding.top_p
        self._keys = [mx.random.key(seed % (1 << 64)) for seed in seeds]

    def nucleus(self, logits: mx.array) -> mx.array:
        """Logits (B, V) divided by the temperature, -inf for tokens outside the nucleus."""
        logits = logits.astype(mx.float32) / self._temperature
        if self._top_p >= 1.0:
            return logits
        p = mx.softmax(logits, axis=-1)
        ranked = -mx.sort(-p, axis=-1)
        above = mx.cumsum(ranked, axis=-1) - ranked  # probability of what ranks higher
        least = mx.min(mx.where(above < self._top_p, ranked, mx.inf), axis=-1, keepdims=True)
        return mx.where(p >= least, logits, -mx.inf)

    def draw(self, row: int, logits: mx.array) -> mx.array:
        """A row's next token, (1,), by its logits (1, V) as ``nucleus`` leaves them."""
        self._keys[row], now = mx.random.split(self._keys[row])
        return mx.random.categorical(logits, axis=-1, key=now)
