"""Keep mlx within a memory limit by making batches smaller."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx

from star_mlx.engine.device import GIB, Bound, on_cpu
from star_mlx.engine.shape import Shape
from star_mlx.errors import ModelError
from star_mlx.settings import Train

MARGIN = 0.95  # of the limit is used, as the estimates are not exact
FEWEST = 64  # tokens of a pass of reading
CPU_MOST, GPU_MOST = 512, 2048  # and at most; an interruption waits for a pass


def most(cpu: bool | None = None) -> int:
    """The tokens of a pass of reading, if there is room for them: a GPU takes more at once."""
    return CPU_MOST if (on_cpu() if cpu is None else cpu) else GPU_MOST


class Memory:
    """The work that fits into a bound on the memory of mlx, or any work without one.

    Args:
        bound: the bound, weights included; None for none.
        held: the bytes that are in use before the work.
        reads: the tokens of a pass of reading, if there is room for them; None: as this device.
    """

    def __init__(
        self,
        bound: Bound | None,
        shape: Shape,
        held: Callable[[], int] = mx.get_active_memory,
        reads: int | None = None,
    ) -> None:
        self._bound, self._shape, self._held, self._reads = bound, shape, held, reads

    @property
    def _most(self) -> int:
        return most() if self._reads is None else self._reads

    def reading(self, prefix: int) -> int:
        """The tokens to read in a pass, of a prefix of ``prefix`` tokens."""
        if self._bound is None:
            return self._most
        fit = self._free() // 2 // self._shape.reading_bytes(prefix)
        return _pass(min(self._most, max(FEWEST, fit)))

    def decoding(
        self,
        rows: int,
        lanes: int,
        *,
        prefix: int,
        longest: int,
        tokens: int,
        copied: bool = False,
    ) -> tuple[int, int, int]:
        """Rows at once, lanes, and tokens that a lane reads in a pass: as wanted, or fewer.

        Args:
            prefix: tokens that all rows share.
            longest: tokens of the longest prompt after the prefix.
            tokens: tokens of the longest row after the prefix, including new ones.
            copied: whether the prefix is copied into the rows.

        Raises:
            ModelError: not even one row fits.
        """
        if self._bound is None:
            return rows, lanes, self._most
        free, row = self._free(), self._shape.row_bytes(tokens)
        if not copied:
            free = max(0, free - self._shape.widened_bytes(prefix))
        read = self._shape.reading_bytes(prefix + longest)
        while True:
            reading = min(CPU_MOST, max(longest, free // 2 // (lanes * read)))
            working = lanes * max(reading, longest) * read
            fit = (free - working) // row
            if fit >= lanes:
                rows = min(rows, fit)
                if self._most > CPU_MOST:  # larger passes take no row's place
                    left = (free - rows * row) // (lanes * read)
                    reading = max(reading, _pass(min(self._most, left)))
                return rows, lanes, reading
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

    def folds(self, weights: int, copies: int) -> bool:
        """Whether adapters are added into copies of the weights, dequantized, elsewhere than on a
        CPU: if the copies, of ``copies`` bytes, leave at least as much for the work.

        It depends on the bound and the base alone and not on what is in use, so that all adapters
        of a run, and a resumed run, are computed in the same way.
        """
        return self._bound is None or int(MARGIN * self._bound.size) - weights > 2 * copies

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


def _pass(tokens: int) -> int:
    """The tokens of a pass, if there is room for so many: above ``CPU_MOST`` a power of 2, so that
    little more or less memory in use makes no other passes."""
    return tokens if tokens <= CPU_MOST else 1 << (tokens.bit_length() - 1)


def _rounded(number: int) -> int:
    """The number, rounded down to 4, 5, 6 or 7 times a power of 2."""
    step = 1 << max(0, number.bit_length() - 3)
    return number // step * step
