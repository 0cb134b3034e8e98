"""The metadata of a model's shape, and its tensors of rotary factors, from mlx-lm's arguments.

The inverse of ``gguf/config.py`` and ``gguf/rope.py``, and of the same sources.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from star_mlx.errors import ModelError
from star_mlx.gguf import rope
from star_mlx.gguf.architectures import Architecture
from star_mlx.gguf.config import LAYERS_27B, PATTERN

Array = np.ndarray[Any, np.dtype[np.float32]]


def head(args: Any) -> int:
    """The size of a head."""
    return int(getattr(args, "head_dim", None) or args.hidden_size // args.num_attention_heads)


def metadata(args: Any, kind: Architecture) -> dict[str, Any]:
    """The metadata of a shape, from mlx-lm's reading of config.json.

    Raises:
        ModelError: it has a feature that llama.cpp's architecture lacks or computes differently.
    """
    if not args.max_position_embeddings:
        raise ModelError("the base's config.json names no max_position_embeddings")
    found: dict[str, Any] = {
        "vocab_size": int(args.vocab_size),
        "context_length": int(args.max_position_embeddings),
        "embedding_length": int(args.hidden_size),
        "block_count": int(args.num_hidden_layers),
        "feed_forward_length": int(args.intermediate_size),
        "attention.head_count": int(args.num_attention_heads),
        "attention.head_count_kv": int(args.num_key_value_heads),
        "attention.key_length": head(args),
        "attention.value_length": head(args),
        "attention.layer_norm_rms_epsilon": float(args.rms_norm_eps),
        "rope.dimension_count": _rotated(args),
        "rope.freq_base": float(args.rope_theta),
        **_scaling(args, kind),
        **_own(args, kind),
    }
    return {f"{kind.name}.{key}": value for key, value in found.items()}


def factors(args: Any) -> dict[str, Array]:
    """The tensors by which the frequencies of rotary embeddings are divided, if there are any."""
    called, scaling = _asked(args)
    if called == "llama3":
        return {rope.FREQS: _llama3(args, scaling)}
    if called == "longrope":  # mlx-lm has one set for short and long texts
        longer = np.array(args.rope_scaling["long_factor"], np.float32)
        return {rope.LONG: longer, rope.SHORT: longer}
    return {}


def _rotated(args: Any) -> int:
    return int(head(args) * float(getattr(args, "partial_rotary_factor", 1.0)))


def _own(args: Any, kind: Architecture) -> dict[str, Any]:
    """What only some architectures have."""
    types = set(getattr(args, "layer_types", None) or ["full_attention"])
    if types != {"full_attention"}:
        raise ModelError(
            f"the base has sliding windows, which llama.cpp's {kind.name} does not support"
        )
    layers = args.num_hidden_layers
    three_of_four = [int((i + 1) % 4 != 0) for i in range(layers)]
    if kind.name == "smollm3" and list(args.no_rope_layers) != three_of_four:
        raise ModelError("the base rotates other layers than three of four, as llama.cpp does")
    if kind.name != "gemma3":
        return {}
    share = args.hidden_size // args.num_attention_heads
    usual = {
        "rope_local_base_freq": rope.LOCAL_BASE,
        "sliding_window_pattern": PATTERN,
        "query_pre_attn_scalar": share if layers == LAYERS_27B else head(args),
    }
    for key, value in usual.items():
        if getattr(args, key) != value:
            raise ModelError(f"the base's {key} is {getattr(args, key)}; llama.cpp knows {value:g}")
    return {"attention.sliding_window": int(args.sliding_window)}


def _asked(args: Any) -> tuple[str, dict[str, float]]:
    found: Mapping[str, Any] = args.rope_scaling or {}
    called = str(found.get("type") or found.get("rope_type") or "default")
    numbers = {k: float(v) for k, v in found.items() if isinstance(v, int | float)}
    return {"su": "longrope"}.get(called, called), numbers


def _scaling(args: Any, kind: Architecture) -> dict[str, Any]:
    called, numbers = _asked(args)
    known = {"phi3": ("linear", "longrope"), "gemma3": ("linear",)}.get(
        kind.name, ("linear", "yarn")
    ) + (("llama3",) if kind.name == rope.LLAMA3 else ())
    if getattr(args, "rope_traditional", False) or called not in ("default", *known):
        called = "traditional" if getattr(args, "rope_traditional", False) else called
        raise ModelError(f"the base's rotary embedding is {called!r}, which GGUF does not support")
    if called == "linear":
        return {"rope.scaling.type": "linear", "rope.scaling.factor": numbers["factor"]}
    if called == "yarn":
        return _yarn(numbers)
    if called == "longrope":
        original = int(args.original_max_position_embeddings)
        larger = max(args.max_position_embeddings / original, 1.0)
        return {
            "rope.scaling.original_context_length": original,
            "rope.scaling.attn_factor": math.sqrt(1 + math.log(larger) / math.log(original)),
        }
    return {}


def _yarn(numbers: Mapping[str, float]) -> dict[str, Any]:
    if numbers.get("mscale", 1.0) != 1 or numbers.get("mscale_all_dim", 0.0) != 0:
        raise ModelError("the base's yarn has an mscale of its own, which GGUF does not support")
    return {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": numbers["factor"],
        "rope.scaling.original_context_length": int(
            numbers.get("original_max_position_embeddings", 4096)
        ),
        "rope.scaling.yarn_beta_fast": numbers.get("beta_fast", 32.0),
        "rope.scaling.yarn_beta_slow": numbers.get("beta_slow", 1.0),
    }


def _llama3(args: Any, scaling: Mapping[str, float]) -> Array:
    """The divisors of the frequencies in Llama 3.1's scaling (its reference code).

    The divisor is ``factor`` if the wavelength is over original / low positions, 1 if it is under
    original / high, and interpolated in between.
    """
    low, high = scaling.get("low_freq_factor", 1.0), scaling.get("high_freq_factor", 4.0)
    original = scaling.get("original_max_position_embeddings", 8192.0)
    size = head(args)
    wavelength = 2 * np.pi * args.rope_theta ** (np.arange(0, size, 2) / size)
    smooth = np.clip((original / wavelength - low) / (high - low), 0, 1)
    divisors = 1 / ((1 - smooth) / scaling["factor"] + smooth)
    return divisors.astype(np.float32)
