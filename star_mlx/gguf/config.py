"""Convert the metadata of a GGUF file to mlx-lm's config.json, and find each tensor's place.

Source of the keys: ggml's ``docs/gguf.md``; of their meaning: llama.cpp's ``src/llama-model.cpp``
and mlx-lm's ``models/*.py``. Imports no mlx.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from star_mlx.errors import ModelError
from star_mlx.gguf import rope, tokenizer
from star_mlx.gguf.architectures import ARCHITECTURES, Architecture
from star_mlx.gguf.container import PLAIN, Gguf

NEUTRAL = {  # features that no model here computes -> the value that changes nothing, as 0 does
    "attn_logit_softcapping": 0.0,
    "final_logit_softcapping": 0.0,
    "logit_scale": 1.0,
    "residual_scale": 1.0,
    "embedding_scale": 1.0,
    "attention.scale": 0.0,
    "attention.clamp_kqv": 0.0,
    "attention.max_alibi_bias": 0.0,
}
PATTERN = 6  # gemma3: every sixth layer has no window, unless the file says otherwise
LAYERS_27B = 62  # by which llama.cpp knows the gemma3 with another scale of attention


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
    _check_neutral(file, kind)
    hidden = file.count(f"{kind.name}.embedding_length")
    heads = file.count(f"{kind.name}.attention.head_count")
    kv_heads = file.count(f"{kind.name}.attention.head_count_kv", heads)
    head = file.count(f"{kind.name}.attention.key_length", max(hidden // heads, 1))
    _check_heads(file, kind, hidden, heads, kv_heads, head)
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
        "tie_word_embeddings": "output.weight" not in file.tensors,
    }
    config |= rope.read(file, kind.name, head, config["max_position_embeddings"])
    config |= _windows(file, config) if kind.name == "gemma3" else {}
    if kind.biases is None:
        config["attention_bias"] = any(".attn_" in name and _bias(name) for name in file.tensors)
        config["mlp_bias"] = any(".ffn_" in name and _bias(name) for name in file.tensors)
    if len(tokens) > config["vocab_size"]:
        raise ModelError(f"{file.path}: {len(tokens)} tokens, {config['vocab_size']} embeddings")
    end = tokenizer.end_tokens(file)
    config["eos_token_id"] = end[0] if len(end) == 1 else end
    # None too: transformers has defaults for some architectures
    config["bos_token_id"] = tokenizer.token_id(file, "bos")
    config["pad_token_id"] = tokenizer.token_id(file, "padding")
    return config, _places(file, kind, config)


def _check_neutral(file: Gguf, kind: Architecture) -> None:
    if file.metadata.get(f"{kind.name}.expert_count"):
        raise ModelError(f"{file.path} is a mixture of experts, which cannot be imported")
    for name, neutral in NEUTRAL.items():
        value = file.metadata.get(f"{kind.name}.{name}", neutral)
        if value not in (0, neutral):
            raise ModelError(
                f"{file.path}: {kind.name}.{name} is {str(value)[:60]}, which mlx-lm's "
                f"{kind.model_type} does not compute"
            )


def _check_heads(
    file: Gguf, kind: Architecture, hidden: int, heads: int, kv_heads: int, head: int
) -> None:
    key = f"{kind.name}.attention.value_length"
    if file.count(key, head) != head:
        raise ModelError(f"{file.path}: {key} differs from the keys', which mlx-lm does not have")
    if heads % kv_heads or head % 2 or (kind.head_is_share and head != hidden // heads):
        raise ModelError(f"{file.path}: {heads} heads, {kv_heads} for keys, of {head} do not fit")


def _windows(file: Gguf, config: Mapping[str, Any]) -> dict[str, Any]:
    """The sliding windows of gemma3, and its scale of attention."""
    layers, head = config["num_hidden_layers"], config["head_dim"]
    key = "gemma3.attention.sliding_window_pattern"
    pattern = file.metadata.get(key, PATTERN)
    if isinstance(pattern, list):  # whether each layer has a window
        windows = [bool(layer) for layer in pattern]
        period = windows.index(False) + 1 if False in windows else len(windows) + 1
        if windows != [(i + 1) % period != 0 for i in range(layers)]:
            raise ModelError(f"{file.path}: {key} has no one period, which mlx-lm needs")
        pattern = period
    if not isinstance(pattern, int) or not 1 <= pattern <= layers:
        raise ModelError(
            f"{file.path}: {key} is {str(pattern)[:60]}, not a number of its {layers} layers"
        )
    scale = config["hidden_size"] // config["num_attention_heads"]
    return {
        "sliding_window": file.count("gemma3.attention.sliding_window"),
        "sliding_window_pattern": pattern,
        "query_pre_attn_scalar": scale if layers == LAYERS_27B else head,
    }


def _bias(name: str) -> bool:
    return name.endswith(".bias")


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
    factors = {"llama": (rope.FREQS,), "phi3": (rope.LONG, rope.SHORT)}.get(kind.name, ())
    for name in file.tensors:
        if name not in places and name not in factors:
            raise ModelError(
                f"{file.path}: mlx-lm's {kind.model_type} has no place for the tensor {name}"
            )
