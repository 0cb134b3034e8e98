"""Attention of many rows with one shared prefix.

The rows of a batch begin with the same few-shot prompt. Its keys and values are kept as one row;
all rows attend to them in one matrix product, and each row to its own tokens, and the two results
are merged by their log-sum-exp. This is exact, and known as Hydragen (Juravsky et al. 2024,
arXiv 2402.05099) and cascade inference. Copied into every row, a prefix of 1,300 tokens takes most
of a batch's memory and most of a decoding step.

This is the way of a CPU, in float32. In half precision and on other devices ``attention_gpu``
computes the same in few kernels.

Shapes: B rows, H heads of queries, G heads of keys, L new tokens, S tokens of the rows' own so far,
P tokens of the prefix, D the width of a head.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from star_mlx.engine import attention_gpu, fused, vector
from star_mlx.engine.device import on_cpu
from star_mlx.engine.shared_cache import LOW, SharedCache

BLOCK = 1 << 19  # scores computed at a time, to fit the CPU's cache
WORTH_NUMPY = 1 << 16  # scores from which it is faster to compute their exponential outside mlx

Part = tuple[mx.array, mx.array, mx.array]  # weighted values, largest score, sum of the weights


def attend(
    queries: mx.array,
    keys: mx.array,
    values: mx.array,
    cache: SharedCache,
    *,
    scale: float,
    mask: mx.array | None,
) -> mx.array:
    """Attention of new tokens to the prefix and to their own row.

    Args:
        queries: (B, H, L, D).
        keys, values: (B, G, S, D), the rows' own tokens.
        cache: holds the prefix.
        scale: factor of the scores.
        mask: (B, 1, L, S), True where attended; None: everywhere.

    Returns:
        (B, H, L, D).
    """
    cache.attended = True
    b, h, length, d = queries.shape
    g = keys.shape[1]
    if not on_cpu() or queries.dtype != mx.float32:
        if cache.prefix is None:
            return mx.fast.scaled_dot_product_attention(
                queries, keys, values, scale=scale, mask=mask
            )
        added = cache.columns.added(mask, h // g)
        return attention_gpu.attend(queries, keys, values, *cache.prefix, scale=scale, added=added)
    q = (queries * scale).reshape(b, g, h // g, length, d)
    own = _own(q.reshape(b, g, -1, d), keys, values, mask, length)
    if cache.prefix is None:
        weighted, _, total = own
        return _heads((weighted / total).astype(values.dtype), queries.shape, values.shape[-1])
    every = q.transpose(1, 0, 2, 3, 4).reshape(g, -1, d)  # all rows' queries, by group
    weighted, top, total = (_by_row(a, b) for a in _shared(every, *cache.prefix))
    return _heads(_merge(own, (weighted, top, total)), queries.shape, values.shape[-1])


def _by_row(a: mx.array, rows: int) -> mx.array:
    """(G, B*M, .) -> (B, G, M, .)."""
    return a.reshape(a.shape[0], rows, -1, a.shape[-1]).transpose(1, 0, 2, 3)


def causal(queries: mx.array, keys: mx.array, values: mx.array, *, scale: float) -> mx.array:
    """Causal attention of the last L of S tokens, in blocks of queries that see few scores.

    Shapes: queries (B, H, L, D), keys and values (B, G, S, D). Not differentiable.
    """
    b, h, length, d = queries.shape
    g, s = keys.shape[1:3]
    q = (queries * scale).reshape(b, g, h // g, length, d)
    size = max(16, BLOCK // (b * h * s))
    done: list[mx.array] = []
    for first in range(0, length, size):
        last = min(first + size, length)
        seen = s - length + last
        rows = q[:, :, :, first:last]
        if done:  # one block after the other, so that the scores stay in the CPU's cache
            rows = mx.depends([rows], [done[-1]])[0]
        here = mx.arange(seen - (last - first), seen)[:, None] >= mx.arange(seen)[None]
        weighted, _, total = _part(
            rows.reshape(b, g, -1, d), keys[..., :seen, :], values[..., :seen, :],
            here, last - first,
        )  # fmt: skip
        part = (weighted / total).reshape(b, h, last - first, values.shape[-1])
        done.append(part)
    return done[0] if len(done) == 1 else mx.concatenate(done, axis=2)


def dense(
    queries: mx.array, keys: mx.array, values: mx.array, *, scale: float, mask: mx.array | None
) -> mx.array:
    """Attention with a gradient, float32; ``mask`` (..., L, S) is additive, boolean or None.

    Shapes: queries (B, H, L, D), keys and values (B, G, S, D).
    """
    b, h, length, d = queries.shape
    g, s = keys.shape[1:3]
    q = (queries * scale).reshape(b, g, -1, d)
    scores = (q @ keys.swapaxes(-1, -2)).reshape(b, g, h // g, length, s)
    if mask is not None:
        if mask.ndim == 3:  # (H, L, S) or (1, L, S)
            mask = mask[None]
        if mask.ndim == 4:
            one = mask.shape[1] == 1
            mask = mask[:, :, None] if one else mask.reshape(-1, g, h // g, length, s)
        if mask.dtype == mx.bool_:
            mask = mx.where(mask, 0.0, LOW)
        scores = scores + mask
    weights = vector.softmax(scores).reshape(b, g, -1, s)
    return _heads(weights @ values, queries.shape, values.shape[-1])


def _heads(a: mx.array, queries: tuple[int, ...], width: int) -> mx.array:
    b, h, length, _ = queries
    return a.reshape(b, h, length, width)


def _own(q: mx.array, keys: mx.array, values: mx.array, mask: mx.array | None, length: int) -> Part:
    """Attention of scaled queries (B, G, M, D) to the rows' own tokens."""
    if length == 1 and fused.wanted(keys.size) and keys.dtype == values.dtype == mx.float32:
        seen = None if mask is None else mask.reshape(-1, keys.shape[2])
        if (part := fused.attend(q, keys, values, seen)) is not None:
            return part
    if mask is not None:
        mask = mask[:, :, None]  # (B, 1, 1, L, S), as the scores
    return _part(q, keys, values, mask, length)


