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

BLOCK = 1024  # logits of which ``star_draw`` keeps a sum, as in ``shim/fused.c``
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


def attend(
    queries: mx.array, keys: mx.array, values: mx.array, mask: mx.array | None
) -> tuple[mx.array, mx.array, mx.array] | None:
    """Attention of one new token a row to the row's own: the values weighted by exp(score -
    largest), the largest score, and the sum of the weights; None if the arrays' layout is another.

    Shapes: scaled queries (B, G, M, D), keys and values (B, G, S, D), mask (B, S) of booleans.
    """
    made = [queries, keys, values] if mask is None else [queries, keys, values, mask]
    mx.eval(made)
    q, k, v, *seen = (np.array(a, copy=False) for a in made)
    rows, groups, m, d = q.shape
    row_by_row = all(a.strides[2:] == (4 * d, 4) for a in (k, v))
    if d % 16 or not row_by_row or not all(a.flags.c_contiguous for a in (q, *seen)):
        return None
    if any(a.shape != (rows, k.shape[2]) for a in seen):  # one for all rows
        return None
    further = [a.strides[axis] // 4 for a in (k, v) for axis in (0, 1)]
    sizes = np.array([rows, groups, m, k.shape[2], d, *further], np.int64)
    out = np.empty(q.shape, np.float32)
    top = np.empty((*q.shape[:-1], 1), np.float32)
    total = np.empty_like(top)
    onednn.call("star_attend", q, k, v, seen[0] if seen else None, sizes, out, top, total)
    return mx.array(out), mx.array(top), mx.array(total)


def draw(logits: mx.array, uniform: mx.array) -> mx.array:
    """A token (B,) for each row of float32 logits (B, V) by a uniform random number (B, 1); see
    ``sampling.Draws.draw``."""
    logits = mx.contiguous(logits)
    mx.eval(logits, uniform)
    rows, n = logits.shape
    tokens, sums = np.empty(rows, np.uint32), np.empty(n // BLOCK + 1, np.float32)
    x, u = np.array(logits, copy=False), np.array(uniform, copy=False)
    onednn.call("star_draw", x, rows, n, u, sums, tokens)
    return mx.array(tokens)
