"""Quantized blocks of GGUF in MLX's affine form, ``scale * q + bias``.

Most of ggml's types are affine in groups of 32 weights or more, so that MLX holds the same values
(ggml's ``ggml-quants.c``; MLX's groups are 32, 64 or 128 weights of 2, 3, 4, 5, 6 or 8 bits):

=============== ==== ===== ================= ========================
type            bits group scale             bias
=============== ==== ===== ================= ========================
Q4_0, Q5_0      4, 5 32    d                 -8 d, -16 d
Q4_1, Q5_1      4, 5 32    d                 m
Q8_0            8    32    d                 -128 d
Q4_K, Q5_K      4, 5 32    d sc              -(dmin m)
Q3_K            8    128   d                 -124 d
IQ4_NL, IQ4_XS  8    32    d, d (ls - 32)    -127 of the scale
=============== ==== ===== ================= ========================

Q3_K has scales for 16 weights, but they are whole multiples of the 256 weights' ``d``, and so is
every weight: from -124 to 128. The 4 bits of IQ4 are places in a table of whole numbers from -127
to 113. The other types (Q6_K and Q2_K among them) have scales for fewer than 32 weights, of which
two have no common measure, so they become the nearest values of 8 bits in groups of 32.

The ``gguf`` package decodes the blocks. The quantized number is the whole number nearest to
``(value - bias) / scale``, and every value is compared with its own after packing. ``scale * q`` is
exact in float32, so one rounding remains, as in ggml, whether or not the sum is fused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from star_mlx.gguf.container import package

Array = np.ndarray[Any, np.dtype[Any]]

NEAREST = (8, 32)  # bits and group of what has no exact form
AT_ONCE = 1 << 17  # weights that are decoded at once; all steps' arrays stay in the cache
SUPER = 256  # weights of a block of the K types


@dataclass(frozen=True, slots=True)
class Errors:
    """By how much ``count`` weights differ from the file's: the largest difference, and the sums
    of the differences and of the weights, all without their signs."""

    count: int
    largest: float
    total: float
    weights: float

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            self.count + other.count,
            max(self.largest, other.largest),
            self.total + other.total,
            self.weights + other.weights,
        )

    @property
    def mean(self) -> float:
        return self.total / self.count

    @property
    def share(self) -> float:
        """The mean difference as a share of the mean weight."""
        return self.total / self.weights if self.weights else 0.0


@dataclass(frozen=True, slots=True)
class QuantizedMatrix:
    """A matrix in MLX's form.

    ``arrays`` has ``weight``, uint32 of shape (rows, columns * bits / 32), and ``scales`` and
    ``biases`` of shape (rows, columns / group), float16 where that holds them exactly, else
    float32; or, with a ``group`` of 0, only ``weight``, float16 of shape (rows, columns).
    """

    arrays: dict[str, Array]
    bits: int
    group: int
    errors: Errors


@dataclass(frozen=True, slots=True)
class _Affine:
    """How a type is held exactly: ``of`` finds the scales and biases, float32 of shape (blocks,
    groups in a block), from the bytes of blocks."""

    bits: int
    group: int
    of: Callable[[Array], tuple[Array, Array]]


def _half(blocks: Array, at: int) -> Array:
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def _centred(zero: int, at: int = 0) -> Callable[[Array], tuple[Array, Array]]:
    """One scale, and a value of 0 at the number ``zero``."""

    def of(blocks: Array) -> tuple[Array, Array]:
        scale = _half(blocks, at)
        return scale, scale * np.float32(-zero)

    return of


def _minimum(blocks: Array) -> tuple[Array, Array]:
    return _half(blocks, 0), _half(blocks, 2)


def _k_scales(blocks: Array) -> tuple[Array, Array]:
    from gguf.quants import Q4_K

    scale, minimum = Q4_K.get_scale_min(np.ascontiguousarray(blocks[:, 4:16]))
    return _half(blocks, 0) * scale.astype(np.float32), -(_half(blocks, 2) * minimum)


def _q3_k(blocks: Array) -> tuple[Array, Array]:
    scale = np.repeat(_half(blocks, blocks.shape[1] - 2), SUPER // 128, axis=1)
    return scale, scale * np.float32(-124)


def _iq4_xs(blocks: Array) -> tuple[Array, Array]:
    """``ls`` has 6 bits: four in a nibble of bytes 4 to 7, two above them in bytes 2 and 3."""
    high = np.ascontiguousarray(blocks[:, 2:4]).view("<u2") >> np.arange(0, 16, 2, dtype=np.uint16)
    low = np.stack([blocks[:, 4:8] & 15, blocks[:, 4:8] >> 4], axis=-1).reshape(len(blocks), 8)
    scale = _half(blocks, 0) * ((low | ((high & 3) << 4)).astype(np.float32) - np.float32(32))
    return scale, scale * np.float32(-127)


EXACT = {
    "Q4_0": _Affine(4, 32, _centred(8)),
    "Q4_1": _Affine(4, 32, _minimum),
    "Q5_0": _Affine(5, 32, _centred(16)),
    "Q5_1": _Affine(5, 32, _minimum),
    "Q8_0": _Affine(8, 32, _centred(128)),
    "Q3_K": _Affine(8, 128, _q3_k),
    "Q4_K": _Affine(4, 32, _k_scales),
    "Q5_K": _Affine(5, 32, _k_scales),
    "IQ4_NL": _Affine(8, 32, _centred(127)),
    "IQ4_XS": _Affine(8, 32, _iq4_xs),
}


def pack(raw: Array, kind: str, *, halves: bool = False) -> QuantizedMatrix:
    """A matrix in MLX's form, from its blocks, uint8 of shape (rows, bytes of a row).

    Args:
        halves: make float16 of what has no exact form, not 8 bits.

    Raises:
        ValueError: it has values that are not finite, or too large for float16.
    """
    affine = EXACT.get(kind)
    if affine:
        bits, group = affine.bits, affine.group
    else:
        bits, group = (16, 0) if halves else NEAREST
    parts, errors = [], Errors(0, 0.0, 0.0, 0.0)
    for rows, values in _decoded(raw, kind):
        if affine:
            arrays, have = _exact(rows, values, affine)
        else:
            arrays, have = _halves(values) if halves else _nearest(values)
        errors += _errors(have, values)
        parts.append(arrays)
    whole = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    scales = {key: array for key, array in whole.items() if key != "weight"}
    with np.errstate(over="ignore"):
        narrow = {key: array.astype(np.float16) for key, array in scales.items()}
    if all(np.array_equal(narrow[key], scales[key]) for key in scales):
        whole |= narrow
    return QuantizedMatrix(whole, bits, group, errors)


def _errors(have: Array, values: Array) -> Errors:
    off = np.abs(have - values)
    return Errors(
        off.size,
        float(off.max()),
        float(off.sum(dtype="f8")),
        float(np.abs(values).sum(dtype="f8")),
    )


def _decoded(raw: Array, kind: str) -> Iterator[tuple[Array, Array]]:
    """Rows of bytes and their values, some rows at a time."""
    gguf = package()
    called = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[called]
    step = max(AT_ONCE // (raw.shape[1] // size * block), 1)
    for at in range(0, len(raw), step):
        rows = np.ascontiguousarray(raw[at : at + step])
        with np.errstate(invalid="ignore", over="ignore"):  # damaged files
            # as one row: the package's loop is over rows
            values = gguf.dequantize(rows.reshape(1, -1), called).reshape(len(rows), -1)
        if not np.isfinite(values).all():
            raise ValueError(
                "has a scale that is not finite: the file is damaged; download it again"
            )
        yield rows.reshape(-1, size), values


def _exact(blocks: Array, values: Array, affine: _Affine) -> tuple[dict[str, Array], Array]:
    """The arrays of MLX, and the values that they stand for."""
    rows, columns = values.shape
    scales, biases = (one.reshape(rows, -1, 1) for one in affine.of(blocks))
    numbers = values.reshape(rows, -1, affine.group) - biases
    numbers /= np.where(scales == 0, np.float32(1), scales)
    np.rint(numbers, out=numbers)
    np.clip(numbers, 0, (1 << affine.bits) - 1, out=numbers)
    weight = packed_bits(numbers.astype(np.uint8).reshape(rows, columns), affine.bits)
    numbers *= scales
    numbers += biases
    arrays = {"weight": weight, "scales": scales[..., 0], "biases": biases[..., 0]}
    return arrays, numbers.reshape(values.shape)


def _nearest(values: Array) -> tuple[dict[str, Array], Array]:
    import mlx.core as mx

    bits, group = NEAREST
    triple = mx.quantize(mx.array(values), group_size=group, bits=bits)
    have = np.array(mx.dequantize(*triple, group_size=group, bits=bits))
    return dict(zip(("weight", "scales", "biases"), map(np.array, triple), strict=True)), have


def _halves(values: Array) -> tuple[dict[str, Array], Array]:
    if np.abs(values).max() > np.finfo(np.float16).max:
        raise ValueError("has weights over half precision: leave --bits 16 out")
    weight = values.astype(np.float16)
    return {"weight": weight}, weight.astype(np.float32)


def packed_bits(numbers: Array, bits: int) -> Array:
    """Numbers, uint8 of shape (rows, columns), in MLX's order: the first has the lowest bits of a
    row's bytes, and none is left unused. Returns uint32 of shape (rows, columns * bits / 32)."""
    rows = len(numbers)
    if bits == 8:
        return numbers.view("<u4")
    eight = numbers.view("<u8")
    for had, have, mask in (
        (8, bits, 0x00FF00FF00FF00FF),
        (16, 2 * bits, 0x0000FFFF0000FFFF),
        (32, 4 * bits, 0x00000000FFFFFFFF),
    ):  # neighbours move together: two, then four, then eight of them
        low = eight & np.uint64(mask)
        eight = low | (eight ^ low) >> np.uint64(had - have)
    whole = eight[..., None].view("u1")[..., :bits]
    return np.ascontiguousarray(whole).reshape(rows, -1).view("<u4")
