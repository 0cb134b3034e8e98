"""The exponential and functions based on it, in passes that a CPU vectorizes.

mlx computes ``exp`` one number at a time on x86-64 (about 11 ns each), and with it softmax, SiLU
and cross-entropy, which then take longer than the matrix products of a small model. Additions and
multiplications are vectorized, so here 2^x is a shift of the exponent bits and a polynomial (about
2 ns). The error is 3e-7 of the value, and 6e-8 more for each unit of x, since x log2(e) is rounded;
that of ``mx.exp`` is 1e-7.

The functions are exact replacements on other devices too, but slower there: see ``wanted``.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np

from star_mlx.engine.device import on_cpu

Function = Callable[[mx.array], mx.array]

LOG2_E = 1.4426950408889634
# Minimax polynomial of 2^f for f in [-1/2, 1/2], relative error 7.7e-8 (Remez exchange, float64).
_POWERS = (1.0000001, 0.6931469440, 0.2402211428, 0.0555070974, 0.0096757580, 0.0013277939)
FEW = 4096  # up to this many exponentials take mlx less time than a dozen operations
_ROUND = 1.5 * 2.0**23  # added to a float32, it leaves the nearest integer in the low bits
_LOWEST, _HIGHEST = -126.0, 127.0  # exponents of normal float32 numbers
# The smallest value of ``exp2``: subtracted, it leaves 0 of it, and values from 2^-102 on as
# they are.
_LEAST = float(np.ldexp(np.float32(_POWERS[0]), -126))


def _with_gradient(function: Function) -> Function:
    """``mx.custom_function``, which has no types."""
    made: Any = mx.custom_function(function)
    return made


def wanted() -> bool:
    """Whether these functions are the faster ones: on an x86-64 CPU."""
    return on_cpu() and platform.machine().lower() in ("x86_64", "amd64")


def exp2(x: mx.array) -> mx.array:
    """2^x of float32 numbers below 128; 2^-126 (1e-38) for all below -126. No gradient."""
    x = mx.maximum(x, _LOWEST)
    rounded = x + _ROUND
    f = x - (rounded - _ROUND)
    p = f * _POWERS[-1] + _POWERS[-2]
    for c in _POWERS[-3::-1]:
        p = p * f + c
    # the sum's low bits are the integer part: shifted into the exponent, they multiply by 2^n
    return (p.view(mx.int32) + mx.left_shift(rounded.view(mx.int32), 23)).view(mx.float32)


def exp(x: mx.array) -> mx.array:
    """e^x of numbers below 88, in the fastest way on this machine; no gradient."""
    return exp2(x * LOG2_E) if x.size > FEW and wanted() else mx.exp(x)


@_with_gradient
def sigmoid(x: mx.array) -> mx.array:
    """1 / (1 + exp(-x)), float32."""
    return mx.reciprocal(exp2(mx.clip(x * -LOG2_E, _LOWEST, _HIGHEST)) + 1.0)


@sigmoid.vjp  # type: ignore[attr-defined]
def _sigmoid_vjp(primal: mx.array, cotangent: mx.array, output: mx.array) -> mx.array:
    return cotangent * (output - output * output)


@_with_gradient
def softmax(scores: mx.array) -> mx.array:
    """Softmax over the last axis, float32. The weights of masked scores are exactly 0: with 1e-38
    products would be subnormal numbers, for which a processor takes up to 100 times as long."""
    p = exp2((scores - mx.max(scores, axis=-1, keepdims=True)) * LOG2_E) - _LEAST
    return p / mx.sum(p, axis=-1, keepdims=True)


@softmax.vjp  # type: ignore[attr-defined]
def _softmax_vjp(primal: mx.array, cotangent: mx.array, output: mx.array) -> mx.array:
    weighted = cotangent * output
    return weighted - output * mx.sum(weighted, axis=-1, keepdims=True)


def swiglu(gate: mx.array, x: mx.array) -> mx.array:
    """SiLU(gate) * x (Shazeer 2020)."""
    return gate * sigmoid(gate) * x


def cross_entropy(logits: mx.array, targets: mx.array) -> mx.array:
    """Negative log-likelihood (nats) of targets (N,) under logits (N, V), float32, (N,)."""
    return _normalizer(logits) - mx.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]


@_with_gradient
def _normalizer(logits: mx.array) -> mx.array:
    top = mx.max(logits, axis=-1, keepdims=True)
    total = mx.sum(exp2((logits - top) * LOG2_E), axis=-1)
    return top[:, 0] + mx.log(total)


@_normalizer.vjp  # type: ignore[attr-defined]
def _normalizer_vjp(primal: mx.array, cotangent: mx.array, output: mx.array) -> mx.array:
    return cotangent[:, None] * exp2((primal - output[:, None]) * LOG2_E)


def head_cross_entropy(
    head: Function, hidden: mx.array, targets: mx.array, places: int
) -> mx.array:
    """``cross_entropy`` under the logits ``head(hidden)`` of hidden states (N, D), (N,); the head
    itself gets no gradient.

    The gradient for the hidden states is computed with the logits, so many places at a time. So no
    array is (N, V), and the exponentials are computed once (as in Liger Kernel, Hsu et al. 2024,
    arXiv 2410.10989).
    """

    def some(hidden: mx.array, targets: mx.array) -> tuple[mx.array, mx.array]:
        logits = head(hidden).astype(mx.float32)
        top = mx.max(logits, axis=-1, keepdims=True)
        p = exp2((logits - top) * LOG2_E)
        total = mx.sum(p, axis=-1, keepdims=True)
        chosen = mx.take_along_axis(logits, targets[:, None], axis=-1)
        slope = (p / total).at[mx.arange(len(targets)), targets].subtract(1.0)
        _, (gradient,) = mx.vjp(head, [hidden], [slope.astype(hidden.dtype)])
        return (top + mx.log(total) - chosen)[:, 0], gradient

    def together(hidden: mx.array) -> tuple[mx.array, mx.array]:
        made: list[tuple[mx.array, mx.array]] = []
        for at in range(0, len(targets), places):
            here = hidden[at : at + places]
            if made:  # one after the other, so that the logits of one are in memory
                here = mx.depends([here], list(made[-1]))[0]
            made.append(some(here, targets[at : at + places]))
        loss, gradient = (mx.concatenate(list(parts)) for parts in zip(*made, strict=True))
        return loss, gradient

    losses: Any = mx.custom_function(together)

    @losses.vjp
    def _(_: mx.array, cotangents: list[mx.array], outputs: list[mx.array]) -> mx.array:
        return cotangents[0][:, None] * outputs[1]

    loss: mx.array = losses(hidden)[0]
    return loss
