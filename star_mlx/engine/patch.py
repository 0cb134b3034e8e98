"""The only functions of mlx-lm that star-mlx replaces: two functions of its model files.

mlx-lm's models call ``scaled_dot_product_attention`` and ``swiglu`` by names in their own modules.
These are replaced by functions that support ``shared_cache.SharedCache``, and that compute the
exponential in vectorized passes on an x86-64 CPU; all other calls go to mlx-lm's function. Tested
with mlx-lm 0.31.3 and 0.32.2.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.cache import KVCache

from star_mlx.engine import attention, fused, vector
from star_mlx.engine.shared_cache import NotOrdinary, SharedCache

ATTENTION, SWIGLU = "scaled_dot_product_attention", "swiglu"


def install(model: nn.Module) -> None:
    """Replace the functions in the modules that the model's classes come from; idempotent."""
    fast = vector.wanted()
    for name in {type(m).__module__ for m in model.modules()}:
        module = sys.modules[name]
        if not name.startswith("mlx_lm.models."):
            continue
        if callable(original := getattr(module, ATTENTION, None)):
            setattr(module, ATTENTION, _attention(original))
        if fast and callable(original := getattr(module, SWIGLU, None)):
            setattr(module, SWIGLU, _swiglu(original))


def _attention(original: Callable[..., mx.array]) -> Callable[..., mx.array]:
    if getattr(original, "star_mlx", False):
        return original

    @functools.wraps(original)
    def scaled_dot_product_attention(
        queries: mx.array,
        keys: mx.array,
        values: mx.array,
        cache: Any,
        scale: float,
        mask: Any,
        sinks: mx.array | None = None,
    ) -> mx.array:
        if isinstance(cache, SharedCache):
            if sinks is not None:
                raise NotOrdinary("it attends to sinks")
            if isinstance(mask, mx.array) and mask.dtype != mx.bool_:
                raise NotOrdinary("it adds a mask to its scores")
            return attention.attend(queries, keys, values, cache, scale=scale, mask=mask)
        ours = sinks is None and queries.dtype == mx.float32 and vector.wanted()
        if ours and type(cache) is KVCache and isinstance(mask, str):
            return attention.causal(queries, keys, values, scale=scale)
        if ours and cache is None:
            if isinstance(mask, str):
                n, s = queries.shape[2], keys.shape[2]  # keys of another layer's cache are more
                mask = mx.arange(s - n, s)[:, None] >= mx.arange(s)[None]
            return attention.dense(queries, keys, values, scale=scale, mask=mask)
        return original(queries, keys, values, cache=cache, scale=scale, mask=mask, sinks=sinks)

    scaled_dot_product_attention.star_mlx = True  # type: ignore[attr-defined]
    return scaled_dot_product_attention


def _swiglu(original: Callable[..., mx.array]) -> Callable[..., mx.array]:
    if getattr(original, "star_mlx", False):
        return original

    @functools.wraps(original)
    def swiglu(gate: mx.array, x: mx.array) -> mx.array:
        if gate.dtype == mx.float32 and fused.wanted(gate.size):
            return fused.swiglu(gate, x)
        if gate.dtype == mx.float32 and vector.wanted():
            return vector.swiglu(gate, x)
        return original(gate, x)

    swiglu.star_mlx = True  # type: ignore[attr-defined]
    return swiglu
