"""What is wrong with a model's config.json, told before mlx computes with its values.

A size of 0 or a group of a wrong size would end the process (SIGFPE in mlx), and a text in place of
a number would be an error deep inside an architecture. Imports no mlx.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

SIZES = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
    *("intermediate_size", "head_dim", "vocab_size", "max_position_embeddings"),
)
REALS = ("rms_norm_eps", "rope_theta")
LARGEST = 1 << 31
GROUPS, BITS = (16, 32, 64, 128), (2, 3, 4, 5, 6, 8)


def problem(config: Mapping[str, Any]) -> str:
    """What is wrong with the values of a config.json; empty if nothing is known to be.

    Keys that are missing or null are the architecture's affair. A size may be a list of one for
    each layer.
    """
    inner = config.get("text_config")
    if inner is not None and not isinstance(inner, dict):
        return f"text_config is {_shown(inner)}, not an object"
    parts = [("", config), *([("text_config.", inner)] if inner else [])]
    return next((found for prefix, part in parts for found in _wrong(prefix, part)), "")


def _wrong(prefix: str, part: Mapping[str, Any]) -> Iterator[str]:
    for key in SIZES:
        value = part.get(key)
        least, every = (0, value) if isinstance(value, list) and value else (1, [value])
        if value is not None and not all(_integer(one, least, LARGEST) for one in every):
            yield f"{prefix}{key} is {_shown(value)}, not a whole number above 0"
    for key in REALS:
        value = part.get(key)
        if value is not None and not _positive(value):
            yield f"{prefix}{key} is {_shown(value)}, not a number above 0"
    quantization = part.get("quantization")
    if quantization is None:
        return
    if not isinstance(quantization, dict):
        yield f"{prefix}quantization is {_shown(quantization)}, not an object"
        return
    nested = (one for one in quantization.values() if isinstance(one, dict))
    for one in (quantization, *nested):
        for key, known in (("group_size", GROUPS), ("bits", BITS)):
            if key in one and not (_integer(one[key], 1, LARGEST) and one[key] in known):
                choices = ", ".join(map(str, known))
                yield f"{prefix}quantization has {key} {_shown(one[key])}, not one of {choices}"


def _integer(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _positive(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0 < value < math.inf


def _shown(value: object) -> str:
    return repr(value)[:40]
