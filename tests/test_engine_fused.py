"""The single passes in C compute what mlx's passes compute."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from star_mlx.engine import blas, onednn
from star_mlx.types import Decoding

blas.load()  # before mlx is imported

pytestmark = pytest.mark.skipif(
    not {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= onednn._flags() or onednn._shim is None,
    reason="these passes are for x86-64 processors with AVX-512",
)


@pytest.fixture(autouse=True)
def passes() -> Iterator[Any]:
    import mlx.core as mx

    from star_mlx.engine import fused

    with mx.stream(mx.cpu), fused.used(True):
        yield fused


def normal(*shape: int, seed: int = 0) -> Any:
    import mlx.core as mx

    return mx.random.normal(shape, key=mx.random.key(seed))


def exact(a: Any) -> Any:
    return np.array(a).astype(np.float64)


SHAPES = [  # rows, heads of keys, queries a head, tokens, room for tokens, width
    (1, 1, 1, 1, 1, 16),
    (3, 2, 7, 33, 40, 64),
    (2, 1, 9, 300, 300, 128),
    (2, 3, 3, 600, 640, 64),
    (2, 2, 4, 17, 20, 96),
    (1, 4, 16, 257, 300, 256),
    (5, 2, 2, 256, 256, 80),
]


@pytest.mark.parametrize("attended", ["all", "from some token on", "here and there"])
@pytest.mark.parametrize(("rows", "groups", "m", "tokens", "room", "width"), SHAPES)
def test_attention_of_one_token_to_the_rows_own(
    passes, rows, groups, m, tokens, room, width, attended
):
    import mlx.core as mx

    queries = normal(rows, groups, m, width, seed=1) * (2 * width**-0.5)
    keys, values = (normal(rows, groups, room, width, seed=i)[..., :tokens, :] for i in (2, 3))
    rng = np.random.default_rng(4)
    mask = {
        "all": np.ones((rows, tokens), bool),
        "from some token on": np.arange(tokens) >= rng.integers(0, tokens, (rows, 1)),
        "here and there": rng.random((rows, tokens)) > 0.5,
    }[attended]
    mask[:, -1] = True
    given = None if attended == "all" else mx.array(mask)
    weighted, largest, total = map(exact, passes.attend(queries, keys, values, given))
    scores = np.einsum("rgmd,rgtd->rgmt", exact(queries), exact(keys))
    scores = np.where(mask[:, None, None], scores, -np.inf)
    top = scores.max(-1, keepdims=True)
    weights = np.exp(scores - top)
    np.testing.assert_allclose(largest, top, atol=1e-5)
    np.testing.assert_allclose(total, weights.sum(-1, keepdims=True), rtol=1e-5)
    expected = np.einsum("rgmt,rgtd->rgmd", weights, exact(values))
    np.testing.assert_allclose(weighted, expected, atol=1e-5 * np.abs(expected).max())


def test_attention_keeps_to_a_known_layout(passes):
    import mlx.core as mx

    queries, keys = normal(2, 2, 3, 64), normal(2, 2, 40, 64)
    turned = normal(2, 40, 2, 64).swapaxes(1, 2)
    assert passes.attend(queries, turned, keys, None) is None
    assert passes.attend(queries, keys, turned, None) is None
    assert passes.attend(queries[..., :20], keys[..., :20], keys[..., :20], None) is None
    assert passes.attend(queries, keys, keys, mx.ones((1, 40), mx.bool_)) is None


def test_attention_merged_with_that_to_a_prefix_is_what_it_was_without_these_passes(passes):
    import mlx.core as mx

    from star_mlx.engine import attention
    from star_mlx.engine.shared_cache import Columns, SharedCache

    found = []
    for wanted in (False, True):
        columns = Columns([0, 5, 2, 30], 20)
        cache = SharedCache(columns, (normal(2, 20, 64, seed=5), normal(2, 20, 64, seed=6)))
        columns.advance(40)
        cache.update_and_fetch(normal(4, 2, 40, 64, seed=1), normal(4, 2, 40, 64, seed=2))
        columns.advance(1)
        new = normal(4, 2, 1, 64, seed=3), normal(4, 2, 1, 64, seed=4)
        with passes.used(wanted):
            found.append(
                attention.attend(
                    normal(4, 6, 1, 64, seed=7), *cache.update_and_fetch(*new), cache,
                    scale=0.125, mask=cache.make_mask(1),
                )
            )  # fmt: skip
    mx.eval(found)
    np.testing.assert_allclose(np.array(found[1]), np.array(found[0]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("tokens", [7, 1024, 1025, 50_000])
def test_a_token_is_drawn_where_the_probability_passes_the_number(passes, tokens):
    import mlx.core as mx

    rng = np.random.default_rng(tokens)
    logits = (rng.standard_normal((64, tokens)) * 3).astype(np.float32)
    logits[:, rng.random(tokens) < 0.3] = -np.inf
    logits[:, 0] = 0
    u = rng.random((64, 1)).astype(np.float32)
    u[0], u[1] = 0, np.nextafter(np.float32(1), np.float32(0))
    p = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    before = np.cumsum(p, 1) - p
    possible = (before <= u * p.sum(1, keepdims=True)) & (p > 1e-37)
    expected = [np.flatnonzero(row)[-1] for row in possible]
    assert np.array(passes.draw(mx.array(logits), mx.array(u))).tolist() == expected


def test_the_one_possible_token_is_drawn_and_none_of_nan(passes):
    import mlx.core as mx

    logits = np.full((3, 3000), -np.inf, np.float32)
    logits[0, 2500], logits[1] = 3, np.nan
    u = mx.array([[0.5], [0.2], [0.0]])
    assert np.array(passes.draw(mx.array(logits), u)).tolist() == [2500, 0, 0]


def test_draws_are_those_of_mlx_but_for_rounding(passes):
    from star_mlx.engine.sampling import Draws

    decoding = Decoding(max_tokens=1, temperature=0.7, top_p=1.0, stop=(), batch_size=64)
    logits = normal(64, 5000) * 4
    found = []
    for wanted in (False, True):
        draws = Draws(decoding, range(64))
        with passes.used(wanted):
            found.append(np.array(draws.draw(range(64), draws.nucleus(logits))))
    assert (found[0] == found[1]).sum() >= 63 and len(set(found[1].tolist())) > 30


def test_weights_are_exponentials_of_scores(passes):
    scores = normal(5, 3, 77) * 6
    s = exact(scores)
    weights, largest, total = map(exact, passes.weights(scores))
    np.testing.assert_array_equal(largest, s.max(-1, keepdims=True))
    expected = np.exp(s - largest)
    np.testing.assert_allclose(weights, expected, rtol=4e-6, atol=1e-30)
    np.testing.assert_allclose(total, expected.sum(-1, keepdims=True), rtol=1e-6)


def test_swiglu_is_what_its_name_says(passes):
    gate, x = normal(3, 999, seed=1) * 8, normal(3, 999, seed=2)
    g, y = exact(gate), exact(x)
    np.testing.assert_allclose(exact(passes.swiglu(gate, x)), g / (1 + np.exp(-g)) * y, rtol=2e-6)
