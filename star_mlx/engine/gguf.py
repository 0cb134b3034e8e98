"""A llama-family GGUF file -> a model's folder in the form of mlx-lm.

GGUF's Q4_0, Q4_1 and Q8_0 blocks (32 weights that share a half-precision scale; ggml's
``ggml-quants.c``) are MLX's affine quantization ``scale * q + bias`` in another order of bits, so
they are carried over exactly: ``bias`` is ``-8 * scale`` for Q4_0 (q is 0 to 15 in both), the
block's own minimum for Q4_1, and ``-128 * scale`` for Q8_0 (q is -128 to 127 there, 0 to 255
here). In float32 ``scale * q`` is exact and one rounding remains, as in ggml, whether or not the
sum is fused; the multiples by a power of two are exact in half precision unless they overflow,
where float32 is stored.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from star_mlx.engine import gguf_file, gguf_tokenizer
from star_mlx.engine.gguf_file import Gguf, Tensor
from star_mlx.types import ModelError

Array = np.ndarray[Any, np.dtype[Any]]

QUANTIZED = {"Q4_0": 4, "Q4_1": 4, "Q8_0": 8}  # type -> bits
GROUP = 32  # weights a block
LINEAR = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
NORMS = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}


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


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor goes: mlx-lm's module, the shape it must have, and q/k heads to reorder."""

    module: str
    shape: tuple[int, ...]
    heads: int = 0


def import_gguf(path: Path, out: Path, *, bits: int | None = None) -> Imported:
    """Write the model of a GGUF file to the new folder ``out``.

    Quantized tensors keep their values to the last bit; others keep their type, or are quantized
    to ``bits`` (4 or 8) where given.

    Raises:
        ModelError: the file is damaged or of a kind that cannot be imported, or ``out`` is not
            empty or cannot be written. Nothing is left behind.
    """
    out = out.expanduser().resolve()
    partial = _partial(out)
    file = gguf_file.read(path)
    config, places = _config(file)
    types: Counter[str] = Counter()
    for name in places:
        types[file.tensors[name].kind] += int(np.prod(file.tensors[name].shape))
    packed = sorted(QUANTIZED.keys() & types.keys())
    if bits and packed:
        raise ModelError(
            f"{path} is quantized already ({', '.join(packed)}), and again would lose more: "
            "leave --bits out, or ask for its F16 file"
        )
    with _whole(partial, out):
        words = gguf_tokenizer.write(file, partial, config["max_position_embeddings"])
        config |= _write_weights(file, places, partial, bits)
        text = json.dumps(config, indent=2) + "\n"
        (partial / "config.json").write_text(text, encoding="utf-8")
    context = config["max_position_embeddings"]
    return Imported(out, "llama", types.total(), dict(types), bits, words, context)


def _partial(out: Path) -> Path:
    """The name that a folder has until it is whole, where ``out`` is free to be written."""
    try:
        taken = out.exists() and not (out.is_dir() and not any(out.iterdir()))
    except OSError as error:
        raise ModelError(f"{out} cannot be written: {error.strerror or error}") from error
    if taken:
        raise ModelError(f"{out} exists and is not an empty folder: choose another --out")
    partial = out.with_name(out.name + ".partial")
    if partial.exists():
        raise ModelError(f"{partial} is left of another import: delete it if none is running")
    return partial


@contextmanager
def _whole(partial: Path, out: Path) -> Iterator[None]:
    """A folder that is filled under another name, then renamed; removed where anything fails."""
    try:
        partial.mkdir(parents=True)
        yield
        os.replace(partial, out)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError):
            raise ModelError(f"{out} cannot be written: {error.strerror or error}") from error
        raise


# --------------------------------------------------------------------------- the configuration


