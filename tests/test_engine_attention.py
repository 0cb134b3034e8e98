"""Attention behind a shared prefix, and the caches that hold it, against float64."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from star_mlx.engine import blas

blas.load()  # before mlx is imported

ALL, NONE = 1, 1 << 40  # scores from which on numpy is worth it: always, never
FEW = settings(max_examples=8, deadline=None, derandomize=True, database=None)
EVERY = settings(FEW, max_examples=30)


def reference(q: Any, k: Any, v: Any, mask: Any, scale: float = 0.25) -> Any:
    """Attention in float64: q (B, H, L, D), k and v (B, G, S, D), mask (B or 1, 1, L, S)."""
    q, k, v = (a.astype(np.float64) for a in (q, k, v))
    k, v = (np.repeat(a, q.shape[1] // a.shape[1], axis=1) for a in (k, v))
    scores = np.where(mask, q @ k.swapaxes(-1, -2) * scale, -np.inf)
    top = scores.max(axis=-1, keepdims=True)
    weights = np.exp(scores - np.where(np.isfinite(top), top, 0))
    return weights @ v / weights.sum(axis=-1, keepdims=True)


def random_arrays(seed: int, spread: float, *shapes: tuple[int, ...]) -> list[Any]:
    """Normally distributed float32 arrays, the first, the queries, as widely as asked."""
    draw = np.random.default_rng(seed)
    arrays = [draw.normal(size=shape).astype(np.float32) for shape in shapes]
    return [arrays[0] * np.float32(spread), *arrays[1:]]


shapes = st.fixed_dictionaries(
    {
        "pads": st.lists(st.integers(0, 4), min_size=1, max_size=5),
        "groups": st.integers(1, 3),
        "heads": st.integers(1, 3),  # a group
        "length": st.integers(1, 6),
        "earlier": st.integers(0, 5),
        "prefix": st.sampled_from([0, 1, 9, 40]),
        "widths": st.sampled_from([(8, 8), (6, 4), (4, 12)]),
        "spread": st.sampled_from([1.0, 12.0]),
        "seed": st.integers(0, 1000),
    }
)
ways = st.tuples(
    st.sampled_from([ALL, NONE]),  # WORTH_NUMPY
    st.booleans(),  # whether it is a CPU that numpy shares
    st.sampled_from([1, 1 << 19]),  # scores a block
    st.sampled_from([0, 1 << 30]),  # vector.FEW
)


def take(patch: pytest.MonkeyPatch, way: tuple[int, bool, int, int]) -> None:
    """Let attention go a way whatever its size."""
    from star_mlx.engine import attention, vector

    worth, cpu, block, few = way
    patch.setattr(attention, "WORTH_NUMPY", worth)
    if not cpu:
        patch.setattr(attention, "on_cpu", lambda: False)
    patch.setattr(attention, "BLOCK", block)
    patch.setattr(vector, "FEW", few)


@EVERY
@given(shape=shapes, way=ways)
def test_attention_behind_a_prefix(shape: dict[str, Any], way: tuple[int, bool, int, int]) -> None:
    import mlx.core as mx

    from star_mlx.engine.attention import attend
    from star_mlx.engine.shared_cache import Columns, SharedCache

    pads, g, p, length = shape["pads"], shape["groups"], shape["prefix"], shape["length"]
    earlier = shape["earlier"] + max(pads) if length == 1 else shape["earlier"]
    b, h, s, (d, e) = len(pads), g * shape["heads"], earlier + length, shape["widths"]
    q, k, v, pk, pv = random_arrays(
        shape["seed"], shape["spread"],
        (b, h, length, d), (b, g, s, d), (b, g, s, e), (g, p, d), (g, p, e),
    )  # fmt: skip
    columns = Columns(pads, p)
    columns.advance(earlier)
    columns.advance(length)
    assert columns.offset is not None
    assert columns.offset.tolist() == [p + earlier - pad for pad in pads]
    cache = SharedCache(columns, (mx.array(pk), mx.array(pv)) if p else None)
    with pytest.MonkeyPatch.context() as patch:
        take(patch, way)
        found = attend(
            *map(mx.array, (q, k, v)), cache, scale=0.25, mask=cache.make_mask(length)
        )  # fmt: skip
        found = np.array(found)
    assert cache.attended
    place, new = np.arange(s), np.arange(earlier, s)[:, None]
    seen = (place <= new) & (place >= np.array(pads)[:, None, None, None])
    mask = np.concatenate([np.ones((b, 1, length, p), bool), seen], axis=-1)
    keys, values = (
        np.concatenate([np.broadcast_to(a, (b, *a.shape)), own], axis=2)
        for a, own in ((pk, k), (pv, v))
    )
    assert found.shape == (b, h, length, e)
    assert np.isfinite(found).all()
    for row, pad in enumerate(pads):  # what a pad gets, no one reads
        real = slice(max(pad - earlier, 0), None)
        exact = reference(q[row : row + 1, :, real], keys[row : row + 1], values[row : row + 1],
                          mask[row : row + 1, :, real])  # fmt: skip
        np.testing.assert_allclose(found[row, :, real], exact[0], rtol=0, atol=5e-5)


@EVERY
@given(shape=shapes, way=ways)
def test_causal_attention(shape: dict[str, Any], way: tuple[int, bool, int, int]) -> None:
    import mlx.core as mx

    from star_mlx.engine.attention import causal

    b, g, length, (d, e) = len(shape["pads"]), shape["groups"], shape["length"] * 9, shape["widths"]
    s, h = length + shape["prefix"], g * shape["heads"]
    q, k, v = random_arrays(
        shape["seed"], shape["spread"], (b, h, length, d), (b, g, s, d), (b, g, s, e)
    )
    with pytest.MonkeyPatch.context() as patch:
        take(patch, way)
        found = np.array(causal(*map(mx.array, (q, k, v)), scale=0.25))
    mask = np.arange(s) <= np.arange(s - length, s)[:, None]
    np.testing.assert_allclose(found, reference(q, k, v, mask), rtol=0, atol=5e-5)


KINDS = ["none", "all rows", "row by row", "added", "a head", "a head, for all rows"]


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(shape=shapes)
def test_dense_attention_and_its_gradient_are_mlxs(kind: str, shape: dict[str, Any]) -> None:
    import mlx.core as mx

    from star_mlx.engine.attention import dense

    b, g, length, (d, e) = len(shape["pads"]), shape["groups"], shape["length"], shape["widths"]
    s, h = length + shape["earlier"], g * shape["heads"]
    q, k, v, weights, added = random_arrays(
        shape["seed"], 1.0,
        (b, h, length, d), (b, g, s, d), (b, g, s, e), (b, h, length, e), (b, h, length, s),
    )  # fmt: skip
    below = np.arange(s) <= np.arange(s - length, s)[:, None]
    ends = np.arange(s) >= np.minimum(shape["pads"], s - length)[:, None, None, None]
    mask = {
        "none": None,
        "all rows": mx.array(below),
        "row by row": mx.array(below & ends),
        "added": mx.array(added[:, :1]),
        "a head": mx.array(added),
        "a head, for all rows": mx.array(added[0]),
    }[kind]
    arrays = [mx.array(a) for a in (q, k, v)]

    def loss(attention: Any, q: Any, k: Any, v: Any) -> Any:
        return mx.sum(attention(q, k, v, scale=0.25, mask=mask) * mx.array(weights))

    where = mask if mask is None or mask.dtype == mx.bool_ else None
    exact = np.ones((length, s), bool) if where is None else np.array(where)
    if mask is where:
        found = np.array(dense(*arrays, scale=0.25, mask=mask))
        np.testing.assert_allclose(found, reference(q, k, v, exact), rtol=0, atol=5e-6)
    theirs = mx.fast.scaled_dot_product_attention
    ours, mlxs = (
        mx.value_and_grad(functools.partial(loss, f), argnums=(0, 1, 2))(*arrays)
        for f in (dense, theirs)
    )
    np.testing.assert_allclose(ours[0].item(), mlxs[0].item(), rtol=1e-4, atol=1e-4)
    for one, other in zip(ours[1], mlxs[1], strict=True):
        np.testing.assert_allclose(np.array(one), np.array(other), rtol=0, atol=2e-5)


# --- scores far from zero: the largest is taken away before the exponential ---

SHIFTS = [-3000.0, -300.0, -100.0, 0.0, 100.0, 300.0, 3000.0]


def shifted(seed: int, *shapes: tuple[int, ...]) -> list[Any]:
    """Random queries and keys; a key's first column, times 4, is added to all its scores."""
    arrays = random_arrays(seed, 1.0, *shapes)
    arrays[0][..., 0] = 16.0  # queries, scaled by a quarter
    return arrays


