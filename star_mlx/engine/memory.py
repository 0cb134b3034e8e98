"""Keeping mlx within a stated number of bytes, by smaller batches.

What a batch takes is estimated from the model's shape; the estimates were held against mlx's own
peaks (SmolLM2-135M: 2.65 MB a token of training where 2.6 are estimated).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from star_mlx.errors import ModelError

GIB = 1 << 30
MARGIN = 0.95  # of the bound: what the estimates may be wrong by
FEWEST, MOST = 64, 512  # tokens of a pass


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a model, from its config.json; what is not there is taken as of a usual model."""

    layers: int
    hidden: int
    inner: int
    heads: int
    groups: int
    head: int
    vocabulary: int
    itemsize: int  # bytes of a number in caches and activations

    @classmethod
    def of(cls, config: Mapping[str, Any], itemsize: int) -> Shape:
        """The shape that a config.json tells."""
        c = config.get("text_config") or config
        hidden = int(c.get("hidden_size") or c.get("d_model") or c.get("n_embd") or 1024)
        heads = int(c.get("num_attention_heads") or c.get("n_head") or 16)
        return cls(
            layers=int(c.get("num_hidden_layers") or c.get("n_layer") or 24),
            hidden=hidden,
            inner=int(c.get("intermediate_size") or 4 * hidden),
            heads=heads,
            groups=int(c.get("num_key_value_heads") or heads),
            head=int(c.get("head_dim") or hidden // heads),
            vocabulary=int(c.get("vocab_size") or 50_000),
            itemsize=itemsize,
        )

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values that a token leaves in the caches."""
        return 2 * self.layers * self.groups * self.head * self.itemsize

    def reading_bytes(self, seen: int) -> int:
        """Bytes at work on a token that is read and sees so many: activations and scores."""
        return 4 * self._activations + 16 * self.heads * seen

    @property
    def _activations(self) -> int:
        return (12 * self.hidden + 6 * self.inner) * self.itemsize

    def training_bytes(self, length: int) -> int:
        """Bytes that a token holds until the backward pass, in a row of so many tokens."""
        return self.layers * (self._activations + 3 * self.heads * length * self.itemsize) + 12 * (
            self.vocabulary
        )


class Memory:
    """A bound on what mlx holds, or none.

    Args:
        gib: the bound in GiB (2^30 bytes), weights included; None for no bound.
    """

    def __init__(self, gib: float | None, shape: Shape) -> None:
        self._gib, self._shape = gib, shape
        if gib is not None:
            mx.set_memory_limit(int(gib * GIB))

    def reading(self, prefix: int) -> int:
        """How many tokens of so long a prefix to read in a pass."""
        if self._gib is None:
            return MOST
        return min(MOST, max(FEWEST, self._free() // 2 // self._shape.reading_bytes(prefix)))

    def decoding(
        self, rows: int, lanes: int, *, prefix: int, longest: int, tokens: int
    ) -> tuple[int, int, int]:
        """Rows at once, lanes, and tokens that a lane reads in a pass, as wanted or fewer.

        Args:
            prefix: tokens that all rows share.
            longest: tokens of the longest prompt behind the prefix.
            tokens: of the longest row behind the prefix, new ones included.

        Raises:
            ModelError: not even one row fits.
        """
        if self._gib is None:
            return rows, lanes, MOST
        free, row = (
            self._free(),
            int(1.5 * tokens * self._shape.cache_bytes) + 8 * self._shape.vocabulary,
        )
        read = self._shape.reading_bytes(prefix + longest)
        while True:
            reading = min(MOST, max(longest, free // 2 // (lanes * read)))
            working = lanes * max(reading, longest) * read
            fit = (free - working) // row
            if fit >= lanes:
                return min(rows, fit), lanes, reading
            if lanes == 1:
                raise self._refusal("decode one row", row + working)
            lanes -= 1

    def training(self, budget: int, longest: int, lanes: int) -> int:
        """How many padded tokens each lane may train on in a pass.

        Raises:
            ModelError: not even the longest row.
        """
        if self._gib is None:
            return budget
        fit = self._free() // (lanes * self._shape.training_bytes(longest))
        if fit < longest:
            needed = longest * lanes * self._shape.training_bytes(longest)
            raise self._refusal(f"train on a row of {longest} tokens", needed)
        return min(budget, fit)

    def spare(self, size: int) -> bool:
        """Whether so many bytes more leave at least as much for the work itself."""
        return self._gib is None or self._free() > 2 * size

    def _free(self) -> int:
        assert self._gib is not None
        return max(0, int(MARGIN * self._gib * GIB) - int(mx.get_active_memory()))

    def _refusal(self, what: str, needed: int) -> ModelError:
        held = mx.get_active_memory()
        return ModelError(
            f"max_memory={self._gib:g} (GiB) leaves no room to {what}: {held / GIB:.2g} GiB are "
            f"taken by the model and its prompt, about {needed / GIB:.2g} more are needed"
        )
