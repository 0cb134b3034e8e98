"""Write a base with an adapter added to its weights as one GGUF file for llama.cpp.

Every matrix is widened to float32 (the values that mlx computes with), the adapter is added, and
the sum is stored in the requested type, one matrix at a time. Vectors stay F32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from star_mlx.engine import adapter_file as weights
from star_mlx.engine.resolve import Found
from star_mlx.errors import ModelError
from star_mlx.export.source import ExportSource
from star_mlx.gguf import names, shape, vocab
from star_mlx.gguf.architectures import Architecture
from star_mlx.gguf.container import package

Array = np.ndarray[Any, np.dtype[np.float32]]

KINDS = {"F32": 0, "F16": 1, "Q8_0": 7, "Q4_0": 2}  # llama.cpp's file types (llama_ftype)
FLOAT = np.dtype(np.float32)
BLOCK = 32  # weights of a row that share a scale in Q8_0 and Q4_0
ENDS = ("embed_tokens", "lm_head")  # kept in Q8_0 in a Q4_0 file, as they matter most


def write(source: ExportSource, out: Path, kind: str = "F16") -> list[Path]:
    """Write ``RUN-NNN-KIND.gguf`` into the folder ``out``.

    ``kind`` is the type of the matrices: F32, F16, Q8_0 or Q4_0.

    Raises:
        ModelError: another kind, a base of another architecture, a tokenizer without an equal in
            llama.cpp, an adapter that does not fit, or a file that cannot be written. Nothing is
            left behind.
    """
    path = out / f"{source.stem}-{kind}.gguf"
    names.architecture(source.base_config)
    convert(source.base, path, kind, weights.read(source.adapter), title=source.stem)
    return [path]


def convert(
    base: Found, path: Path, kind: str, adapter: weights.Adapter | None, title: str
) -> None:
    """Write a base, with an adapter if one is given, to the file ``path``; see ``write``."""
    if kind not in KINDS:
        raise ModelError(f"GGUF files of the type {kind!r} cannot be written: {', '.join(KINDS)}")
    model = _load(base.folder)
    metadata = {
        "general.type": "model",
        "general.name": title,
        "general.file_type": KINDS[kind],
        "general.quantization_version": 2,  # of ggml's blocks
        **model.metadata,
    }
    changes = {module.name: module for module in adapter.modules} if adapter else {}
    _check_fit(changes, model.weights)
    scale = adapter.scale if adapter else 0.0
    gguf = package()
    types = {name: _type(name, array.shape, kind) for name, array in model.weights.items()}
    with names.writing(path, model.kind, metadata) as writer:
        for name, array in model.weights.items():
            kept = gguf.GGMLQuantizationType[types[name]]
            block, size = gguf.GGML_QUANT_SIZES[kept]
            bytes_ = array.size // block * size
            writer.add_tensor_info(model.names[name], array.shape, FLOAT, bytes_, kept)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name in list(model.weights):
            values = np.array(model.weights.pop(name))  # computed here, then freed
            module = name.rpartition(".")[0]
            if module in changes and values.ndim == 2:
                values = fused(values, changes[module], scale)
            values = names.permute(values, model.heads.get(name, 0))
            writer.write_tensor_data(_packed(values, types[name], name))


def fused(weight: Array, change: weights.Module, scale: float) -> Array:
    """A weight (out, in) with an adapter's product added; with DoRA, its rows' norms set."""
    product: Any = (np.float32(scale) * change.b.T) @ change.a.T
    total: Array = weight + product
    if change.magnitude is not None:
        norms: Any = np.linalg.norm(total, axis=1)
        total *= (change.magnitude / norms)[:, None]
    return total


def _check_fit(changes: Mapping[str, weights.Module], have: Mapping[str, Any]) -> None:
    for name, change in changes.items():
        weight = have.get(f"{name}.weight")
        wanted = (change.b.shape[1], change.a.shape[0])
        if weight is None or weight.shape != wanted:
            shape = None if weight is None else list(weight.shape)
            raise ModelError(f"the adapter does not fit: {name} is {list(wanted)}, not {shape}")


def _type(name: str, shape: tuple[int, ...], kind: str) -> str:
    if len(shape) == 1:
        return "F32"
    if kind in ("Q8_0", "Q4_0") and shape[1] % BLOCK:
        return "F16"
    return "Q8_0" if kind == "Q4_0" and any(end in name for end in ENDS) else kind


def _packed(values: Array, kind: str, name: str) -> Any:
    gguf = package()
    if kind != "F32":  # F16 itself, and the scales of blocks
        most = float(np.abs(values).max(initial=0))
        if not most <= float(np.finfo(np.float16).max):
            raise ModelError(f"{name} has weights of {most:g}, over half precision: use F32")
    return gguf.quants.quantize(np.ascontiguousarray(values), gguf.GGMLQuantizationType[kind])


# --------------------------------------------------------------------------- the base


@dataclass(frozen=True, slots=True)
class _Base:
    """A base: its metadata, its weights by mlx's names (not yet computed), their names in the file,
    and the number of heads whose rows are reordered."""

    kind: Architecture
    metadata: dict[str, Any]
    weights: dict[str, Any]
    names: dict[str, str]
    heads: dict[str, int]


def _load(folder: Path) -> _Base:
    from star_mlx.engine import blas

    blas.load()  # before the first import of mlx
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_lm.utils import load_model, load_tokenizer

    from star_mlx.engine.load import widen

    model, config = load_model(folder, lazy=True)
    kind, args = names.architecture(config), model.args
    metadata = shape.metadata(args, kind)
    tokenizer = load_tokenizer(folder, eos_token_ids=config.get("eos_token_id"))
    metadata |= vocab.metadata(folder, tokenizer, args.vocab_size)
    widen(model)
    have: dict[str, Any] = dict(tree_flatten(model.parameters()))
    called = {name: names.tensor(name, kind) for name in have}
    heads = {
        name: names.heads_of(to, kind, args.num_attention_heads, args.num_key_value_heads)
        for name, to in called.items()
    }
    if kind.norm_offset:
        have |= {n: a + kind.norm_offset for n, a in have.items() if n.endswith("norm.weight")}
    for name, divisors in shape.factors(args).items():
        have[name], called[name] = mx.array(divisors), name
    return _Base(kind, metadata, have, called, heads)