@EVERY
@given(
    prefix=st.sampled_from(SHIFTS),
    own=st.sampled_from(SHIFTS),
    length=st.integers(1, 3),
    way=ways,
    seed=st.integers(0, 1000),
)
def test_merging_with_the_prefix_is_stable(
    prefix: float, own: float, length: int, way: tuple[int, bool, int, int], seed: int
) -> None:
    import mlx.core as mx

    from star_mlx.engine.attention import attend
    from star_mlx.engine.shared_cache import Columns, SharedCache

    b, g, h, s, p, d = 2, 2, 4, 3 + length, 20, 8
    q, k, v, pk, pv = shifted(
        seed, (b, h, length, d), (b, g, s, d), (b, g, s, d), (g, p, d), (g, p, d)
    )
    k[..., 0], pk[..., 0] = own / 4, prefix / 4
    columns = Columns([0] * b, p)
    columns.advance(3)
    columns.advance(length)
    cache = SharedCache(columns, (mx.array(pk), mx.array(pv)))
    with pytest.MonkeyPatch.context() as patch:
        take(patch, way)
        found = np.array(
            attend(*map(mx.array, (q, k, v)), cache, scale=0.25, mask=cache.make_mask(length))
        )
    keys, values = (
        np.concatenate([np.broadcast_to(a, (b, *a.shape)), own], axis=2)
        for a, own in ((pk, k), (pv, v))
    )
    seen = np.arange(s) <= np.arange(3, s)[:, None]
    mask = np.concatenate([np.ones((length, p), bool), seen], axis=-1)
    exact = reference(q, keys, values, mask)
    # float32 keeps a score of 3000 to 2e-4, which is how far a weight may be off
    np.testing.assert_allclose(found, exact, rtol=0, atol=5e-3)
    if abs(prefix - own) > 200:  # the weights of one side are less than float32 has
        side = (pk, pv, np.ones((length, p), bool)) if prefix > own else (k, v, seen)
        nearest = reference(q, *(np.broadcast_to(a, (b, *a.shape[-3:])) for a in side[:2]), side[2])
        np.testing.assert_allclose(found, nearest, rtol=0, atol=5e-3)


