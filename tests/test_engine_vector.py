"""The vectorized exponential and what is made of it, against float64 and against mlx's own."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from star_mlx.engine import blas

blas.load()  # before mlx is imported

EXTREMES = [0.0, 1e-30, -1e-30, 1.0, -1.0, 20.0, -20.0, 87.0, -87.0, 1000.0, -1000.0, -1e30]


def normal(*shape: int, spread: float = 1.0, seed: int = 0) -> Any:
    """Normally distributed float32 numbers."""
    return np.random.default_rng(seed).normal(0.0, spread, shape).astype(np.float32)


def sigmoid64(x: Any) -> Any:
    """The sigmoid in float64, without overflow."""
    e = np.exp(-np.abs(x.astype(np.float64)))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def softmax64(x: Any) -> Any:
    """The softmax over the last axis in float64."""
    e = np.exp(x.astype(np.float64) - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def gradients(f: Callable[..., Any], *arrays: Any) -> list[Any]:
    """Gradients of a sum of f weighted by fixed numbers, as numpy arrays."""
    import mlx.core as mx

    weights = mx.array(normal(*f(*map(mx.array, arrays)).shape, seed=99))
    grad = mx.grad(lambda a: mx.sum(f(*a) * weights))
    return [np.array(g) for g in grad([mx.array(a) for a in arrays])]


def test_exp2_is_within_3e7_of_the_value() -> None:
    import mlx.core as mx

    from star_mlx.engine.vector import exp2

    grid = np.linspace(-126, 127.9999, 400_001).astype(np.float32)
    x = np.concatenate([grid, np.arange(-126, 128), np.arange(-125.5, 128), normal(10_000)])
    found = np.array(exp2(mx.array(x.astype(np.float32))))
    assert found.dtype == np.float32
    assert np.max(np.abs(found / np.exp2(x.astype(np.float64)) - 1)) < 3e-7


def test_exp2_of_what_is_far_below_is_the_least_normal_number() -> None:
    import mlx.core as mx

    from star_mlx.engine.vector import exp2

    found = np.array(exp2(mx.array([-126.5, -1000.0, -1e30, -3e38, -math.inf])))
    np.testing.assert_allclose(found, 2.0**-126, rtol=3e-7)


@pytest.mark.parametrize("name", ["exp2", "sigmoid", "softmax", "_normalizer"])
def test_a_nan_stays_one(name: str) -> None:
    import mlx.core as mx

    from star_mlx.engine import vector

    found = np.array(getattr(vector, name)(mx.array([[1.0, math.nan]])))
    assert np.isnan(found).reshape(-1)[-1]


def test_masked_scores_have_no_weight() -> None:
    """Not 1e-38 either, of which products are subnormal numbers, and slow."""
    import mlx.core as mx

    from star_mlx.engine.shared_cache import LOW
    from star_mlx.engine.vector import softmax

    x = normal(64, 100)
    masked = np.where(np.arange(100) > np.arange(64)[:, None], np.float32(LOW), x)
    found = np.array(softmax(mx.array(masked)))
    assert not found[masked == np.float32(LOW)].any()
    np.testing.assert_allclose(found, softmax64(masked), rtol=2e-6)


@pytest.mark.parametrize("few", [0, 1 << 30])
def test_exp_by_either_way(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlx.core as mx

    from star_mlx.engine import vector

    monkeypatch.setattr(vector, "FEW", few)
    x = np.linspace(-87, 87.9, 100_001).astype(np.float32)
    error = np.abs(np.array(vector.exp(mx.array(x))) / np.exp(x.astype(np.float64)) - 1)
    assert np.max(error - 1.2e-7 * np.abs(x)) < 3e-7  # x * log2(e) is rounded before
    least = np.array(vector.exp(mx.array([-1e30, -1000.0, -200.0])))
    assert np.all((least >= 0) & (least < 2e-38))


def test_the_functions_are_wanted_on_an_x86_cpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import mlx.core as mx

    from star_mlx.engine import vector

    cpu = mx.default_device().type == mx.DeviceType.cpu
    for machine, wanted in [("x86_64", cpu), ("AMD64", cpu), ("arm64", False), ("aarch64", False)]:
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        assert vector.wanted() == wanted
    monkeypatch.setattr(vector, "FEW", 0)
    x = mx.array(normal(100))
    assert mx.array_equal(vector.exp(x), mx.exp(x))


def test_sigmoid_and_its_gradient() -> None:
    import mlx.core as mx

    from star_mlx.engine.vector import sigmoid

    x = np.concatenate([normal(5000, spread=8.0), np.array(EXTREMES, np.float32)])
    found, exact = np.array(sigmoid(mx.array(x))), sigmoid64(x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, rtol=0, atol=3e-7)
    usual = np.abs(x) < 80  # beyond, the exponential is cut off
    error = np.abs(found[usual] / exact[usual] - 1)
    assert np.max(error - 1.2e-7 * np.abs(x[usual])) < 5e-7
    slope = np.array(mx.grad(lambda a: mx.sum(sigmoid(a)))(mx.array(x)))
    np.testing.assert_allclose(slope, exact * (1 - exact), rtol=0, atol=5e-7)


def test_swiglu_and_its_gradients_are_mlxs() -> None:
    import mlx.core as mx
    import mlx.nn as nn

    from star_mlx.engine.vector import swiglu

    gate = np.concatenate([normal(5000, spread=5.0), np.array(EXTREMES, np.float32)])
    x = normal(len(gate), spread=3.0, seed=1)
    found = np.array(swiglu(mx.array(gate), mx.array(x)))
    exact = gate.astype(np.float64) * sigmoid64(gate) * x
    np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-6)
    theirs = gradients(
        lambda a, b: nn.silu(a) * b, gate[:-1], x[:-1]
    )  # theirs of -1e30 is no number
    for mine, their in zip(gradients(swiglu, gate[:-1], x[:-1]), theirs, strict=True):
        np.testing.assert_allclose(mine, their, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("shape", [(1, 1), (7, 1), (3, 300), (2, 3, 4, 50)])
@pytest.mark.parametrize("spread", [1.0, 50.0])
def test_softmax_and_its_gradient(shape: tuple[int, ...], spread: float) -> None:
    import mlx.core as mx

    from star_mlx.engine.vector import softmax

    x = normal(*shape, spread=spread)
    found = np.array(softmax(mx.array(x)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, softmax64(x), rtol=2e-5, atol=1e-7)
    np.testing.assert_allclose(found.sum(axis=-1), 1.0, rtol=1e-6)
    (mine,) = gradients(softmax, x)
    (theirs,) = gradients(lambda a: mx.softmax(a, axis=-1, precise=True), x)
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=2e-6)


def test_softmax_of_extremes() -> None:
    import mlx.core as mx

    from star_mlx.engine.vector import softmax

    rows = [EXTREMES, EXTREMES[::-1], [-1e30] * 12, [-1e30] * 11 + [5.0], [1000.0] * 12]
    x = np.array(rows, np.float32)
    np.testing.assert_allclose(np.array(softmax(mx.array(x))), softmax64(x), rtol=0, atol=3e-7)
    (slope,) = gradients(softmax, x)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0])
def test_cross_entropy_and_its_gradient(spread: float) -> None:
    import mlx.core as mx
    import mlx.nn as nn

    from star_mlx.engine.vector import cross_entropy

    logits = normal(40, 257, spread=spread)
    targets = np.random.default_rng(3).integers(0, 257, 40)
    found = np.array(cross_entropy(mx.array(logits), mx.array(targets)))
    assert found.dtype == np.float32
    exact = -np.log(softmax64(logits))[np.arange(40), targets]
    np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-6 * (1 + spread))
    (mine,) = gradients(lambda a: cross_entropy(a, mx.array(targets)), logits)
    (theirs,) = gradients(lambda a: nn.losses.cross_entropy(a, mx.array(targets)), logits)
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6 * (1 + spread))


@pytest.mark.parametrize("cap", [None, 3.0])
@pytest.mark.parametrize("places", [1, 7, 40, 100])
def test_cross_entropy_with_the_head_some_places_at_a_time(places: int, cap: float | None) -> None:
    import mlx.core as mx

    from star_mlx.engine.vector import cross_entropy, head_cross_entropy

    hidden, matrix = mx.array(normal(40, 16)), mx.array(normal(257, 16))
    targets = mx.array(np.random.default_rng(3).integers(0, 257, 40))
    factors = mx.array(normal(40))

    def head(hidden: mx.array) -> mx.array:
        logits = hidden @ matrix.T
        return mx.tanh(logits / cap) * cap if cap else logits

    def together(hidden: mx.array) -> mx.array:
        return mx.sum(cross_entropy(head(hidden), targets) * factors)

    def apart(hidden: mx.array) -> mx.array:
        return mx.sum(head_cross_entropy(head, hidden, targets, places) * factors)

    (one, slope), (other, found) = (mx.value_and_grad(f)(hidden) for f in (together, apart))
    np.testing.assert_allclose(other.item(), one.item(), rtol=1e-5)
    np.testing.assert_allclose(found, slope, rtol=1e-4, atol=1e-5)


def test_cross_entropy_of_extremes() -> None:
    import mlx.core as mx

    from star_mlx.engine.vector import cross_entropy

    logits = np.array([[1000.0, -1000.0, 0.0], [0.0, -1e30, -1e30], [87.0, 87.0, 87.0]], np.float32)
    targets = mx.array([1, 0, 2])
    found = np.array(cross_entropy(mx.array(logits), targets))
    np.testing.assert_allclose(found, [2000.0, 0.0, math.log(3)], rtol=1e-6, atol=1e-5)
    slope = np.array(mx.grad(lambda a: mx.sum(cross_entropy(a, targets)))(mx.array(logits)))
    exact = softmax64(logits) - np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(slope, exact, rtol=0, atol=1e-6)
