"""Open a base in float32, and write it in the form that mlx-lm and transformers load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from star_mlx.engine import blas

blas.load()  # before the first import of mlx
import mlx.core as mx  # noqa: E402
import mlx.nn as nn  # noqa: E402
from mlx.utils import tree_flatten  # noqa: E402
from mlx_lm.utils import save_model  # noqa: E402

from star_mlx.engine.device import CACHE  # noqa: E402
from star_mlx.engine.load import load  # noqa: E402
from star_mlx.engine.resolve import Found  # noqa: E402
from star_mlx.errors import ModelError  # noqa: E402
from star_mlx.export.mlx_format import copy_tokenizer, write_json  # noqa: E402
from star_mlx.export.source import ExportSource  # noqa: E402

QUANTIZATION = ("quantization", "quantization_config")  # config.json's keys for it


@contextmanager
def in_float32(base: Found, trust_remote_code: bool) -> Iterator[nn.Module]:
    """Open a model on the CPU, where it is float32 however it is stored."""
    mx.set_cache_limit(CACHE)
    with mx.stream(mx.cpu):
        yield load(base, trust_remote_code=trust_remote_code).model


def save(source: ExportSource, model: nn.Module, folder: Path) -> None:
    """Write a float32 model with the base's configuration and tokenizer: mlx-lm and transformers
    both load it."""
    names = {name for name, _ in tree_flatten(model.parameters())}
    write_folder(source, model, folder, plain_config(source.base_config, names))


def plain_config(config: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    """The base's config.json without quantization, with explicit values where mlx-lm and
    transformers have different defaults, and without a padding token that is no token."""
    kept = _plain(config)
    if isinstance(inner := kept.get("text_config"), dict):
        kept["text_config"] = _plain(inner)
    else:
        kept.setdefault("tie_word_embeddings", not any("lm_head" in name for name in names))
    kept.pop("dtype", None)
    return {**kept, "torch_dtype": "float32"}


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in config.items() if key not in QUANTIZATION}
    pad, size = kept.get("pad_token_id"), kept.get("vocab_size")
    if isinstance(pad, int) and isinstance(size, int) and not -size <= pad < size:
        kept["pad_token_id"] = None  # torch makes no embedding with such a token
    return kept


def write_folder(
    source: ExportSource, model: nn.Module, folder: Path, config: Mapping[str, Any]
) -> None:
    folder.mkdir(exist_ok=True)
    try:
        save_model(folder, model)
    except RuntimeError as error:
        raise ModelError(f"{folder} cannot be written: {' '.join(str(error).split())}") from error
    write_json(folder / "config.json", dict(sorted(config.items())))
    copy_tokenizer(source, folder, "generation_config.json")
