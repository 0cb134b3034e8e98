"""Convert a GGUF file to a model folder of mlx-lm.

Quantized weights are carried over as ``gguf/blocks.py`` says, the rows of q and k in the order of
Hugging Face, and norms without the 1 that gemma's have in GGUF. Only the sign of a zero may differ:
ggml's ``-scale * 0`` is -0.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from star_mlx.engine import resolve
from star_mlx.errors import ModelError
from star_mlx.gguf import blocks, container, vocab
from star_mlx.gguf import config as gguf_config
from star_mlx.gguf import tokenizer as gguf_tokenizer
from star_mlx.gguf.blocks import Errors
from star_mlx.gguf.config import Place
from star_mlx.gguf.container import PLAIN, Gguf, Tensor
from star_mlx.store.files import partial_folder, whole_folder

Array = np.ndarray[Any, np.dtype[Any]]

NO_MODELS = {  # by general.type
    "adapter": "an adapter (LoRA)",
    "mmproj": "the vision or audio part of a model (mmproj)",
    "imatrix": "an importance matrix",
    "vocab": "a vocabulary without weights",
}


@dataclass(frozen=True, slots=True)
class Imported:
    """What was imported. ``types`` counts weights by their type in the file."""

    folder: Path
    architecture: str
    parameters: int
    types: Mapping[str, int]
    bits: int | None  # asked for with ``bits``
    nearest: Mapping[str, Errors]  # of the types that MLX does not hold exactly
    tokenizer: str
    context: int


def import_gguf(path: Path, out: Path, *, bits: int | None = None) -> Imported:
    """Write the model of a GGUF file to the new folder ``out``.

    Quantized tensors keep their exact values if MLX can hold them (``gguf/blocks.py``), else the
    nearest of 8 bits, or of float16 if ``bits`` is 16. Others keep their type, or are quantized to
    ``bits`` (4 or 8) if given.

    Raises:
        ModelError: the file is damaged or of a kind that cannot be imported, or ``out`` is not
            empty or cannot be written. Nothing is left behind.
    """
    out = out.expanduser().resolve()
    partial = partial_folder(out, "import")
    file = container.read(path)
    _check_whole(file)
    kind = gguf_config.architecture(file)
    config, places = gguf_config.read(file)
    types: Counter[str] = Counter()
    for name in places:
        types[file.tensors[name].kind] += int(np.prod(file.tensors[name].shape))
    packed = sorted(types.keys() - set(PLAIN))
    if bits in (4, 8) and packed:
        raise ModelError(
            f"{path} is already quantized ({', '.join(packed)}), and doing it again would lose "
            "more: leave --bits out, or use its F16 file"
        )
    with whole_folder(partial, out):
        context = config["max_position_embeddings"]
        words = gguf_tokenizer.write(file, partial, context)
        weights = _Weights(file, kind.norm_offset, bits)
        config |= weights.write(places, partial)
        done = Imported(
            out, kind.name, types.total(), dict(types), bits, weights.errors, words, context
        )
        _write_json(partial / "config.json", config)
        _check_read(path, partial)
        _write_json(partial / resolve.IMPORTED, _record(path, done))
    return done


def _check_read(path: Path, folder: Path) -> None:
    from star_mlx.engine import load

    written = vocab.from_file(folder / "tokenizer.json")
    text = vocab.misread(written, load.tokenizer(folder))
    if text is not None:
        raise ModelError(
            f"{path}: its tokenizer cannot be imported: mlx-lm has one of its own for this "
            f"architecture, with which {text!r} would be other tokens"
        )


def _check_whole(file: Gguf) -> None:
    """Refuse what has the form of a GGUF file but is no whole model."""
    kind = file.metadata.get("general.type")
    if file.metadata.get("general.architecture") == "clip":
        kind = "mmproj"  # older ones have no general.type
    if isinstance(kind, str) and kind in NO_MODELS:
        raise ModelError(
            f"{file.path} is {NO_MODELS[kind]}, and no model: give the file of the model itself"
        )
    if (n := file.metadata.get("split.count", 1)) not in (0, 1):
        raise ModelError(
            f"{file.path} is one of {str(n)[:20]} parts: make them one file first, with "
            "llama.cpp's `llama-gguf-split --merge`"
        )


def _record(path: Path, done: Imported) -> dict[str, Any]:
    """What a run records of its base's origin: the file, and what it lost on the way."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return {
        "file": path.name,
        "sha256": digest.hexdigest(),
        "architecture": done.architecture,
        "weights": dict(done.types),
        "bits": done.bits,
        "rounded": {
            kind: {
                "weights": lost.count,
                "to": "float16" if done.bits == 16 else "8 bits",
                "largest": lost.largest,
                "mean": lost.mean,
                "mean_share": lost.share,
            }
            for kind, lost in done.nearest.items()
        },
    }


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


