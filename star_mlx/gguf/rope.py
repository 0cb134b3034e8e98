"""The rotary embedding of a GGUF file, in the words of mlx-lm's config.json.

Sources: llama.cpp's ``src/llama-context.cpp`` and ggml's ``ggml_rope_ext`` (what the numbers mean),
mlx-lm's ``models/rope_utils.py``, ``phi3.py`` and ``gemma3_text.py`` (what it computes of them).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from star_mlx.errors import ModelError
from star_mlx.gguf.container import Gguf

Array = np.ndarray[Any, np.dtype[np.float32]]

FREQS, LONG, SHORT = "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"
LLAMA3 = "llama"  # the architecture that may have FREQS
YARN = {"yarn_ext_factor": 1.0, "yarn_attn_factor": 1.0}  # mlx-lm's yarn
LOCAL_BASE = 10000.0  # of gemma3's layers with a window; its global layers have another


def read(file: Gguf, name: str, head: int, context: int) -> dict[str, Any]:
    """The keys of config.json.

    Args:
        name: the architecture, as in the names of the metadata.
        head: the size of a head.
        context: the number of tokens the model reads.

    Raises:
        ModelError: a form that mlx-lm computes in another way, or not at all.
    """
    base = file.number(f"{name}.rope.freq_base", 10000.0)
    keys: dict[str, Any] = {"rope_theta": base}
    rotated = file.count(f"{name}.rope.dimension_count", head)
    if rotated > head or rotated % 2 or (rotated != head and name != "phi3"):
        raise ModelError(
            f"{file.path}: {name}.rope.dimension_count is {rotated} of {head}; "
            f"partly rotated heads of {name} cannot be imported"
        )
    if name == "phi3":
        return keys | _phi3(file, rotated, head, context)
    if name == "gemma3":
        keys["rope_local_base_freq"] = file.number(f"{name}.rope.freq_base_swa", LOCAL_BASE)
    _check_attention_factor(file, name, 1.0)
    kind, factor = _kind(file, name)
    if FREQS in file.tensors and name == LLAMA3:
        return keys | {"rope_scaling": _llama3(file, base, head)}
    if kind == "linear":
        return keys | {"rope_scaling": {"type": "linear", "factor": factor}}
    if kind == "yarn" and name != "gemma3":
        return keys | {"rope_scaling": _yarn(file, name, factor, context)}
    if kind != "none":
        known = "`none` and `linear`" if name == "gemma3" else "`none`, `linear` and `yarn`"
        raise ModelError(f"{file.path}: its rope scaling is {kind!r}; {known} are known")
    return keys | {"rope_scaling": None}


def _kind(file: Gguf, name: str) -> tuple[str, float]:
    kind = file.metadata.get(f"{name}.rope.scaling.type") or "none"
    factor = file.number(f"{name}.rope.scaling.factor", 1.0)
    if f"{name}.rope.scale_linear" in file.metadata:  # its name before "scaling.factor"
        return "linear", file.number(f"{name}.rope.scale_linear")
    return str(kind)[:60], factor


def _check_attention_factor(file: Gguf, name: str, usual: float) -> None:
    """llama.cpp multiplies the rotated queries and keys by it, whatever the kind of scaling."""
    key = f"{name}.rope.scaling.attn_factor"
    given = file.number(key, 1.0)
    if not math.isclose(given, usual, rel_tol=1e-4):
        raise ModelError(f"{file.path}: {key} is {given:g}; mlx-lm knows {usual:g}")


def _yarn(file: Gguf, name: str, factor: float, context: int) -> dict[str, Any]:
    """YaRN (Peng et al. 2023, arXiv 2309.00071) with its paper's factor of attention."""
    prefix = f"{name}.rope.scaling."
    for key, usual in YARN.items():
        value = file.number(prefix + key, usual)
        if value != usual:
            raise ModelError(f"{file.path}: {prefix}{key} is {value:g}; mlx-lm knows {usual:g}")
    if file.metadata.get(f"{prefix}yarn_log_multiplier"):
        raise ModelError(f"{file.path}: mlx-lm does not know {prefix}yarn_log_multiplier")
    return {
        "rope_type": "yarn",
        "type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": file.count(f"{prefix}original_context_length", context),
        "beta_fast": file.number(f"{prefix}yarn_beta_fast", 32.0),
        "beta_slow": file.number(f"{prefix}yarn_beta_slow", 1.0),
    }


def _llama3(file: Gguf, base: float, head: int) -> dict[str, Any]:
    """The settings of Llama 3.1 and later, derived from the divisors in the file.

    The formula (Llama 3.1's reference code): a frequency is divided by ``factor`` if its wavelength
    is over 8192 / 1 positions, by 1 under 8192 / 4, and by an interpolated value in between.
    """
    have = _factors(file, FREQS, head)
    factor = float(have.max())
    wavelength = 2 * np.pi * base ** (np.arange(0, head, 2) / head)
    smooth = np.clip((8192 / wavelength - 1) / 3, 0, 1)
    if not np.allclose(have, 1 / ((1 - smooth) / factor + smooth), rtol=1e-4):
        raise ModelError(f"{file.path}: its {FREQS} is not Llama 3's rope scaling")
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }


def _phi3(file: Gguf, rotated: int, head: int, context: int) -> dict[str, Any]:
    """LongRoPE (Ding et al. 2024, arXiv 2402.13753), if the file has its factors.

    There are two sets, for texts within the original context and for longer ones. mlx-lm has one
    set for both, so it is given the first: training and answers are short.
    """
    keys: dict[str, Any] = {"rope_scaling": None, "partial_rotary_factor": rotated / head}
    kind, factor = _kind(file, "phi3")
    if LONG not in file.tensors and SHORT not in file.tensors:
        _check_attention_factor(file, "phi3", 1.0)
        if kind == "linear":
            keys["rope_scaling"] = {"type": "linear", "factor": factor, "long_factor": []}
        elif kind != "none":
            raise ModelError(
                f"{file.path}: its rope scaling is {kind!r}, without the factors of `longrope`"
            )
        return keys
    factors = [float(value) for value in _factors(file, SHORT, rotated)]
    original = file.count("phi3.rope.scaling.original_context_length")
    larger = max(context / original, 1.0)
    usual = math.sqrt(1 + math.log(larger) / math.log(original)) if original > 1 else 0.0
    _check_attention_factor(file, "phi3", usual)
    scaling = {"type": "longrope", "short_factor": factors, "long_factor": factors}
    return keys | {"rope_scaling": scaling, "original_max_position_embeddings": original}


def _factors(file: Gguf, name: str, rotated: int) -> Array:
    if name not in file.tensors:
        raise ModelError(f"{file.path} lacks the tensor {name}")
    tensor = file.tensors[name]
    if tensor.kind != "F32" or tensor.shape != (rotated // 2,):
        raise ModelError(f"{file.path}: {name} is {tensor.kind} {list(tensor.shape)}")
    found: Array = file.bytes_of(tensor).view("<f4")
    if not (np.isfinite(found).all() and (found > 0).all()):
        raise ModelError(f"{file.path}: {name} has factors that are no positive numbers")
    return found
