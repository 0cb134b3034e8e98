"""Keep mlx within a memory limit by making batches smaller."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx

from star_mlx.engine.device import GIB, Bound
from star_mlx.engine.shape import Shape
from star_mlx.errors import ModelError
from star_mlx.settings import Train

MARGIN = 0.95  # of the limit is used, as the estimates are not exact
FEWEST, MOST = 64, 512  # tokens of a pass of reading


class Memory:
    """The work that fits into a bound on the memory of mlx, or any work without one.

    Args:
        bound: the bound, weights included; None for none.
        held: the bytes that are in use before the work.
    """

    def __init__(
        self, bound: Bound | None, shape: Shape, held: Callable[[], int] = mx.get_active_memory
    ) -> None:
        self._bound, self._shape, self._held = bound, shape, held

    def reading(self, prefix: int) -> int:
        """The tokens to read in a pass, of a prefix of ``prefix`` tokens."""
        if self._bound is None:
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
        if self._bound is None:
            return rows, lanes, MOST
        free, row = self._free(), self._shape.row_bytes(tokens)
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

    def training(
        self, budget: int, longest: int, lanes: int, settings: Train, supervised: float = 1.0
    ) -> int:
        """The number of padded tokens on which each lane may train in a pass.

        A smaller number than the budget is one of few, so that little more or less memory in use,
        as after a resumption, gives the same number and so the same sums.

        Args:
            budget: as many are wanted.
            longest: tokens of the longest row.
            supervised: the share of the tokens that count in the loss, at most.

        Raises:
            ModelError: the longest row does not fit.
        """
        if self._bound is None:
            return budget
        fixed = self._shape.adapter_bytes(settings)
        token = lanes * self._shape.training_bytes(longest, settings, supervised)
        fit = (self._free() - fixed) // token
        if fit < longest:
            less = "" if settings.checkpoint else "train.checkpoint=true, "
            what = f"train on a row of {longest} tokens"
            raise self._refusal(what, fixed + longest * token, less)
        return min(budget, max(longest, _rounded(fit)))

    def spare(self, size: int) -> bool:
        """Whether ``size`` more bytes would leave at least as many for the work itself."""
        return self._bound is None or self._free() > 2 * size

    def _free(self) -> int:
        assert self._bound is not None
        return max(0, int(MARGIN * self._bound.size) - int(self._held()))

    def _refusal(self, what: str, needed: int, less: str = "") -> ModelError:
        return ModelError(
            f"{self._bound} is too little memory to {what}: {self._held() / GIB:.2g} GiB are in "
            f"use by the model and its prompt, and about {needed / GIB:.2g} more are needed. "
            f"Choose {less}a smaller base, fewer few-shot examples, a smaller train.max_length, or "
            "a larger max_memory"
        )


def _rounded(number: int) -> int:
    """The number, rounded down to 4, 5, 6 or 7 times a power of 2."""
    step = 1 << max(0, number.bit_length() - 3)
    return number // step * step
