"""A shared prefix kept once is exact: attention against float64, decoding against one row alone."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from star_mlx.engine import blas, open_engine
from star_mlx.types import Completion, Decoding
from tests import tiny_random
from tests.test_engine_generate import complete

blas.load()  # before mlx is imported

PREFIX = "Input: 1 2\nTarget: ab\n\n"
PROMPTS = [f"Input: {'7 ' * (5 * i % 11)}{i}\n" for i in range(17)]
GREEDY = Decoding(max_tokens=10, stop=(), batch_size=4)
ALL, NONE = 1, 1 << 40  # scores from which on numpy is worth it: always, never
FEW = settings(max_examples=8, deadline=None, derandomize=True, database=None)
EVERY = settings(FEW, max_examples=30)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("base")
    before = blas.load().threads
    made = open_engine(
        str(tiny_random.write(folder, bos=True, hidden_size=192, num_hidden_layers=2))
    )
    blas.use_threads(1)  # threads of so small products wait for each other on a busy machine
    yield made
    blas.use_threads(before)


@pytest.fixture
def two_lanes(engine: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    from star_mlx.engine.lanes import Lanes

    if engine.describe()["device"] != "cpu":
        pytest.skip("there are lanes on a CPU alone")
    monkeypatch.setattr(blas, "use_threads", lambda threads: blas.load())
    monkeypatch.setattr(engine, "_lanes", Lanes(192))
    engine._lanes.width = 2
    return engine


def logits_at(engine: Any, ids: Sequence[int]) -> Any:
    """Logits (1, V) after ids, by one pass without a cache."""
    import mlx.core as mx

    return engine._base.model(mx.array([list(ids)]))[:, -1]


@functools.cache
def alone(engine: Any, prompt: str, decoding: Decoding, seed: int) -> Completion:
    """One row by the plainest loop: the whole text read anew at every token."""
    import mlx.core as mx

    from star_mlx.engine.decode import _advance, _Pending
    from star_mlx.engine.sampling import Draws
    from star_mlx.engine.text import Stops

    text = engine._text
    draws = Draws(decoding, [seed]) if decoding.temperature else None
    stops, row = Stops(text, decoding.stop), _Pending(decoding.max_tokens)
    while row.completion is None:
        logits = logits_at(engine, text.prompt(prompt) + row.ids)
        token = draws.draw([0], draws.nucleus(logits)) if draws else mx.argmax(logits, axis=-1)
        row.completion = _advance(row, int(token.item()), text, stops)
    return row.completion


def assert_alone(
    engine: Any, prompt: str, found: Completion, decoding: Decoding, seed: int = 0
) -> None:
    """A completion is what the plainest loop gives."""
    expected = alone(engine, prompt, replace(decoding, batch_size=1), seed)
    assert_same(engine, prompt, found, expected, decoding, seed)


def assert_same(
    engine: Any, prompt: str, found: Completion, expected: Completion, decoding: Decoding, seed: int
) -> None:
    """Completions are equal, or part where logits that rounding alone changes choose otherwise."""
    if found.token_ids == expected.token_ids:
        assert found == expected
        return
    one, other = ([*c.token_ids, engine._text.end] for c in (found, expected))
    at = next(i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    assert {one[at], other[at]} <= near(engine, prompt, one[:at], decoding, seed)


def near(engine: Any, prompt: str, ids: list[int], decoding: Decoding, seed: int) -> set[int]:
    """The tokens that follow ids where the logits are off by a little: by 3e-4 of some 20."""
    import mlx.core as mx

    from star_mlx.engine.sampling import Draws

    logits, draws = logits_at(engine, engine._text.prompt(prompt) + ids), Draws(decoding, [seed])
    if decoding.temperature:
        for _ in ids:
            draws.draw([0], logits)
    tokens = set()
    for i in range(100):
        noisy = logits + mx.random.normal(logits.shape, scale=3e-4, key=mx.random.key(i))
        if decoding.temperature:
            key = draws._keys[0]
            tokens.add(int(draws.draw([0], draws.nucleus(noisy)).item()))
            draws._keys[0] = key
        else:
            tokens.add(int(mx.argmax(noisy).item()))
    return tokens


texts = st.text("ab 1.\nxé", max_size=20)


@FEW
@given(
    common=texts,
    rests=st.lists(texts, min_size=1, max_size=7),
    cut=st.integers(0, 20),
    size=st.integers(1, 8),
    random=st.randoms(use_true_random=False),
)
def test_greedy_depends_on_neither_the_batch_nor_the_order_nor_the_prefix(
    engine: Any, common: str, rests: list[str], cut: int, size: int, random: Any
) -> None:
    random.shuffle(rests)
    decoding = replace(GREEDY, batch_size=size)
    given_apart, whole = common[:cut], [common + rest for rest in rests]
    for prefix, prompts in [(given_apart, [t[len(given_apart) :] for t in whole]), ("", whole)]:
        found = complete(engine, prompts, decoding, prefix=prefix)
        for text, one in zip(whole, found, strict=True):
            assert_alone(engine, text, one, GREEDY)


@FEW
@given(
    order=st.permutations(range(7)),
    size=st.integers(1, 8),
    cut=st.integers(0, len(PREFIX)),
    top_p=st.sampled_from([0.9, 1.0]),
)
def test_sampling_depends_on_neither_the_batch_nor_the_order_nor_the_prefix(
    engine: Any, order: list[int], size: int, cut: int, top_p: float
) -> None:
    warm = replace(GREEDY, temperature=0.9, top_p=top_p)
    found = complete(
        engine, [PREFIX[cut:] + PROMPTS[i] for i in order], replace(warm, batch_size=size),
        prefix=PREFIX[:cut], seeds=[100 + i for i in order],
    )  # fmt: skip
    for i, one in zip(order, found, strict=True):
        assert_alone(engine, PREFIX + PROMPTS[i], one, warm, 100 + i)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize(("prefix", "worth"), [("", NONE), (PREFIX, NONE), (PREFIX, ALL)])
def test_two_lanes_give_what_one_gives(
    two_lanes: Any, temperature: float, prefix: str, worth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from star_mlx.engine import attention

    monkeypatch.setattr(attention, "WORTH_NUMPY", worth)
    decoding = replace(GREEDY, batch_size=16, temperature=temperature)
    assert two_lanes._lanes.count(16) == 2
    found = complete(two_lanes, PROMPTS, decoding, prefix=prefix)
    two_lanes._lanes.width = 1
    other = complete(two_lanes, PROMPTS, decoding, prefix=prefix)
    for i, prompt in enumerate(PROMPTS):
        assert_same(two_lanes, prefix + prompt, found[i], other[i], decoding, i)
    for i in (0, 16):
        assert_alone(two_lanes, prefix + PROMPTS[i], found[i], decoding, i)


@pytest.mark.parametrize("lanes", [1, 2])
def test_rows_that_end_at_any_time_are_replaced_and_their_columns_dropped(
    two_lanes: Any, lanes: int
) -> None:
    two_lanes._lanes.width = lanes
    decoding = Decoding(100, tuple("cde"), batch_size=16, temperature=1.0)
    prompts = [*PROMPTS, "y" * 90, "z"]
    found = complete(two_lanes, prompts, decoding, prefix=PREFIX)
    lengths = sorted(len(c.token_ids) for c in found)
    assert lengths[0] < 40
    assert lengths[-1] > 70  # wider than the buffers at first, so that they grew
    longest = max(range(19), key=lambda i: len(found[i].token_ids))
    for i in (longest, 17, 18):
        assert_alone(two_lanes, PREFIX + prompts[i], found[i], decoding, i)
    few = complete(two_lanes, prompts, replace(decoding, batch_size=3), prefix=PREFIX)
    for i, prompt in enumerate(prompts):
        assert_same(two_lanes, PREFIX + prompt, few[i], found[i], decoding, i)


def test_an_interrupted_batch_of_two_lanes_leaves_the_engine_usable(two_lanes: Any) -> None:
    decoding = replace(GREEDY, batch_size=16)

    def interrupt(done: int, tokens: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        complete(two_lanes, PROMPTS, decoding, prefix=PREFIX, progress=interrupt)
    found = complete(two_lanes, PROMPTS, decoding, prefix=PREFIX)
    assert_alone(two_lanes, PREFIX + PROMPTS[3], found[3], GREEDY)


@pytest.mark.parametrize("batch_size", [1, 2, 8])
@pytest.mark.parametrize("prefix", ["", PREFIX * 2])
def test_sliding_windows_decode_by_copies_as_one_by_one(
    sliding: Any, batch_size: int, prefix: str
) -> None:
    assert sliding._base.form.unshared == "its layers keep RotatingKVCache"
    for decoding in (GREEDY, replace(GREEDY, temperature=0.9, stop=("c", "d"))):
        sized = replace(decoding, batch_size=batch_size)
        found = complete(sliding, PROMPTS[:5], sized, prefix=prefix)
        for i, prompt in enumerate(PROMPTS[:5]):
            assert_alone(sliding, prefix + prompt, found[i], decoding, i)


@pytest.fixture(scope="module")
def sliding(tmp_path_factory: pytest.TempPathFactory) -> Any:
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    folder = tiny_random.write(
        tmp_path_factory.mktemp("sliding"), bos=True, layer_types=kinds, sliding_window=8
    )
    return open_engine(str(folder))


# --- attention alone ---


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
    patch.setattr(attention, "CPU_BLOCK", block)
    patch.setattr(attention, "GPU_BLOCK", block)
    patch.setattr(vector, "FEW", few)


@EVERY
@given(shape=shapes, way=ways)
def test_attention_behind_a_prefix(shape: dict[str, Any], way: tuple[int, bool, int, int]) -> None:
    import mlx.core as mx

    from star_mlx.engine.attention import Columns, SharedCache, attend

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


@EVERY
@given(shape=shapes, kind=st.sampled_from(KINDS))
def test_dense_attention_and_its_gradient_are_mlxs(shape: dict[str, Any], kind: str) -> None:
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


@pytest.mark.parametrize("worth", [ALL, NONE])
def test_half_precision_stays_half(worth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlx.core as mx

    from star_mlx.engine import attention

    monkeypatch.setattr(attention, "WORTH_NUMPY", worth)
    q, k, v, pk, pv = random_arrays(
        0, 1.0, (2, 4, 1, 8), (2, 2, 3, 8), (2, 2, 3, 8), (2, 5, 8), (2, 5, 8)
    )
    half = [mx.array(a).astype(mx.float16) for a in (q, k, v, pk, pv)]
    columns = attention.Columns([0, 0], 5)
    columns.advance(2)
    columns.advance(1)
    cache = attention.SharedCache(columns, (half[3], half[4]))
    found = attention.attend(*half[:3], cache, scale=0.25, mask=None)
    assert found.dtype == mx.float16
    keys, values = (
        np.concatenate([np.broadcast_to(a, (2, *a.shape)), own], axis=2)
        for a, own in ((pk, k), (pv, v))
    )
    exact = reference(q, keys, values, True)
    np.testing.assert_allclose(np.array(found.astype(mx.float32)), exact, rtol=0, atol=5e-3)