# --------------------------------------------------------------------------- the weights


class _Weights:
    """The weights of a file in MLX's form: ``modules`` has the quantization of each matrix, or
    False, and ``errors`` what was lost, by type."""

    def __init__(self, file: Gguf, norm_offset: float, bits: int | None) -> None:
        self.file, self.norm_offset, self.bits = file, norm_offset, bits
        self.modules: dict[str, Any] = {}
        self.errors: dict[str, Errors] = {}

    def write(self, places: Mapping[str, Place], folder: Path) -> dict[str, Any]:
        """Write model.safetensors, and return the types and quantization for config.json."""
        from star_mlx.engine import blas

        blas.load()  # before the first import of mlx
        import mlx.core as mx

        weights: dict[str, mx.array] = {}
        for name, place in places.items():
            tensor, part = self.file.tensors[name], name.rsplit(".", 1)[1]
            if len(place.shape) == 2:
                for key, array in self.matrix(tensor, place).items():
                    weights[f"{place.module}.{key}"] = array
            else:
                weights[f"{place.module}.{part}"] = self.vector(tensor, place)
        target = folder / "model.safetensors"
        try:
            mx.save_safetensors(str(target), weights, {"format": "mlx"})
        except RuntimeError as error:
            raise ModelError(f"{target} cannot be written: {error}") from error
        _flush(target, sum(array.nbytes for array in weights.values()))
        dtypes = {"F32": "float32", "BF16": "bfloat16"}  # else that of the scales
        dtype = dtypes.get(self.file.tensors["token_embd.weight"].kind, "float16")
        return {"torch_dtype": dtype, **_quantization(self.modules)}

    def vector(self, tensor: Tensor, place: Place) -> Any:
        array = _to_mlx(_rows(_plain(self.file, tensor), place.heads))
        if self.norm_offset and tensor.name.endswith("norm.weight"):
            import mlx.core as mx

            array = array.astype(mx.float32) - self.norm_offset
        return array

    def matrix(self, tensor: Tensor, place: Place) -> dict[str, Any]:
        import mlx.core as mx

        self.modules[place.module] = False
        if tensor.kind not in PLAIN:
            return self.quantized(tensor, place)
        array = _to_mlx(_rows(_plain(self.file, tensor), place.heads))
        group = next((g for g in (64, 32) if place.shape[1] % g == 0), 0)
        if self.bits not in (4, 8) or not group:
            return {"weight": array}
        self.modules[place.module] = {"group_size": group, "bits": self.bits}
        triple = mx.quantize(array, group_size=group, bits=self.bits)
        mx.eval(*triple)
        return dict(zip(("weight", "scales", "biases"), triple, strict=True))

    def quantized(self, tensor: Tensor, place: Place) -> dict[str, Any]:
        raw = self.file.bytes_of(tensor).reshape(tensor.shape[0], -1)
        try:
            packed = blocks.pack(raw, tensor.kind, halves=self.bits == 16)
        except ValueError as error:
            raise ModelError(f"{self.file.path}: tensor {tensor.name} {error}") from error
        if packed.errors.largest:
            had = self.errors.get(tensor.kind)
            self.errors[tensor.kind] = had + packed.errors if had else packed.errors
        if packed.group:
            self.modules[place.module] = {"group_size": packed.group, "bits": packed.bits}
        return {key: _to_mlx(_rows(array, place.heads)) for key, array in packed.arrays.items()}


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


def _plain(file: Gguf, tensor: Tensor) -> Array:
    dtype = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[tensor.kind]
    return file.bytes_of(tensor).view(dtype).reshape(tensor.shape)


def _rows(array: Array, heads: int) -> Array:
    return unpermute(array, heads) if heads else array


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
