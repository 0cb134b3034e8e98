"""The processes that mlx has connected, and what they compute together.

Everything here is collective: all ranks call the same methods in the same order. It is computed on
the CPU's stream, where all of mlx's backends can.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten

Shareable = TypeVar("Shareable")


class Ranks:
    """This process among those of a launch.

    Args:
        backend: that of ``mx.distributed.init``, such as ``ring``.

    Raises:
        RuntimeError: the others cannot be reached.
    """

    def __init__(self, backend: str = "any") -> None:
        self._group = mx.distributed.init(strict=True, backend=backend)
        self.rank, self.size = self._group.rank(), self._group.size()

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, parts: Sequence[Shareable]) -> Sequence[Shareable]:
        """This rank's of the parts, which the ranks take in turn."""
        return parts[self.rank :: self.size]

    def least(self, number: int) -> int:
        """The smallest of the ranks' numbers."""
        return int(mx.distributed.all_min(mx.array(number), group=self._group, stream=mx.cpu))

    def sum(self, number: int) -> int:
        """The sum of the ranks' numbers."""
        return int(self._sum(mx.array(number)))

    def told(self, data: bytes) -> bytes:
        """The bytes of rank 0."""
        size = self.sum(len(data) if self.first else 0)
        row = np.zeros(size, np.uint8)
        if self.first:
            row[:] = np.frombuffer(data, np.uint8)
        return bytes(np.array(self._sum(mx.array(row)))) if size else b""

    def of_first(self, tree: Any) -> Any:
        """The arrays of rank 0, exactly; those of all ranks have the same names and shapes."""
        made = []
        for name, array in _named(tree):
            told = self._sum(array if self.first else mx.zeros_like(array))
            mx.eval(told)  # in the order of the names, on every rank
            made.append((name, told))
        return tree_unflatten(made)

    def total(self, tree: Any) -> Any:
        """The sum of the ranks' arrays, in float32, which has the same bytes on every rank. They
        are summed as one, since each sum waits for every rank."""
        named = _named(tree)
        whole = self._sum(mx.concatenate([a.astype(mx.float32).reshape(-1) for _, a in named]))
        made, at = [], 0
        for name, array in named:
            piece = whole[at : at + array.size].reshape(array.shape)
            made.append((name, piece.astype(array.dtype)))
            at += array.size
        summed = tree_unflatten(made)
        mx.eval(summed)
        return summed

    def _sum(self, array: mx.array) -> mx.array:
        return mx.distributed.all_sum(array, group=self._group, stream=mx.cpu)


def _named(tree: Any) -> list[tuple[str, mx.array]]:
    """The arrays of a tree, in an order that depends on their names alone."""
    flat: Any = tree_flatten(tree)
    return sorted(flat, key=lambda named: str(named[0]))
