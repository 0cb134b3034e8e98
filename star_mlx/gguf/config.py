"""Convert the metadata of a llama GGUF file to mlx-lm's config.json, and find each tensor's place.

Source of the keys: ggml's ``docs/gguf.md``; of their meaning: llama.cpp's ``src/llama-model.cpp``
and mlx-lm's ``models/llama.py``. Imports no mlx.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from star_mlx.errors import ModelError
from star_mlx.gguf import tokenizer
from star_mlx.gguf.container import Gguf

QUANTIZED = {"Q4_0": 4, "Q4_1": 4, "Q8_0": 8}  # type -> bits
GROUP = 32  # weights per block
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
class Place:
    """The place of a tensor: mlx-lm's module, the required shape, and q/k heads to reorder."""

    module: str
    shape: tuple[int, ...]
    heads: int = 0


def read(file: Gguf) -> tuple[dict[str, Any], dict[str, Place]]:
    """The content of config.json, and the place of each tensor, by its name in the file.

    Raises:
        ModelError: another architecture, a feature mlx-lm's llama lacks, or metadata and tensors
            that do not fit together.
    """
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
    tokens = tokenizer.tokens_of(file)
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
    end = tokenizer.end_tokens(file)
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
        raise ModelError(
            f"{file.path}: its rope scaling is {kind!r}; `none` and `linear` are known"
        )
    if "rope_freqs.weight" in file.tensors:
        return _llama3_scaling(file, head)
    return {"type": "linear", "factor": factor} if kind == "linear" else None


def _llama3_scaling(file: Gguf, head: int) -> dict[str, Any]:
    """The settings of Llama 3.1 and later, derived from the divisors in the file.

    The formula (Llama 3.1's reference code): a frequency is divided by ``factor`` if its wavelength
    is over 8192 / 1 positions, by 1 under 8192 / 4, and by an interpolated value in between.
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
    """Every tensor the model must have; an extra, missing or ill-shaped one is an error."""
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
