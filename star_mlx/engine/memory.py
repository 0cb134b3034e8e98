"""Keep mlx within a memory limit by making batches smaller."""

from __future__ import annotations

import mlx.core as mx

from star_mlx.engine.shape import Shape
from star_mlx.errors import ModelError

GIB = 1 << 30
MARGIN = 0.95  # of the limit is used, as the estimates are not exact
FEWEST, MOST = 64, 512  # tokens of a pass


class Memory:
    """A limit on the memory of mlx, or none.

    Args:
        gib: the limit in GiB (2^30 bytes), weights included; None for no limit.
    """

    def __init__(self, gib: float | None, shape: Shape) -> None:
        self._gib, self._shape = gib, shape
        if gib is not None:
            mx.set_memory_limit(int(gib * GIB))

    def reading(self, prefix: int) -> int:
        """The tokens to read in a pass, of a prefix of ``prefix`` tokens."""
        if self._gib is None:
            return MOST
        return min(MOST, max(FEWEST, self._free() // 2 // self._shape.reading_bytes(prefix)))

    def decoding(
        self, rows: int, lanes: int, *, prefix: int, longest: int, tokens: int
    ) -> tuple[int, int, int]:
        """Rows at once, lanes, and tokens that a lane reads in a pass: as wanted, or fewer.

        Args:
            prefix: tokens that all rows share.
            longest: tokens of the longest prompt after the prefix.
            tokens: tokens of the longest row after the prefix, including new ones.

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
        """The number of padded tokens on which each lane may train in a pass.

        Raises:
            ModelError: the longest row does not fit.
        """
        if self._gib is None:
            return budget
        fit = self._free() // (lanes * self._shape.training_bytes(longest))
        if fit < longest:
            needed = longest * lanes * self._shape.training_bytes(longest)
            raise self._refusal(f"train on a row of {longest} tokens", needed)
        return min(budget, fit)

    def spare(self, size: int) -> bool:
        """Whether ``size`` more bytes would leave at least as many for the work itself."""
        return self._gib is None or self._free() > 2 * size

    def _free(self) -> int:
        assert self._gib is not None
        return max(0, int(MARGIN * self._gib * GIB) - int(mx.get_active_memory()))

    def _refusal(self, what: str, needed: int) -> ModelError:
        held = mx.get_active_memory()
        return ModelError(
            f"max_memory={self._gib:g} (GiB) is too small to {what}: {held / GIB:.2g} GiB are in "
            f"use by the model and its prompt, and about {needed / GIB:.2g} more are needed"
        )
