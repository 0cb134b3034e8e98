"""What the engine does on a GPU, tried on a CPU: half precision, few kernels, whole batches."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from star_mlx.engine import blas
from tests import gpu_branch, tiny_random

blas.load()  # before mlx is imported


@pytest.fixture(autouse=True, scope="module")
def gpu() -> Iterator[None]:
    with gpu_branch.taken():
        yield


# --- attention in half precision ---


def double(a: Any) -> Any:
    """An array of mlx in float64."""
    import mlx.core as mx

    return np.array(a.astype(mx.float32)).astype(np.float64)


def exact(q: Any, k: Any, v: Any, seen: Any, scale: float) -> Any:
    """Attention in float64 with keys and values for all heads."""
    scores = np.where(seen, q @ k.swapaxes(-1, -2) * scale, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights @ v / weights.sum(axis=-1, keepdims=True)


FAR = {"spread": 30.0, "offset": 300.0, "prefix": 4096, "own": 40, "level": 20.0, "length": 1,
       "width": (64, 0.125), "seed": 0}  # fmt: skip


@example(kind="bfloat16", **FAR)
@example(kind="float16", **FAR)
@example(kind="float16", **{**FAR, "spread": 0.0})  # unnormalized sums would be infinite
@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(
    kind=st.sampled_from(["float16", "bfloat16"]),
    spread=st.sampled_from([0.0, 1.0, 5.0, 30.0]),  # of the scores: uniform to peaked
    offset=st.sampled_from([-300.0, 0.0, 100.0, 300.0]),
    prefix=st.sampled_from([1, 60, 1300]),
    own=st.sampled_from([1, 40]),
    level=st.sampled_from([0.0, 20.0]),  # of the values
    length=st.sampled_from([1, 5]),
    width=st.sampled_from([(64, 0.125), (80, 80**-0.5)]),
    seed=st.integers(0, 1000),
)
def test_half_precision_is_as_exact_as_its_rounding(
    kind: str, spread: float, offset: float, prefix: int, own: int, level: float, length: int,
    width: tuple[int, float], seed: int,
) -> None:  # fmt: skip
    """The error is at most twice that of the exact result rounded, the least of a fused kernel."""
    import mlx.core as mx

    from star_mlx.engine.attention import Columns, SharedCache, as_prefix, attend

    (d, scale), b, g, h = width, 2, 2, 4
    own = max(own, length)
    draw = np.random.default_rng(seed)

    def normal(*shape: int) -> Any:
        return draw.normal(size=shape).astype(np.float32)

    q, k, pk = normal(b, h, length, d) * spread, normal(b, g, own, d), normal(g, prefix, d)
    q[..., 0], k[..., 0], pk[..., 0] = 16, offset / 16 / scale, offset / 16 / scale
    v, pv = normal(b, g, own, d) + level, normal(g, prefix, d) + level
    halves = [mx.array(a).astype(getattr(mx, kind)) for a in (q, k, v, pk, pv)]
    q, k, v, pk, pv = map(double, halves)
    columns = Columns([0, own - length], prefix)
    columns.advance(own - length)
    columns.advance(length)
    read = [type("Read", (), {"keys_and_values": lambda _: (halves[3][None], halves[4][None])})()]
    cache = SharedCache(columns, as_prefix(read)[0])
    found = attend(*halves[:3], cache, scale=scale, mask=cache.make_mask(length))
    assert found.dtype == halves[2].dtype

    keys, values = (
        np.repeat(np.concatenate([np.broadcast_to(a, (b, *a.shape)), one], axis=2), h // g, axis=1)
        for a, one in ((pk, k), (pv, v))
    )
    place, new = np.arange(own), np.arange(own - length, own)[:, None]
    seen = (place <= new) & (place >= np.array(columns.pads)[:, None, None, None])
    seen = np.concatenate([np.ones((b, 1, length, prefix), bool), seen], axis=-1)
    wanted = exact(q, keys, values, seen, scale)
    rounded = double(mx.array(wanted.astype(np.float32)).astype(found.dtype))
    off, least = double(found) - wanted, rounded - wanted
    assert np.isfinite(off).all()
    assert np.sqrt((off**2).mean()) <= 2 * np.sqrt((least**2).mean())
    unit = 2.0**-9 if kind == "bfloat16" else 2.0**-12  # three roundings, of the values' size
    assert np.abs(off).max() <= 3 * unit * np.abs(values).max()


# --- kernels ---

VIEWS = {"Reshape", "Transpose", "Slice", "Broadcast", "ExpandDims", "Squeeze", "Flatten",
         "Unflatten", "Split"}  # fmt: skip


def kernels(*outputs: Any) -> Counter[str]:
    """The kernels that compute arrays from those already evaluated."""
    import mlx.core as mx

    graph = io.StringIO()
    mx.export_to_dot(graph, *outputs)
    found = Counter(re.findall(r'label ="(\w+)', graph.getvalue()))
    return Counter({name: n for name, n in found.items() if name not in VIEWS})


@pytest.fixture(scope="module")
def model() -> Any:
    """A random llama in half precision, as it is on a GPU."""
    import mlx.core as mx
    from mlx_lm.models.llama import Model, ModelArgs

    from star_mlx.engine import patch

    made = Model(ModelArgs.from_dict({**tiny_random.CONFIG, "vocab_size": 64}))
    made.set_dtype(mx.bfloat16)
    patch.install(made)
    mx.eval(made.parameters())
    return made


@pytest.mark.parametrize("pads", [[0, 0, 0], [0, 2, 1]])
@pytest.mark.parametrize(("prefix", "more"), [(7, 12), (0, 0)])
def test_a_step_of_a_layer_takes_few_kernels(
    model: Any, pads: list[int], prefix: int, more: int
) -> None:
    """At most ``more`` than mlx-lm's own, which attends in one on a GPU (in several on a CPU)."""
    import mlx.core as mx
    from mlx_lm.models.cache import BatchKVCache

    from star_mlx.engine.attention import Columns, SharedCache

    layer, heads = model.layers[0], 2
    tokens = mx.zeros((3, 4, 32), mx.bfloat16)
    ours = SharedCache(
        columns := Columns(pads, prefix),
        (mx.zeros((2, prefix, 8)), mx.zeros((2, prefix, 8))) if prefix else None,
    )
    theirs = BatchKVCache(pads)
    columns.advance(4)
    for cache in (ours, theirs):
        mx.eval(layer(tokens, cache.make_mask(4), cache))  # also makes room for more tokens
    columns.advance(1)
    layer(tokens[:, :1], ours.make_mask(1), ours)

    columns.advance(1)
    counts = []
    for cache in (ours, theirs):
        mask = cache.make_mask(1)
        mx.eval(cache.offset, mask, cache.keys, cache.values, columns.added(mask, heads))
        counts.append(kernels(layer(tokens[:, :1], mask, cache)))
    ours_more = counts[0].total() - counts[1].total()
    if prefix:
        q, k = mx.zeros((3, 4, 1, 8)), mx.zeros((3, 2, 4, 8))
        mask = mx.ones((3, 1, 1, 4), mx.bool_) if counts[1]["Select"] else None
        mx.eval(q, k, mask)
        fused = mx.fast.scaled_dot_product_attention(q, k, k, scale=1.0, mask=mask)
        ours_more += kernels(fused).total() - 1
        ours_more += 2  # a view that must be copied, and the second copy of joining two arrays
    assert ours_more <= more, counts
