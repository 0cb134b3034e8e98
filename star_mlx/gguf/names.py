"""The names of tensors in a GGUF file, the order of their rows, and the writing of a file.

The inverse of ``gguf/config.py``; both read ``gguf/architectures.py``. Sources: llama.cpp's
``gguf-py/gguf/constants.py`` (names) and ``LlamaModel.permute`` in ``conversion/llama.py`` (rows).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from star_mlx.errors import ModelError
from star_mlx.gguf.architectures import ARCHITECTURES, Architecture
from star_mlx.gguf.container import package

if TYPE_CHECKING:
    from gguf import GGUFWriter

Array = np.ndarray[Any, np.dtype[Any]]

# by config.json's model_type; mlx-lm reads a mistral as a llama
MODELS = {one.model_type: one for one in ARCHITECTURES.values()}
MODELS["mistral"] = ARCHITECTURES["llama"]
_TOPS = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")


def architecture(config: Mapping[str, Any]) -> Architecture:
    """The architecture of a base with this config.json.

    Raises:
        ModelError: it cannot be written as GGUF.
    """
    kind = config.get("model_type")
    if kind not in MODELS:
        raise ModelError(
            f"the base is a {kind!r} model, and only {', '.join(MODELS)} can be exported to GGUF: "
            "use --format fused, which llama.cpp's own convert_hf_to_gguf.py reads"
        )
    return MODELS[kind]


def tensor(name: str, kind: Architecture) -> str:
    """``model.layers.3.self_attn.q_proj.weight`` -> ``blk.3.attn_q.weight``.

    Raises:
        ModelError: llama.cpp's architecture has no such weights.
    """
    module, _, leaf = name.rpartition(".")
    parts = {ours: theirs for theirs, ours in {**kind.linear, **kind.norms}.items()}
    place = _LAYER.fullmatch(module)
    called = f"blk.{place[1]}.{parts[place[2]]}" if place and place[2] in parts else None
    called = called or _TOPS.get(module)
    part = (called or "").rpartition(".")[2]
    biased = part in (kind.linear if kind.biases is None else kind.biases)
    if called is None or leaf not in ("weight", "bias") or (leaf == "bias" and not biased):
        raise ModelError(f"llama.cpp's {kind.name} has no place for the weights {name}")
    return f"{called}.{leaf}"


def heads_of(name: str, kind: Architecture, heads: int, kv_heads: int) -> int:
    """The number of heads whose rows are reordered in a tensor; 0 if its rows stay."""
    if not kind.permuted:
        return 0
    return {"attn_q": heads, "attn_k": kv_heads}.get([*name.split("."), "", ""][2], 0)


def permute(array: Array, heads: int) -> Array:
    """Rows of q or k in llama.cpp's order: pairs of a head, not its halves, are rotated."""
    if not heads:
        return array
    halves = array.reshape(heads, 2, -1, *array.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(array.shape)


@contextmanager
def writing(path: Path, kind: Architecture, metadata: Mapping[str, Any]) -> Iterator[GGUFWriter]:
    """A writer whose file has a temporary name until it is complete, and is removed on failure.

    ``metadata`` is written with the types that llama.cpp requires: whole numbers as UINT32 (INT32
    inside lists), others as FLOAT32.
    """
    partial = path.with_name(path.name + ".partial")
    writer = package().GGUFWriter(partial, kind.name)
    for key, value in metadata.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        else:
            (writer.add_array if isinstance(value, list) else writer.add_string)(key, value)
    try:
        try:
            yield writer
        finally:
            writer.close()
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise ModelError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
