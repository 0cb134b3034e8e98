"""Convert the metadata of a GGUF file to mlx-lm's config.json, and find each tensor's place.

Source of the keys: ggml's ``docs/gguf.md``; of their meaning: llama.cpp's ``src/llama-model.cpp``
and mlx-lm's ``models/*.py``. Imports no mlx.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from star_mlx.errors import ModelError
from star_mlx.gguf import tokenizer
from star_mlx.gguf.architectures import ARCHITECTURES, Architecture
from star_mlx.gguf.container import PLAIN, Gguf


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a tensor: mlx-lm's module, the required shape, and q/k heads to reorder."""

    module: str
    shape: tuple[int, ...]
    heads: int = 0


def architecture(file: Gguf) -> Architecture:
    """The architecture of a file.

    Raises:
        ModelError: it is none of those that can be imported.
    """
    name = file.need("general.architecture")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ModelError(
            f"{file.path}: its architecture is {name!r}; those that can be imported are {known}"
        )
    return ARCHITECTURES[name]


def read(file: Gguf) -> tuple[dict[str, Any], dict[str, Place]]:
    """The content of config.json, and the place of each tensor, by its name in the file.

    Raises:
        ModelError: another architecture, a feature mlx-lm's model lacks, or metadata and tensors
            that do not fit together.
    """
    kind = architecture(file)
    if file.metadata.get(f"{kind.name}.expert_count"):
        raise ModelError(f"{file.path} is a mixture of experts, which cannot be imported")
    hidden = file.count(f"{kind.name}.embedding_length")
    heads = file.count(f"{kind.name}.attention.head_count")
    kv_heads = file.count(f"{kind.name}.attention.head_count_kv", heads)
    head = file.count(f"{kind.name}.attention.key_length", max(hidden // heads, 1))
    _check_heads(file, kind.name, heads, kv_heads, head)
    tokens = tokenizer.tokens_of(file)
    embedding = file.tensors.get("token_embd.weight")
    config: dict[str, Any] = {
        "architectures": [kind.class_name],
        "model_type": kind.model_type,
        "hidden_size": hidden,
        "num_hidden_layers": file.count(f"{kind.name}.block_count"),
        "intermediate_size": file.count(f"{kind.name}.feed_forward_length"),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head,
        "max_position_embeddings": file.count(f"{kind.name}.context_length"),
        "vocab_size": embedding.shape[0] if embedding else len(tokens),
        "rms_norm_eps": file.number(f"{kind.name}.attention.layer_norm_rms_epsilon"),
        "rope_theta": file.number(f"{kind.name}.rope.freq_base", 10000.0),
        "rope_scaling": _rope_scaling(file, kind.name, head),
        "tie_word_embeddings": "output.weight" not in file.tensors,
    }
    if kind.biases is None:
        config["attention_bias"] = any(".attn_" in name and _bias(name) for name in file.tensors)
        config["mlp_bias"] = any(".ffn_" in name and _bias(name) for name in file.tensors)
    if len(tokens) > config["vocab_size"]:
        raise ModelError(f"{file.path}: {len(tokens)} tokens, {config['vocab_size']} embeddings")
    end = tokenizer.end_tokens(file)
    config["eos_token_id"] = end[0] if len(end) == 1 else end
    if "tokenizer.ggml.bos_token_id" in file.metadata:
        config["bos_token_id"] = file.metadata["tokenizer.ggml.bos_token_id"]
    return config, _places(file, kind, config)


def _check_heads(file: Gguf, name: str, heads: int, kv_heads: int, head: int) -> None:
    key = f"{name}.attention.value_length"
    if file.count(key, head) != head:
        raise ModelError(f"{file.path}: {key} differs from the keys', which mlx-lm does not have")
    rotated = file.count(f"{name}.rope.dimension_count", head)
    if rotated != head:
        raise ModelError(
            f"{file.path}: {name}.rope.dimension_count is {rotated} of {head}; "
            "partly rotated heads cannot be imported"
        )
    if heads % kv_heads or head % 2:
        raise ModelError(f"{file.path}: {heads} heads, {kv_heads} for keys, of {head} do not fit")


def _bias(name: str) -> bool:
    return name.endswith(".bias")


def _rope_scaling(file: Gguf, name: str, head: int) -> dict[str, Any] | None:
    kind = file.metadata.get(f"{name}.rope.scaling.type", "none")
    factor = file.number(f"{name}.rope.scaling.factor", 1.0)
    if f"{name}.rope.scale_linear" in file.metadata:  # its name before "scaling.factor"
        kind, factor = "linear", file.number(f"{name}.rope.scale_linear")
    if kind not in ("none", "linear"):
        raise ModelError(
            f"{file.path}: its rope scaling is {kind!r}; `none` and `linear` are known"
        )
    if "rope_freqs.weight" in file.tensors:
        return _llama3_scaling(file, name, head)
    return {"type": "linear", "factor": factor} if kind == "linear" else None


def _llama3_scaling(file: Gguf, name: str, head: int) -> dict[str, Any]:
    """The settings of Llama 3.1 and later, derived from the divisors in the file.

    The formula (Llama 3.1's reference code): a frequency is divided by ``factor`` if its wavelength
    is over 8192 / 1 positions, by 1 under 8192 / 4, and by an interpolated value in between.
    """
    tensor = file.tensors["rope_freqs.weight"]
    if tensor.kind != "F32" or tensor.shape != (head // 2,):
        raise ModelError(f"{file.path}: rope_freqs.weight is {tensor.kind} {list(tensor.shape)}")
    have = file.bytes_of(tensor).view("<f4")
    factor, base = float(have.max()), file.number(f"{name}.rope.freq_base", 10000.0)
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


def _places(file: Gguf, kind: Architecture, config: Mapping[str, Any]) -> dict[str, Place]:
    """Every tensor the model must have; an extra, missing or ill-shaped one is an error."""
    hidden, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    q, kv = heads * head, kv_heads * head
    rows = {"attn_q": q, "attn_k": kv, "attn_v": kv, "attn_qkv": q + 2 * kv, "ffn_gate": inner,
            "ffn_up": inner if "ffn_gate" in kind.linear else 2 * inner}  # fmt: skip
    columns = {"attn_output": q, "ffn_down": inner}
    reordered = {"attn_q": heads, "attn_k": kv_heads} if kind.permuted else {}
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
        for name, module in kind.norms.items():
            size = head if name in kind.head_norms else hidden
            places[f"{theirs}.{name}.weight"] = Place(f"{ours}.{module}", (size,))
        for name, module in kind.linear.items():
            n, where = rows.get(name, hidden), f"{ours}.{module}"
            shape = (n, columns.get(name, hidden))
            places[f"{theirs}.{name}.weight"] = Place(where, shape, reordered.get(name, 0))
            if _has_bias(kind, name, config):
                places[f"{theirs}.{name}.bias"] = Place(where, (n,), reordered.get(name, 0))
    _check_tensors(file, kind, places)
    return places


def _has_bias(kind: Architecture, name: str, config: Mapping[str, Any]) -> bool:
    if kind.biases is not None:
        return name in kind.biases
    return bool(config["attention_bias" if name.startswith("attn") else "mlp_bias"])


def _check_tensors(file: Gguf, kind: Architecture, places: Mapping[str, Place]) -> None:
    for name, place in places.items():
        if name not in file.tensors:
            raise ModelError(
                f"{file.path} lacks the tensor {name}: it is not a whole {kind.name} model"
            )
        have = file.tensors[name].shape
        if have != place.shape:
            raise ModelError(
                f"{file.path}: tensor {name} has the shape {list(have)}, not {list(place.shape)}"
            )
        if len(have) == 1 and file.tensors[name].kind not in PLAIN:
            raise ModelError(f"{file.path}: {name} is {file.tensors[name].kind}, not F32 or F16")
    for name in file.tensors:
        if name not in places and not name.startswith("rope_freqs."):
            raise ModelError(
                f"{file.path}: mlx-lm's {kind.model_type} has no place for the tensor {name}"
            )
