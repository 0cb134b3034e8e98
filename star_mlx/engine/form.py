"""What a model's form allows: a head computed where it is needed, a prefix kept once.

Both are found by trying them on a few tokens, so they hold for every architecture of mlx-lm that
behaves so, and for no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.cache import KVCache, make_prompt_cache

from star_mlx.engine.attention import Columns, NotOrdinary, caches

Cache = list[Any]  # one cache a layer


@dataclass(frozen=True, slots=True)
class Form:
    """``head``: logits are exactly head(body(tokens)). ``unshared``: why a prefix cannot be kept
    once for all rows, or empty."""

    head: bool
    unshared: str

    def logits(
        self, model: nn.Module, tokens: mx.array, where: mx.array, cache: Cache | None = None
    ) -> mx.array:
        """Logits (N, V) at N places of the flattened tokens (B, L)."""
        if not self.head:
            every = model(tokens, cache=cache)
            return mx.take(every.reshape(-1, every.shape[-1]), where, axis=0)
        hidden = model.model(tokens, cache=cache)
        return _head(model, mx.take(hidden.reshape(-1, hidden.shape[-1]), where, axis=0))


def form(model: nn.Module) -> Form:
    """Try the model on a few tokens."""
    return Form(_has_head(model), _unshared(model))


def _head(model: nn.Module, hidden: mx.array) -> mx.array:
    head: Any = model.lm_head if "lm_head" in model else model.model.embed_tokens.as_linear
    logits: mx.array = head(hidden)
    return logits


def _has_head(model: nn.Module) -> bool:
    tokens = mx.array([[1, 2, 3]])
    try:
        apart = _head(model, model.model(tokens, cache=None))
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, IndexError):
        return False  # no such parts, or not of these shapes
    whole = model(tokens, cache=None)
    return apart.shape == whole.shape and _close(apart, whole, 1e-5)


def _unshared(model: nn.Module) -> str:
    prefix: Cache = make_prompt_cache(model)
    odd = {type(c).__name__ for c in prefix} - {KVCache.__name__}
    if odd:
        return f"its layers keep {', '.join(sorted(odd))}"
    rows = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 9, 8, 7]]
    whole = model(mx.array(rows))[:, -2:]
    model(mx.array([rows[0][:3]]), cache=prefix)
    columns = Columns([0, 0], 3)
    shared = caches(prefix, len(prefix), columns)
    try:
        columns.advance(2)
        first = model(mx.array([row[3:5] for row in rows]), cache=shared)[:, -1:]
        columns.advance(1)
        second = model(mx.array([row[5:] for row in rows]), cache=shared)
    except NotOrdinary as error:
        return str(error)
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        return f"it uses its caches in a way of its own ({' '.join(str(error).split())})"
    if not all(c.attended for c in shared):
        return "its attention is not mlx-lm's scaled_dot_product_attention"
    half = whole.dtype != mx.float32
    if not _close(mx.concatenate([first, second], axis=1), whole, 0.05 if half else 1e-3):
        return "its attention gives other values"
    return ""


def _close(a: mx.array, b: mx.array, tolerance: float) -> bool:
    a, b = a.astype(mx.float32), b.astype(mx.float32)
    return bool((mx.abs(a - b).max() <= tolerance * mx.abs(b).max()).item())
