"""Write an adapter as a GGUF file that llama.cpp applies to a GGUF of the same base (``--lora``).

llama.cpp computes ``W x + (alpha / r) * B (A x)`` with ``A`` (r, in) and ``B`` (out, r): the
transposes of mlx-lm's, with ``scale * r`` as alpha. The rows of B for q and k are in the order of
the base's own. Source: llama.cpp's ``convert_lora_to_gguf.py`` and ``llama-adapter.cpp``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from star_mlx.engine import adapter_file as weights
from star_mlx.errors import ModelError
from star_mlx.export.source import ExportSource
from star_mlx.gguf import names


def write(source: ExportSource, out: Path) -> list[Path]:
    """Write ``RUN-NNN-lora.gguf``, float32, into the folder ``out``.

    Raises:
        ModelError: the base is of another architecture, the adapter is DoRA, or the file cannot be
            written.
    """
    config = source.base_config
    kind = names.architecture(config)
    adapter = weights.read(source.adapter)
    if adapter.dora:
        raise ModelError(
            "the adapter is DoRA, which llama.cpp's adapters do not support: use --format gguf, a "
            "whole model with the adapter in it"
        )
    if not adapter.scale:
        raise ModelError("the adapter's scale is 0, which llama.cpp would read as 1")
    heads = int(config["num_attention_heads"])
    kv_heads = int(config.get("num_key_value_heads") or heads)
    metadata = {
        "general.type": "adapter",
        "general.name": source.stem,
        "general.file_type": 0,  # all F32
        "adapter.type": "lora",
        "adapter.lora.alpha": float(adapter.scale * adapter.rank),
    }
    path = out / f"{source.stem}-lora.gguf"
    placed = [(names.tensor(f"{module.name}.weight", kind), module) for module in adapter.modules]
    with names.writing(path, kind, metadata) as writer:
        for name, module in placed:
            b = names.permute(module.b.T, names.heads_of(name, kind, heads, kv_heads))
            writer.add_tensor(f"{name}.lora_a", np.ascontiguousarray(module.a.T))
            writer.add_tensor(f"{name}.lora_b", np.ascontiguousarray(b))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    return [path]