def _config(file: Gguf) -> tuple[dict[str, Any], dict[str, Place]]:
    """What config.json says of the model, and where each tensor goes."""
    architecture = file.need("general.architecture")
    if architecture != "llama":
        raise ModelError(
            f"{file.path}: its architecture is {architecture!r}; only `llama` can be imported"
        )
    if file.metadata.get("llama.expert_count"):
        raise ModelError(f"{file.path} is a mixture of experts, which cannot be imported")
    hidden, heads = file.count("llama.embedding_length"), file.count("llama.attention.head_count")
    kv_heads = file.count("llama.attention.head_count_kv", heads)
    head = file.count("llama.attention.key_length", max(hidden // heads, 1))
    _check_heads(file, heads, kv_heads, head)
    tokens = gguf_tokenizer.tokens_of(file)
    embedding = file.tensors.get("token_embd.weight")
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "num_hidden_layers": file.count("llama.block_count"),
        "intermediate_size": file.count("llama.feed_forward_length"),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head,
        "max_position_embeddings": file.count("llama.context_length"),
        "vocab_size": embedding.shape[0] if embedding else len(tokens),
        "rms_norm_eps": file.number("llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": file.number("llama.rope.freq_base", 10000.0),
        "rope_scaling": _rope_scaling(file, head),
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "attention_bias": any(".attn_" in name and _bias(name) for name in file.tensors),
        "mlp_bias": any(".ffn_" in name and _bias(name) for name in file.tensors),
    }
    if len(tokens) > config["vocab_size"]:
        raise ModelError(f"{file.path}: {len(tokens)} tokens, {config['vocab_size']} embeddings")
    end = gguf_tokenizer.end_tokens(file)
    config["eos_token_id"] = end[0] if len(end) == 1 else end
    if "tokenizer.ggml.bos_token_id" in file.metadata:
        config["bos_token_id"] = file.metadata["tokenizer.ggml.bos_token_id"]
    return config, _places(file, config)


def _check_heads(file: Gguf, heads: int, kv_heads: int, head: int) -> None:
    key = "llama.attention.value_length"
    if file.count(key, head) != head:
        raise ModelError(f"{file.path}: {key} differs from the keys', which mlx-lm does not have")
    rotated = file.count("llama.rope.dimension_count", head)
    if rotated != head:
        raise ModelError(
            f"{file.path}: llama.rope.dimension_count is {rotated} of {head}; "
            "partly rotated heads cannot be imported"
        )
    if heads % kv_heads or head % 2:
        raise ModelError(f"{file.path}: {heads} heads, {kv_heads} for keys, of {head} do not fit")


def _bias(name: str) -> bool:
    return name.endswith(".bias")


def _rope_scaling(file: Gguf, head: int) -> dict[str, Any] | None:
    kind = file.metadata.get("llama.rope.scaling.type", "none")
    factor = file.number("llama.rope.scaling.factor", 1.0)
    if "llama.rope.scale_linear" in file.metadata:  # its name before "scaling.factor"
        kind, factor = "linear", file.number("llama.rope.scale_linear")
    if kind not in ("none", "linear"):
        raise ModelError(f"{file.path}: its rope scaling is {kind!r}; `none` and `linear` are known")
    if "rope_freqs.weight" in file.tensors:
        return _llama3_scaling(file, head)
    return {"type": "linear", "factor": factor} if kind == "linear" else None


def _llama3_scaling(file: Gguf, head: int) -> dict[str, Any]:
    """The settings of Llama 3.1 and later, of which the file holds only what they come to.

    The formula (Llama 3.1's reference code): a frequency is divided by ``factor`` where its
    wavelength is over 8192 / 1 positions, by 1 under 8192 / 4, and by what lies between in between.
    """
    tensor = file.tensors["rope_freqs.weight"]
    if tensor.kind != "F32" or tensor.shape != (head // 2,):
        raise ModelError(f"{file.path}: rope_freqs.weight is {tensor.kind} {list(tensor.shape)}")
    have = file.bytes_of(tensor).view("<f4")
    factor, base = float(have.max()), file.number("llama.rope.freq_base", 10000.0)
    wavelength = 2 * np.pi * base ** (np.arange(0, head, 2) / head)
    smooth = np.clip((8192 / wavelength - 1) / 3, 0, 1)
    if not np.allclose(have, 1 / ((1 - smooth) / factor + smooth), rtol=1e-4):
        raise ModelError(f"{file.path}: its rope_freqs.weight is not Llama 3's rope scaling")
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }


def _places(file: Gguf, config: Mapping[str, Any]) -> dict[str, Place]:
    """Every tensor the model must have; one too many, too few or ill-shaped is an error."""
    hidden, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    rows = {"attn_q": heads * head, "attn_k": kv_heads * head, "attn_v": kv_heads * head,
            "ffn_gate": inner, "ffn_up": inner}  # fmt: skip
    columns = {"attn_output": heads * head, "ffn_down": inner}
    reordered = {"attn_q": heads, "attn_k": kv_heads}
    places = {
        "token_embd.weight": Place("model.embed_tokens", (config["vocab_size"], hidden)),
        "output_norm.weight": Place("model.norm", (hidden,)),
    }
    if not config["tie_word_embeddings"]:
        places["output.weight"] = Place("lm_head", (config["vocab_size"], hidden))
    if config["num_hidden_layers"] > len(file.tensors):
        raise ModelError(f"{file.path} lacks layers: {len(file.tensors)} tensors in all")
    for layer in range(config["num_hidden_layers"]):
        ours, theirs = f"model.layers.{layer}", f"blk.{layer}"
        for name, module in NORMS.items():
            places[f"{theirs}.{name}.weight"] = Place(f"{ours}.{module}", (hidden,))
        for name, module in LINEAR.items():
            n, where = rows.get(name, hidden), f"{ours}.{module}"
            shape = (n, columns.get(name, hidden))
            places[f"{theirs}.{name}.weight"] = Place(where, shape, reordered.get(name, 0))
            if config["attention_bias" if name.startswith("attn") else "mlp_bias"]:
                places[f"{theirs}.{name}.bias"] = Place(where, (n,), reordered.get(name, 0))
    _check_tensors(file, places)
    return places


def _check_tensors(file: Gguf, places: Mapping[str, Place]) -> None:
    for name, place in places.items():
        if name not in file.tensors:
            raise ModelError(f"{file.path} lacks the tensor {name}: it is not a whole llama model")
        have = file.tensors[name].shape
        if have != place.shape:
            raise ModelError(
                f"{file.path}: tensor {name} has the shape {list(have)}, not {list(place.shape)}"
            )
        if len(have) == 1 and file.tensors[name].kind in QUANTIZED:
            raise ModelError(f"{file.path}: {name} is {file.tensors[name].kind}, not F32 or F16")
    for name in file.tensors:
        if name not in places and not name.startswith("rope_freqs."):
            raise ModelError(f"{file.path}: mlx-lm's llama has no place for the tensor {name}")


# --------------------------------------------------------------------------- the weights


def _write_weights(
    file: Gguf, places: Mapping[str, Place], folder: Path, bits: int | None
) -> dict[str, Any]:
    """Write model.safetensors; returns what config.json says of types and quantization."""
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
    """Force a file to the disk, and see that a full one has not cut it off."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
    if path.stat().st_size < least:
        raise ModelError(f"{path} was cut off in writing: is the disk full?")


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
    """A tensor as it is in MLX: ``weight``, and ``scales`` and ``biases`` where quantized."""
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
    """Rows of q or k as Hugging Face orders them: halves of a head, not pairs, are rotated.

    The inverse of ``LlamaModel.permute`` in llama.cpp's ``convert_hf_to_gguf.py``.
    """
    halves = array.reshape(heads, -1, 2, *array.shape[1:])
    return halves.swapaxes(1, 2).reshape(array.shape)


def _to_mlx(array: Array) -> Any:
    import mlx.core as mx

    if array.dtype == np.dtype("<u2"):  # bfloat16, which numpy has no type for
        return mx.array(array).view(mx.bfloat16)
    return mx.array(np.ascontiguousarray(array))