def _part(
    q: mx.array,
    keys: mx.array,
    values: mx.array,
    mask: mx.array | None = None,
    length: int = 1,
) -> Part:
    """Attention of scaled queries (..., G, M, D), unnormalized; M is heads per group times L."""
    scores = _masked((q @ keys.swapaxes(-1, -2)).astype(mx.float32), mask, length)
    if fused.wanted(scores.size):
        weights, top, total = fused.weights(scores)
    elif scores.size >= WORTH_NUMPY:
        weights, top, total = _weights_in_place(scores)
    else:
        top = mx.max(scores, axis=-1, keepdims=True)
        weights = vector.exp(scores - top)
        total = mx.sum(weights, axis=-1, keepdims=True)
    return weights.astype(values.dtype) @ values, top, total


def _masked(scores: mx.array, mask: mx.array | None, length: int) -> mx.array:
    if mask is None:
        return scores
    shape = scores.shape
    scores = scores.reshape(*shape[:-2], -1, length, shape[-1])
    return mx.where(mask, scores, LOW).reshape(shape)


def _weights_in_place(scores: mx.array) -> Part:
    """exp(scores - largest), largest, sum: by numpy, five times as fast here as mlx's passes.

    Nothing else uses the scores, so numpy may overwrite them.
    """
    mx.eval(scores)
    s = np.array(scores, copy=False)
    top = s.max(axis=-1, keepdims=True)
    np.subtract(s, top, out=s)
    np.exp(s, out=s)
    return scores, mx.array(top), mx.array(s.sum(axis=-1, keepdims=True))


def _shared(q: mx.array, keys: mx.array, values: mx.array) -> Part:
    """Attention of scaled queries (G, M, D) to the prefix (G, P, D), block by block."""
    g, m = q.shape[:2]
    size = max(16, BLOCK // (g * keys.shape[1]))
    parts: list[Part] = []
    for first in range(0, m, size):
        rows = q[:, first : first + size]
        if parts:
            rows = mx.depends([rows], [parts[-1][0]])[0]
        parts.append(_part(rows, keys, values))
    if len(parts) == 1:
        return parts[0]
    weighted, top, total = (mx.concatenate(list(p), axis=1) for p in zip(*parts, strict=True))
    return weighted, top, total


def _merge(one: Part, other: Part) -> mx.array:
    top = mx.maximum(one[1], other[1])
    a, b = vector.exp(one[1] - top), vector.exp(other[1] - top)
    total = one[2] * a + other[2] * b
    weighted = one[0] * (a / total).astype(one[0].dtype)
    return weighted + other[0] * (b / total).astype(other[0].dtype)