@EVERY
@given(
    shifts=st.lists(st.sampled_from(SHIFTS), min_size=8, max_size=40),
    way=ways,
    seed=st.integers(0, 1000),
)
def test_causal_and_dense_attention_are_stable(
    shifts: list[float], way: tuple[int, bool, int, int], seed: int
) -> None:
    import mlx.core as mx

    from star_mlx.engine.attention import attend, causal, dense
    from star_mlx.engine.shared_cache import Columns, SharedCache

    s, b, g, h, d = len(shifts), 2, 1, 2, 8
    q, k, v = shifted(seed, (b, h, s, d), (b, g, s, d), (b, g, s, d))
    k[..., 0] = np.array(shifts) / 4
    arrays = [mx.array(a) for a in (q, k, v)]
    below = np.arange(s) <= np.arange(s)[:, None]
    exact = reference(q, k, v, below)
    with pytest.MonkeyPatch.context() as patch:
        take(patch, way)
        found = causal(*arrays, scale=0.25)
        np.testing.assert_allclose(np.array(found), exact, rtol=0, atol=5e-3)
        columns = Columns([0] * b, 0)
        columns.advance(s)
        alone = SharedCache(columns, None)
        found = attend(*arrays, alone, scale=0.25, mask=alone.make_mask(s))
        np.testing.assert_allclose(np.array(found), exact, rtol=0, atol=5e-3)
        for mask in (mx.array(below), mx.where(mx.array(below), 0.0, -1e9)):
            found = dense(*arrays, scale=0.25, mask=mask)
            np.testing.assert_allclose(np.array(found), exact, rtol=0, atol=5e-3)


@pytest.mark.parametrize("score", [100.0, -100.0, 1e6])
def test_one_token_far_above_or_below_the_prefix(score: float) -> None:
    """Of two keys, the weights are 1 and 0 where the scores are far apart, whichever is which."""
    import mlx.core as mx

    from star_mlx.engine.attention import attend
    from star_mlx.engine.shared_cache import Columns, SharedCache

    one = mx.ones((1, 1, 1, 1))
    columns = Columns([0], 1)
    columns.advance(1)
    for prefix, own, value in ((score, 0.0, 2.0), (0.0, score, 3.0)):
        cache = SharedCache(columns, (one[0] * prefix, one[0] * 2))
        found = attend(one, one * own, one * 3, cache, scale=1.0, mask=None).item()
        assert found == (value if score > 0 else 5 - value)
    for both in (score, -score):  # equal scores, half of each
        cache = SharedCache(columns, (one[0] * both, one[0] * 2))
        assert attend(one, one * both, one * 3, cache, scale=1.0, mask=None).item() == 2.5


