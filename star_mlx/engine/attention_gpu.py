"""Attention behind a shared prefix in few kernels, exact in half precision too.

The scores of the prefix and of the rows' own tokens are joined before one softmax, so that nothing
has to be merged. They are float32 products of float32 operands: in half precision a score of 300
is rounded to the nearest 2, and models with key biases (Qwen2.5) have such scores. The operands
were rounded to half precision before, so that these products are exact in TF32 as well; that is why
``scale`` is applied to the product and not to the queries.

Shapes: B rows, H heads of queries, G heads of keys, L new tokens, S tokens of the rows' own so far,
P tokens of the prefix, D the width of a head.
"""

from __future__ import annotations

import mlx.core as mx


def attend(
    queries: mx.array,
    keys: mx.array,
    values: mx.array,
    prefix_keys: mx.array,
    prefix_values: mx.array,
    *,
    scale: float,
    added: tuple[mx.array, mx.array],
) -> mx.array:
    """Attention of new tokens to a prefix and to their own rows.

    Args:
        queries: (B, H, L, D).
        keys: (B, G, S, D), in float32.
        values: (B, G, S, D).
        prefix_keys, prefix_values: (G, P, D), in float32.
        scale: factor of the scores.
        added: what is added to the scores of the prefix, and of the rows' own tokens: their mask as
            numbers. They can be broadcast to (G, B * H / G * L, P) and (B, G, H / G * L, S).

    Returns:
        (B, H, L, D), of the values' type.
    """
    b, h, length, d = queries.shape
    g, p = prefix_keys.shape[:2]
    rows = h // g * length
    q = queries.astype(mx.float32).reshape(b, g, rows, d)
    every = q.swapaxes(0, 1).reshape(g, b * rows, d)  # all rows' queries, by group
    shared = mx.addmm(added[0], every, prefix_keys.swapaxes(-1, -2), alpha=scale)
    own = mx.addmm(added[1], q, keys.swapaxes(-1, -2), alpha=scale)
    scores = mx.concatenate([shared.reshape(g, b, rows, p), own.swapaxes(0, 1)], axis=-1)
    weights = mx.softmax(scores, axis=-1)  # (G, B, rows, P + S)
    out = (weights[..., :p].reshape(g, b * rows, p) @ prefix_values).reshape(g, b, rows, -1)
    out = out.astype(values.dtype).swapaxes(0, 1)
    out = mx.addmm(out, weights[..., p:].astype(values.dtype).swapaxes(0, 1), values)
    return out.reshape(b, h, length, -1)
