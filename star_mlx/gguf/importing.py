"""Convert a llama-family GGUF file to a model folder of mlx-lm.

GGUF's Q4_0, Q4_1 and Q8_0 blocks (32 weights that share a half-precision scale; ggml's
``ggml-quants.c``) are MLX's affine quantization ``scale * q + bias`` in another order of bits, so
they are carried over exactly: ``bias`` is ``-8 * scale`` for Q4_0 (q is 0 to 15 in both), the
block's own minimum for Q4_1, and ``-128 * scale`` for Q8_0 (q is -128 to 127 there, 0 to 255
here). In float32 ``scale * q`` is exact and one rounding remains, as in ggml, whether or not the
sum is fused; the multiples by a power of two are exact in half precision unless they overflow,
where float32 is stored. Only the sign of a zero may differ: ggml's ``-scale * 0`` is -0.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from star_mlx.errors import ModelError
from star_mlx.gguf import config as gguf_config
from star_mlx.gguf import container
from star_mlx.gguf import tokenizer as gguf_tokenizer
from star_mlx.gguf.config import GROUP, QUANTIZED, Place
from star_mlx.gguf.container import Gguf, Tensor
from star_mlx.store.files import partial_folder, whole_folder

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Imported:
    """What was imported. ``types`` counts weights by their type in the file."""

    folder: Path
    architecture: str
    parameters: int
    types: Mapping[str, int]
    bits: int | None  # asked for with ``bits``
    tokenizer: str
    context: int


def import_gguf(path: Path, out: Path, *, bits: int | None = None) -> Imported:
    """Write the model of a GGUF file to the new folder ``out``.

    Quantized tensors keep their exact values; others keep their type, or are quantized to ``bits``
    (4 or 8) if given.

    Raises:
        ModelError: the file is damaged or of a kind that cannot be imported, or ``out`` is not
            empty or cannot be written. Nothing is left behind.
    """
    out = out.expanduser().resolve()
    partial = partial_folder(out, "import")
    file = container.read(path)
    config, places = gguf_config.read(file)
    types: Counter[str] = Counter()
    for name in places:
        types[file.tensors[name].kind] += int(np.prod(file.tensors[name].shape))
    packed = sorted(QUANTIZED.keys() & types.keys())
    if bits and packed:
        raise ModelError(
            f"{path} is already quantized ({', '.join(packed)}), and doing it again would lose "
            "more: leave --bits out, or use its F16 file"
        )
    with whole_folder(partial, out):
        words = gguf_tokenizer.write(file, partial, config["max_position_embeddings"])
        config |= _write_weights(file, places, partial, bits)
        text = json.dumps(config, indent=2) + "\n"
        (partial / "config.json").write_text(text, encoding="utf-8")
    context = config["max_position_embeddings"]
    return Imported(out, "llama", types.total(), dict(types), bits, words, context)


# --------------------------------------------------------------------------- the weights


def _write_weights(
    file: Gguf, places: Mapping[str, Place], folder: Path, bits: int | None
) -> dict[str, Any]:
    """Write model.safetensors, and return the types and quantization for config.json."""
    from star_mlx.engine import blas

    blas.load()  # before the first import of mlx
    import mlx.core as mx

    weights: dict[str, mx.array] = {}
    packed: dict[str, Any] = {}
    for name, place in places.items():
        tensor, part = file.tensors[name], name.rsplit(".", 1)[1]
        arrays = {k: _to_mlx(v) for k, v in _convert(file, tensor, place).items()}
        if len(place.shape) == 2:
            packed[place.module] = False
            if tensor.kind in QUANTIZED:
                packed[place.module] = {"group_size": GROUP, "bits": QUANTIZED[tensor.kind]}
            elif bits and (group := next((g for g in (64, 32) if place.shape[1] % g == 0), 0)):
                triple = mx.quantize(arrays["weight"], group_size=group, bits=bits)
                arrays = dict(zip(("weight", "scales", "biases"), triple, strict=True))
                mx.eval(*triple)
                packed[place.module] = {"group_size": group, "bits": bits}
        else:
            arrays = {part: arrays["weight"]}
        weights |= {f"{place.module}.{key}": array for key, array in arrays.items()}
    target = folder / "model.safetensors"
    try:
        mx.save_safetensors(str(target), weights, {"format": "mlx"})
    except RuntimeError as error:
        raise ModelError(f"{target} cannot be written: {error}") from error
    _flush(target, sum(array.nbytes for array in weights.values()))
    dtypes = {"F32": "float32", "BF16": "bfloat16"}  # else that of the scales
    dtype = dtypes.get(file.tensors["token_embd.weight"].kind, "float16")
    return {"torch_dtype": dtype, **_quantization(packed)}


def _flush(path: Path, least: int) -> None:
    """Flush a file to the disk, and check that a full disk has not cut it off."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
    if path.stat().st_size < least:
        raise ModelError(f"{path} was cut off while it was written: is the disk full?")


