"""Single passes over activations in place of mlx's dozen, in C (``shim/fused.c``).

They are used while an engine with products in bfloat16 decodes: such processors have AVX-512. Their
results differ in the last bits from those of ``vector``, so that other runs stay as they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import mlx.core as mx
import numpy as np

from star_mlx.engine import onednn

FEW = 1 << 13  # numbers up to which waiting for them costs more than mlx's passes

_used = False


@contextmanager
def used(wanted: bool) -> Iterator[None]:
    """Use these passes inside the block, in all threads, where no gradient is taken."""
    global _used
    _used = wanted
    try:
        yield
    finally:
        _used = False


def wanted(size: int) -> bool:
    """Whether the functions below may be used, and are worth it for so many numbers."""
    return _used and size > FEW


def weights(scores: mx.array) -> tuple[mx.array, mx.array, mx.array]:
    """exp(scores - largest), largest and sum over the last axis. The scores, float32, which
    nothing else uses, are overwritten."""
    mx.eval(scores)
    s = np.array(scores, copy=False)
    if not s.flags.c_contiguous:
        scores = mx.contiguous(scores)
        mx.eval(scores)
        s = np.array(scores, copy=False)
    n = s.shape[-1]
    top = np.empty((*s.shape[:-1], 1), np.float32)
    total = np.empty_like(top)
    onednn.call("star_weights", s, s.size // n, n, top, total)
    return scores, mx.array(top), mx.array(total)


def swiglu(gate: mx.array, x: mx.array) -> mx.array:
    """SiLU(gate) * x, float32. The gate, which nothing else uses, is overwritten."""
    mx.eval(gate, x)
    g, y = np.array(gate, copy=False), np.array(x, copy=False)
    if not (g.flags.c_contiguous and y.flags.c_contiguous and g.shape == y.shape):
        return gate * mx.sigmoid(gate) * x
    onednn.call("star_swiglu", g, y, g.size)
    return gate
