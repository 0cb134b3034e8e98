"""The names of tensors in a llama GGUF file, the order of their rows, and the writing of a file.

The inverse of ``gguf/config.py``, whose tables these are. Sources: llama.cpp's
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
from star_mlx.gguf.architectures import ARCHITECTURES

if TYPE_CHECKING:
    from gguf import GGUFWriter

Array = np.ndarray[Any, np.dtype[Any]]

ARCHITECTURE = "llama"
MODELS = ("llama", "mistral")  # by config.json's model_type; mlx-lm reads both as a llama
_LLAMA = ARCHITECTURES[ARCHITECTURE]
_PARTS = {module: name for name, module in {**_LLAMA.linear, **_LLAMA.norms}.items()}
_TOPS = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")


def check(config: Mapping[str, Any]) -> None:
    """Check that a base with this config.json can be written as GGUF; raises ModelError if not."""
    kind = config.get("model_type")
    if kind not in MODELS:
        raise ModelError(
            f"the base is a {kind!r} model, and only llama models can be exported to GGUF: use "
            "--format fused, which llama.cpp's own convert_hf_to_gguf.py reads"
        )


def tensor(module: str) -> str:
    """``model.layers.3.self_attn.q_proj`` -> ``blk.3.attn_q``.

    Raises:
        ModelError: llama.cpp's llama has no such module.
    """
    place = _LAYER.fullmatch(module)
    if place and place[2] in _PARTS:
        return f"blk.{place[1]}.{_PARTS[place[2]]}"
    if module in _TOPS:
        return _TOPS[module]
    raise ModelError(f"llama.cpp's llama has no place for the weights {module}")


def heads_of(name: str, heads: int, kv_heads: int) -> int:
    """The number of heads whose rows are reordered in a tensor; 0 if its rows stay."""
    return {"attn_q": heads, "attn_k": kv_heads}.get([*name.split("."), "", ""][2], 0)


def permute(array: Array, heads: int) -> Array:
    """Rows of q or k in llama.cpp's order: pairs of a head, not its halves, are rotated."""
    if not heads:
        return array
    halves = array.reshape(heads, 2, -1, *array.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(array.shape)


def package() -> Any:
    """The ``gguf`` package, which is an extra."""
    try:
        import gguf
    except ImportError:
        raise ModelError(
            "writing GGUF files needs the gguf package: pip install 'star-mlx[gguf]'"
        ) from None
    return gguf


@contextmanager
def writing(path: Path, metadata: Mapping[str, Any]) -> Iterator[GGUFWriter]:
    """A writer whose file has a temporary name until it is complete, and is removed on failure.

    ``metadata`` is written with the types that llama.cpp requires: whole numbers as UINT32 (INT32
    inside lists), others as FLOAT32.
    """
    partial = path.with_name(path.name + ".partial")
    writer = package().GGUFWriter(partial, ARCHITECTURE)
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
