"""Find out what a model supports: a head computed only where needed, a prefix kept once.

Both are tried on a few tokens, so they are used for every architecture of mlx-lm that gives the
same results with them, and for no other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.cache import KVCache, make_prompt_cache

from star_mlx.engine.device import on_cpu
from star_mlx.engine.sampling import Draws
from star_mlx.engine.shared_cache import Cache, Columns, NotOrdinary, as_prefix, caches


@dataclass(frozen=True, slots=True)
class Form:
    """``head``: logits are exactly head(body(tokens)). ``unshared``: why a prefix cannot be kept
    once for all rows, or empty. ``copied``: rows of several lengths give the same results in one of
    mlx-lm's batches as alone."""

    head: bool
    unshared: str
    copied: bool = True

    def logits(
        self, model: nn.Module, tokens: mx.array, where: mx.array, cache: Cache | None = None
    ) -> mx.array:
        """Logits (N, V) at N places of the flattened tokens (B, L)."""
        if not self.head:
            every = model(tokens, cache=cache)
            return mx.take(every.reshape(-1, every.shape[-1]), where, axis=0)
        return _head(_text(model), self.hidden(model, tokens, where, cache))

    def hidden(
        self, model: nn.Module, tokens: mx.array, where: mx.array, cache: Cache | None = None
    ) -> mx.array:
        """What the head makes logits of at these places, (N, D), of a model that has one."""
        hidden = _text(model).model(tokens, cache=cache)
        return mx.take(hidden.reshape(-1, hidden.shape[-1]), where, axis=0)

    def frozen_head(self, model: nn.Module) -> tuple[Callable[[mx.array], mx.array], int] | None:
        """The head and its number of logits, if nothing of it is trained."""
        text = _text(model)
        if not self.head or _matrix(text).trainable_parameters():
            return None
        return functools.partial(_head, text), len(_matrix(text).weight)


def form(model: nn.Module) -> Form:
    """Try the model on a few tokens."""
    unshared = _unshared(model)
    return Form(_has_head(model), unshared, not unshared or _batches(model))


def tolerance(dtype: mx.Dtype) -> float:
    """The part of the largest logit by which two ways to compute the same may differ.

    On a GPU float32 products may be computed in TF32, which is little more exact than half
    precision: CUDA does so unless ``MLX_ENABLE_TF32=0`` is set.
    """
    return 1e-3 if dtype == mx.float32 and on_cpu() else 0.05


def _text(model: nn.Module) -> Any:
    """The part of a model that reads text: gemma3, qwen3_5 and others wrap it."""
    return model.language_model if "language_model" in model else model


def _head(text: Any, hidden: mx.array) -> mx.array:
    """Logits of hidden states, with the soft cap of gemma models (arXiv 2408.00118)."""
    matrix = _matrix(text)
    logits: mx.array = matrix(hidden) if "lm_head" in text else matrix.as_linear(hidden)
    name = "final_logit_softcapping"
    cap = getattr(text, name, None) or getattr(getattr(text, "args", None), name, None)
    return mx.tanh(logits / cap) * cap if cap else logits


def _matrix(text: Any) -> Any:
    return text.lm_head if "lm_head" in text else text.model.embed_tokens


def _has_head(model: nn.Module) -> bool:
    tokens = mx.array([[1, 2, 3]])
    try:
        apart = _head(_text(model), _text(model).model(tokens, cache=None))
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, IndexError):
        return False  # no such parts, or other shapes
    whole = model(tokens, cache=None)
    # both are the same products, so that not even TF32 makes a difference; a tolerance as large as
    # its own would not notice a soft cap
    return apart.shape == whole.shape and _close(apart, whole, 1e-5)


def _unshared(model: nn.Module) -> str:
    prefix: Cache = make_prompt_cache(model)
    odd = {type(c).__name__ for c in prefix} - {KVCache.__name__}
    if odd:
        return f"its layers keep {', '.join(sorted(odd))}"
    rows = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 9, 8]]
    whole = mx.concatenate([model(mx.array([row]))[:, -2:] for row in rows])
    model(mx.array([rows[0][:3]]), cache=prefix)
    columns = Columns([0, 1], 3)
    shared = caches(as_prefix(prefix), len(prefix), columns)
    try:
        columns.advance(2)
        first = model(mx.array([rows[0][3:5], [0, *rows[1][3:4]]]), cache=shared)[:, -1:]
        columns.advance(1)
        second = model(mx.array([row[-1:] for row in rows]), cache=shared)
    except NotOrdinary as error:
        return str(error)
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError, KeyError) as error:
        return f"it uses its caches in a way of its own ({' '.join(str(error).split())})"
    if not all(c.attended for c in shared):
        return "its attention is not mlx-lm's scaled_dot_product_attention"
    if not _close(mx.concatenate([first, second], axis=1), whole, tolerance(whole.dtype)):
        return "its attention gives other values"
    return ""


def _close(a: mx.array, b: mx.array, tolerance: float) -> bool:
    a, b = a.astype(mx.float32), b.astype(mx.float32)
    return bool((mx.abs(a - b).max() <= tolerance * mx.abs(b).max()).item())


class _Heard(Draws):
    """Chooses the most probable tokens, and keeps the logits they come from."""

    def __init__(self) -> None:  # it has no keys
        self.logits: dict[int, list[mx.array]] = {0: [], 1: [], 2: []}

    def nucleus(self, logits: mx.array) -> mx.array:
        return logits

    def draw(self, rows: Sequence[int | None], logits: mx.array) -> mx.array:
        for i, row in enumerate(rows):
            if row is not None:
                self.logits[row].append(logits[i : i + 1])
        return mx.argmax(logits, axis=-1)


def _batches(model: nn.Module) -> bool:
    """Whether mlx-lm's batches of rows of several lengths give the same results as single rows."""
    from star_mlx.engine import batch_copied

    rows: list[list[int]] = [[1, 2, 3, 4, 5, 6], [9, 8], [7, 6, 5]]
    heard = _Heard()
    lengths = [0] * len(rows)
    try:
        with batch_copied.CopiedBatch(model, rows, prefix=None, draws=heard, size=3) as batch:
            for step in batch.steps():
                for row, token in step:
                    rows[row] = [*rows[row], token]
                    lengths[row] += 1
                batch.remove([row for row, _ in step if lengths[row] == 2])
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError, KeyError):
        return False
    for i, ids in enumerate(rows):
        for n, found in enumerate(heard.logits[i][:2]):
            exact = model(mx.array([ids[: len(ids) - 2 + n]]))[:, -1]
            dtype, exact = exact.dtype, exact.astype(mx.float32)
            exact = exact - mx.logsumexp(exact, axis=-1, keepdims=True)
            if not _close(found, exact, tolerance(dtype)):
                return False
    return True