def _mostly(packed: Mapping[str, Any]) -> dict[str, int] | None:
    """The quantization that most modules have."""
    known = [tuple(q.items()) for q in packed.values() if q]
    return dict(Counter(known).most_common(1)[0][0]) if known else None


def _quantization(packed: Mapping[str, Any]) -> dict[str, Any]:
    common = _mostly(packed)
    if common is None:
        return {}
    others = {module: q for module, q in packed.items() if q != common}
    for q in (q for q in others.values() if q):
        q["mode"] = "affine"
    return {"quantization": {**common, "mode": "affine", **others}}


def _convert(file: Gguf, tensor: Tensor, place: Place) -> dict[str, Array]:
    """A tensor in MLX's form: ``weight``, and ``scales`` and ``biases`` if quantized."""
    raw = file.bytes_of(tensor)
    if tensor.kind not in QUANTIZED:
        dtype = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[tensor.kind]
        arrays = {"weight": raw.view(dtype).reshape(tensor.shape)}
    else:
        try:
            arrays = unpack(raw.reshape(tensor.shape[0], tensor.shape[1] // GROUP, -1), tensor.kind)
        except ValueError as error:
            raise ModelError(f"{file.path}: tensor {tensor.name} {error}") from error
    if place.heads:
        arrays = {name: unpermute(array, place.heads) for name, array in arrays.items()}
    return arrays


def unpack(blocks: Array, kind: str) -> dict[str, Array]:
    """GGUF blocks, uint8 of shape (rows, blocks, bytes), in MLX's affine form with groups of 32.

    Returns ``weight``, uint32 of shape (rows, columns * bits / 32), and ``scales`` and ``biases``,
    float16 (float32 where a bias would overflow) of shape (rows, blocks).

    Raises:
        ValueError: a scale or minimum is not finite.
    """
    rows = blocks.shape[0]
    at = 4 if kind == "Q4_1" else 2
    halves = np.ascontiguousarray(blocks[..., :at]).view("<f2")
    if not np.isfinite(halves).all():
        raise ValueError("has a scale that is not finite: the file is damaged; download it again")
    quants = np.ascontiguousarray(blocks[..., at:])
    if kind == "Q8_0":
        packed = quants ^ 0x80  # -128..127 -> 0..255
    else:  # a byte holds weights j and j + 16 there, 2j and 2j + 1 here; the lower bits first
        each = np.concatenate([quants & 15, quants >> 4], axis=-1)
        packed = each[..., 0::2] | (each[..., 1::2] << 4)
    scales = halves[..., 0]
    if kind == "Q4_1":
        biases = halves[..., 1]
    else:
        wide = scales.astype(np.float32) * np.float32(-8 if kind == "Q4_0" else -128)
        if np.abs(wide).max() > np.finfo(np.float16).max:
            scales, biases = scales.astype(np.float32), wide
        else:
            biases = wide.astype(np.float16)
    weight = np.ascontiguousarray(packed).reshape(rows, -1).view("<u4")
    return {"weight": weight, "scales": scales, "biases": biases}


def unpermute(array: Array, heads: int) -> Array:
    """Rows of q or k in the order of Hugging Face: halves of a head, not pairs, are rotated.

    The inverse of ``LlamaModel.permute`` in llama.cpp's ``convert_hf_to_gguf.py``.
    """
    halves = array.reshape(heads, -1, 2, *array.shape[1:])
    return halves.swapaxes(1, 2).reshape(array.shape)


def _to_mlx(array: Array) -> Any:
    import mlx.core as mx

    if array.dtype == np.dtype("<u2"):  # bfloat16, which numpy has no type for
        return mx.array(array).view(mx.bfloat16)
    return mx.array(np.ascontiguousarray(array))
