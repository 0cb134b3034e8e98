"""How much memory a training pass takes at its peak, per token: coefficients that were measured.

They were fitted to mlx's own peaks on about 60 random llamas and settings: hidden size 64 to 896,
inner size 1.5 to 8 times as large, 2 to 32 layers, up to 20,000 words, rows of 33 to 513 tokens,
ranks 4 to 32, with and without dropout, all modules adapted or two, all layers or two. None of
these peaks is above its estimate (docs/performance.md has the ranges); they vary by some percent
with the other work of the machine. ``tests/test_engine_memory.py`` compares both.

Each is a number of bytes for one number per token of: ``hidden`` and ``inner`` sizes, ``shared``
(keys, or values), ``scores`` (heads times the tokens of a row), ``read`` (all inputs of the adapted
modules of a layer), ``dropped`` (the same, if there is dropout) and ``logits``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

ByteTerms = Mapping[str, float]


class PassPeak(NamedTuple):
    """What a pass keeps of every adapted layer until the backward pass, and what it takes once."""

    kept: ByteTerms
    once: ByteTerms


class PassPeaks(NamedTuple):
    """``plain``: without gradient checkpointing. With it, the peak is the largest of several: in
    the feed-forward part of a layer, in its attention, or in the head."""

    plain: PassPeak
    checkpointed: tuple[PassPeak, ...]


def bytes_of(terms: ByteTerms, sizes: Mapping[str, float]) -> float:
    """The sum of the terms for a model and a training of these sizes."""
    return sum(each * sizes[name] for name, each in terms.items())


def of(*, half: bool, compiled: bool) -> PassPeaks:
    """The peaks of a model in half precision or in float32, with compiled steps or without."""
    return {(True, True): HALF_COMPILED, (True, False): HALF, (False, True): FLOAT_COMPILED,
            (False, False): FLOAT}[half, compiled]  # fmt: skip


def factor(model_type: str) -> float:
    """As many times as a llama of the same shape takes, at most: gemmas have more norms and another
    activation, and others were not compared so widely (qwen3, phi3, lfm2: 0.8 to 1.1)."""
    if model_type in ("llama", "mistral", "qwen2"):
        return 1.0
    return 1.25 if model_type.startswith("gemma") else 1.15


def of_states(layers: float, checkpoint: bool) -> float:
    """Bytes per token for each number of the state of linear attention, if so many layers have one.

    In training mlx-lm computes one token after the other, and the backward pass needs the states of
    all tokens. Checkpointed layers keep none, but the one that is computed has them all.
    """
    return 18.8 if checkpoint else 8.6 * layers + 9


def _peak(kept: str, once: str) -> PassPeak:
    """The peak from terms such as "10.6 hidden + 4.6 inner"."""

    def terms(text: str) -> ByteTerms:
        pairs = (term.split() for term in text.split(" + ") if term)
        return {name: float(each) for each, name in pairs}

    return PassPeak(terms(kept), terms(once))


HALF_COMPILED = PassPeaks(
    _peak(
        "10.6 hidden + 4.6 inner + 5.8 shared + 3.05 scores + 4 read + 2.6 dropped",
        "4.4 hidden + 29 inner + 0.5 scores + 20.1 logits",
    ),
    (
        _peak("1.4 inner + 1.8 dropped", "24.7 inner + 77.3 shared + 16.6 read"),
        _peak("0.8 inner + 1.8 dropped", "26.3 hidden + 35.8 inner + 7.9 scores + 9.9 read"),
        _peak("2.3 hidden + 1.3 dropped", "129 hidden + 22.1 logits"),
    ),
)
HALF = PassPeaks(
    _peak(
        "7.8 hidden + 6.3 inner + 10 shared + 2.65 scores + 4.6 read + 1.8 dropped",
        "22 inner + 2.8 scores + 20 logits",
    ),
    (
        _peak("2 hidden + 0.7 dropped", "43 inner + 14.2 shared + 18.3 read"),
        _peak("2 hidden + 0.7 dropped", "16.1 hidden + 45 inner + 7.1 scores + 9.8 read"),
        _peak("2 hidden + 0.7 dropped", "49 hidden + 22.2 logits"),
    ),
)
FLOAT_COMPILED = PassPeaks(
    _peak(
        "6.9 hidden + 16.5 inner + 14.6 shared + 4.05 scores + 3.1 read + 5.1 dropped",
        "29.6 inner + 11.3 scores + 16 logits",
    ),
    (
        _peak("4 hidden + 3.8 dropped", "27.7 inner + 8.4 shared + 26 read"),
        _peak("4 hidden + 3.8 dropped", "43.2 inner + 20.8 scores + 4.8 read"),
        _peak("4 hidden + 3.8 dropped", "26 hidden + 50 inner + 18.3 logits"),
    ),
)
FLOAT = PassPeaks(  # on a CPU, with the vectorized cross-entropy of ``vector``
    _peak(
        "6 hidden + 20.1 inner + 12.4 shared + 3.8 scores + 1.6 read + 5.4 dropped",
        "13.7 inner + 14.8 scores + 44.4 logits",
    ),
    (
        _peak("4 hidden + 0.5 dropped", "48.2 inner + 20.2 read"),
        _peak("4 hidden + 0.5 dropped", "93 hidden + 2.1 inner + 41.2 scores"),
        _peak("4 hidden + 0.5 dropped", "11 inner + 42.1 logits"),
    ),
)