def test_a_row_that_sees_none_of_its_own_sees_the_prefix_alone() -> None:
    """A pad is such a row: whatever it gets must be a number, for it is multiplied by zeros."""
    import mlx.core as mx

    from star_mlx.engine.attention import attend
    from star_mlx.engine.shared_cache import Columns, SharedCache

    q, k, v, pk, pv = random_arrays(3, 1.0, (1, 2, 4, 8), (1, 1, 4, 8), (1, 1, 4, 8), (1, 5, 8),
                                    (1, 5, 8))  # fmt: skip
    columns = Columns([2], 5)
    columns.advance(4)
    for prefix in ((mx.array(pk), mx.array(pv)), None):
        cache = SharedCache(columns, prefix)
        found = np.array(
            attend(*map(mx.array, (q, k, v)), cache, scale=0.25, mask=cache.make_mask(4))
        )
        assert np.isfinite(found).all()
        if prefix:
            exact = reference(q[:, :, :2], pk[None], pv[None], True)
            np.testing.assert_allclose(found[:, :, :2], exact, rtol=0, atol=5e-6)


# --- how much is computed at a time ---


def test_scores_are_computed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    import mlx.core as mx

    from star_mlx.engine import attention

    sizes: list[tuple[int, ...]] = []
    part = attention._part

    def measured(q: Any, keys: Any, *rest: Any) -> Any:
        sizes.append((*q.shape[:-1], keys.shape[-2]))
        return part(q, keys, *rest)

    monkeypatch.setattr(attention, "_part", measured)
    monkeypatch.setattr(attention, "BLOCK", 24_000)
    q, k, v = map(mx.array, random_arrays(0, 1.0, (2, 4, 50, 8), (2, 2, 60, 8), (2, 2, 60, 8)))
    attention.causal(q, k, v, scale=1.0)
    # 2 * 4 * 60 scores a query make 50 queries a block: all of them
    assert sizes == [(2, 2, 2 * 50, 60)]
    del sizes[:]
    monkeypatch.setattr(attention, "BLOCK", 9_600)
    attention.causal(q, k, v, scale=1.0)
    assert sizes == [(2, 2, 40, 30), (2, 2, 40, 50), (2, 2, 20, 60)]  # 20 queries at a time
    del sizes[:]
    monkeypatch.setattr(attention, "BLOCK", 1)
    attention.causal(q, k, v, scale=1.0)
    assert [size[2] for size in sizes] == [32, 32, 32, 4]  # never fewer than 16 but at the end
    del sizes[:]
    monkeypatch.setattr(attention, "BLOCK", 2_400)
    attention._shared(q[:, :, 0], k[0], v[0])
    assert sizes == [(2, 4, 60)]
    del sizes[:]
    rows = mx.concatenate([q[0, :2]] * 2, axis=1)
    weighted, top, total = attention._shared(rows, k[0], v[0])
    assert sizes == [(2, 20, 60)] * 5  # 2 * 60 scores a query
    assert (weighted.shape, top.shape, total.shape) == ((2, 100, 8), (2, 100, 1), (2, 100, 1))
    del sizes[:]
    monkeypatch.setattr(attention, "BLOCK", 1)
    attention._shared(rows, k[0], v[0])
    assert [size[1] for size in sizes] == [16] * 6 + [4]


# --- columns and caches ---


def test_columns_say_where_tokens_stand_and_what_they_see() -> None:
    from star_mlx.engine.shared_cache import Columns

    columns = Columns([0, 2], 7)
    assert (columns.start, columns.stop, columns.prefix, columns.offset) == (0, 0, 7, None)
    columns.advance(3)
    assert (columns.start, columns.stop) == (0, 3)
    assert columns.offset is not None
    assert columns.offset.tolist() == [7, 5]
    mask = columns.mask()
    assert mask is not None
    assert mask.tolist() == [
        [[[True, False, False], [True, True, False], [True, True, True]]],
        [[[False, False, False], [False, False, False], [False, False, True]]],
    ]
    columns.advance(1)
    assert (columns.start, columns.stop) == (3, 4)
    assert columns.offset.tolist() == [10, 8]
    mask = columns.mask()
    assert mask is not None
    assert mask.tolist() == [[[[True] * 4]], [[[False, False, True, True]]]]
    columns.pads[1] = 1  # a slot that was given to another row
    columns.advance(1)
    assert columns.offset.tolist() == [11, 10]
    mask = columns.mask()
    assert mask is not None
    assert mask.tolist() == [[[[True] * 5]], [[[False, True, True, True, True]]]]


def test_a_mask_is_not_needed_where_every_row_sees_everything() -> None:
    from star_mlx.engine.shared_cache import Columns

    columns = Columns([0, 0], 7)
    columns.advance(2)
    mask = columns.mask()
    assert mask is not None
    assert mask.tolist() == [[[[True, False], [True, True]]]] * 2
    columns.advance(1)
    assert columns.mask() is None
    columns.pads = [0, 1]
    assert columns.mask() is not None


def test_columns_keep_their_own_pads() -> None:
    from star_mlx.engine.shared_cache import Columns

    given_pads = [0, 1]
    columns = Columns(given_pads, 0)
    columns.pads[0] = 5
    assert given_pads == [0, 1]


def test_a_sliding_window_is_refused() -> None:
    from star_mlx.engine.shared_cache import Columns, NotOrdinary, SharedCache

    columns = Columns([0], 0)
    columns.advance(2)
    cache = SharedCache(columns, None)
    with pytest.raises(NotOrdinary, match=r"^it attends through a sliding window$"):
        cache.make_mask(2, window_size=4)
    assert cache.make_mask(2) is not None


def test_a_cache_holds_what_it_was_given_and_grows() -> None:
    import mlx.core as mx

    from star_mlx.engine.shared_cache import GROW, Columns, SharedCache

    b, g, d, e = 2, 3, 4, 5
    columns = Columns([0] * b, 1)
    cache = SharedCache(columns, None)
    assert cache.state == []
    assert not cache.full
    keys, values = random_arrays(0, 1.0, (b, g, 3 + GROW + 2, d), (b, g, 3 + GROW + 2, e))
    stop = 0
    for tokens in (3, *[1] * (GROW + 2)):
        columns.advance(tokens)
        cache.attended = True
        found = cache.update_and_fetch(
            mx.array(keys[:, :, stop : stop + tokens]), mx.array(values[:, :, stop : stop + tokens])
        )
        stop += tokens
        assert not cache.attended
        np.testing.assert_array_equal(np.array(found[0]), keys[:, :, :stop])
        np.testing.assert_array_equal(np.array(found[1]), values[:, :, :stop])
        # as wide as the first tokens, then GROW columns wider whenever there is no more room
        wide = 3 if stop == 3 else 3 + GROW if stop <= 3 + GROW else 3 + 2 * GROW
        assert [a.shape[2] for a in cache.state] == [wide, wide]
        assert cache.full == (stop == wide)
    assert [a.shape for a in cache.state] == [(b, g, wide, d), (b, g, wide, e)]
    assert cache.offset.tolist() == [1 + stop - 1] * b


def test_a_cache_grows_by_as_much_as_a_pass_needs() -> None:
    import mlx.core as mx

    from star_mlx.engine.shared_cache import GROW, Columns, SharedCache

    columns = Columns([0], 0)
    cache = SharedCache(columns, None)
    for tokens in (2, 3 * GROW):
        columns.advance(tokens)
        keys, values = cache.update_and_fetch(
            mx.ones((1, 1, tokens, 5)), mx.ones((1, 1, tokens, 5), mx.float16)
        )
    assert keys.shape == values.shape == (1, 1, 2 + 3 * GROW, 5)
    assert cache.full
    assert (keys.dtype, values.dtype) == (mx.float32, mx.float16)


def test_rows_and_columns_are_selected() -> None:
    import mlx.core as mx

    from star_mlx.engine.shared_cache import Columns, SharedCache

    columns = Columns([0, 1, 3], 0)
    cache = SharedCache(columns, None)
    keys, values = random_arrays(0, 1.0, (3, 2, 4, 4), (3, 2, 4, 5))
    columns.advance(4)
    cache.update_and_fetch(mx.array(keys), mx.array(values))
    columns.advance(1)
    cache.update_and_fetch(mx.ones((3, 2, 1, 4)), mx.ones((3, 2, 1, 5)))
    cache.select([2, 1], 1)
    for found, given_before in zip(cache.state, (keys, values), strict=True):
        assert found.shape[2] == 4  # of the columns in use, the first is dropped
        np.testing.assert_array_equal(np.array(found)[:, :, :3], given_before[[2, 1], :, 1:])
        assert (np.array(found)[:, :, 3] == 1).all()


@pytest.mark.parametrize("empty", [True, False])
def test_a_row_of_another_batch_is_put_where_all_rows_end(empty: bool) -> None:
    import mlx.core as mx

    from star_mlx.engine.shared_cache import GROW, Columns, SharedCache

    other_columns = Columns([2, 0], 0)
    other = SharedCache(other_columns, None)
    keys, values = random_arrays(0, 1.0, (2, 2, 5, 4), (2, 2, 5, 6))
    other_columns.advance(5)
    other.update_and_fetch(mx.array(keys), mx.array(values).astype(mx.float32))
    columns = Columns([0, 0, 0], 0)
    cache = SharedCache(columns, None)
    if empty:
        columns.stop = 8
        wide = 8 + GROW
    else:
        columns.advance(8)
        cache.update_and_fetch(mx.zeros((3, 2, 8, 4)), mx.zeros((3, 2, 8, 6)))
        wide = 8
    cache.put(1, other, 0)
    cache.put(2, other, 1)
    for found, given_before in zip(cache.state, (keys, values), strict=True):
        expected = np.zeros((3, 2, wide, given_before.shape[3]), np.float32)
        expected[1, :, 5:8] = given_before[0, :, 2:]
        expected[2, :, 3:8] = given_before[1]
        np.testing.assert_array_equal(np.array(found), expected)
        assert found.dtype == mx.float32


def test_buffers_for_rows_of_half_precision_are_half() -> None:
    import mlx.core as mx

    from star_mlx.engine.shared_cache import Columns, SharedCache

    columns, other_columns = Columns([0], 0), Columns([0], 0)
    cache, other = SharedCache(columns, None), SharedCache(other_columns, None)
    other_columns.advance(2)
    other.update_and_fetch(*[mx.ones((1, 1, 2, 4), mx.bfloat16)] * 2)
    columns.stop = 2
    cache.put(0, other, 0)
    assert [a.dtype for a in cache.state] == [mx.bfloat16] * 2


def test_caches_behind_a_prefix_share_its_first_row() -> None:
    import mlx.core as mx

    from star_mlx.engine.shared_cache import Columns, as_prefix, caches

    columns = Columns([0], 3)
    bare = caches(None, 4, columns)
    assert [(c.columns, c.prefix, c.attended) for c in bare] == [(columns, None, False)] * 4
    layers = [random_arrays(i, 1.0, (1, 2, 3, 4), (1, 2, 3, 5)) for i in range(2)]
    read = [
        SimpleNamespace(keys_and_values=lambda pair=pair: tuple(map(mx.array, pair)))
        for pair in layers
    ]
    for made, (keys, values) in zip(caches(as_prefix(read), 9, columns), layers, strict=True):
        assert made.columns is columns
        assert made.prefix is not None
        np.testing.assert_array_equal(np.array(made.prefix[0]), keys[0])
        np.testing.assert_array_equal(np.array(made.prefix[1]), values[0])


@pytest.mark.parametrize("worth", [ALL, NONE])
def test_half_precision_stays_half(worth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlx.core as mx

    from star_mlx.engine import attention
    from star_mlx.engine.shared_cache import Columns, SharedCache

    monkeypatch.setattr(attention, "WORTH_NUMPY", worth)
    q, k, v, pk, pv = random_arrays(
        0, 1.0, (2, 4, 1, 8), (2, 2, 3, 8), (2, 2, 3, 8), (2, 5, 8), (2, 5, 8)
    )
    half = [mx.array(a).astype(mx.float16) for a in (q, k, v, pk, pv)]
    columns = Columns([0, 0], 5)
    columns.advance(2)
    columns.advance(1)
    cache = SharedCache(columns, (half[3], half[4]))
    found = attention.attend(*half[:3], cache, scale=0.25, mask=None)
    assert found.dtype == mx.float16
    keys, values = (
        np.concatenate([np.broadcast_to(a, (2, *a.shape)), own], axis=2)
        for a, own in ((pk, k), (pv, v))
    )
    exact = reference(q, keys, values, True)
    np.testing.assert_allclose(np.array(found.astype(mx.float32)), exact, rtol=0, atol=5e-3)
