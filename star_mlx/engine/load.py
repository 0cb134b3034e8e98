"""Load a model and a tokenizer from a folder, in the form that is fastest on this device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.utils import dequantize_model, get_total_parameters, load_model, load_tokenizer

from star_mlx.engine import patch
from star_mlx.engine.device import on_cpu
from star_mlx.engine.form import Form, form
from star_mlx.engine.resolve import Found, content_hash
from star_mlx.engine.shape import read_config
from star_mlx.errors import ModelError


@dataclass(frozen=True, slots=True)
class Base:
    """A base in memory. ``parameters`` counts weights as stored; ``bits`` of a weight on disk."""

    found: Found
    model: nn.Module
    form: Form
    tokenizer: Any
    config: dict[str, Any]
    parameters: int
    bits: int
    context: int
    hash: str


def load(found: Found, *, trust_remote_code: bool = False) -> Base:
    """Load a base of any architecture that mlx-lm supports.

    On a CPU the base is computed in float32: a quantized one is dequantized in memory (the same
    values), half precision is widened. On other devices it stays as stored.

    Raises:
        ModelError: mlx-lm does not know the architecture, or the files do not fit it.
    """
    folder = found.folder
    if on_cpu():
        # As fast as compiled (measured), and the result does not depend on a C++ compiler, whose
        # first use costs half a second per kernel, and which may be broken.
        mx.disable_compile()
    model, tokenizer, config = _read(folder, trust_remote_code)
    parameters = int(get_total_parameters(model))
    if on_cpu():
        widen(model)
    _check_tokenizer(folder, tokenizer)
    model.freeze()
    model.eval()
    patch.install(model)
    try:
        mx.eval(model.parameters())  # only now are the weights read
        made = form(model)  # computes with them
    except (RuntimeError, ValueError) as error:
        raise ModelError(_explain(folder, error)) from error
    inner = config.get("text_config") or config
    return Base(
        found, model, made, tokenizer, config, parameters, _bits(config, model),
        int(inner.get("max_position_embeddings") or 1 << 20), content_hash(folder),
    )  # fmt: skip


def _read(folder: Path, trust_remote_code: bool) -> tuple[nn.Module, Any, dict[str, Any]]:
    """Load a folder with mlx-lm. Wrong values in its files can make it raise anything: tokenizers
    raises plain ``Exception``."""
    trusted = {"trust_remote_code": True} if trust_remote_code else {}  # new in mlx-lm 0.32
    try:
        model, config = load_model(folder, lazy=True, **trusted)
        tokenizer = load_tokenizer(folder, trusted, eos_token_ids=config.get("eos_token_id"))
    except Exception as error:
        raise ModelError(_explain(folder, error)) from error
    return model, tokenizer, config


def tokenizer(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a folder, without the model.

    Raises:
        ModelError: it cannot be loaded, or names no end token.
    """
    trusted = {"trust_remote_code": True} if trust_remote_code else {}
    try:
        found = load_tokenizer(
            folder, trusted, eos_token_ids=read_config(folder).get("eos_token_id")
        )
    except Exception as error:
        raise ModelError(_explain(folder, error)) from error
    _check_tokenizer(folder, found)
    return found


def _check_tokenizer(folder: Path, tokenizer: Any) -> None:
    longest = getattr(tokenizer, "model_max_length", None)
    if not isinstance(longest, int | float | None):
        raise ModelError(
            f"{folder / 'tokenizer_config.json'}: model_max_length is {longest!r:.40}, not a number"
        )
    if not tokenizer.eos_token_ids:
        raise ModelError(f"{folder} names no end token (eos_token): a completion could never end")


def widen(model: nn.Module) -> None:
    """Turn quantized and half-precision weights into the same values in float32, in place.

    Half-precision and quantized products are scalar code on a CPU: 100 times slower.
    """
    model.set_dtype(mx.float32)  # scales and biases first, so that nothing is rounded
    dequantize_model(model)
    model.set_dtype(mx.float32)


def _bits(config: dict[str, Any], model: nn.Module) -> int:
    for key in ("quantization", "quantization_config"):
        if isinstance(config.get(key), dict) and "bits" in config[key]:
            return int(config[key]["bits"])
    dtype = str(config.get("torch_dtype") or config.get("dtype") or "")
    return 16 if "16" in dtype else 32


def _explain(folder: Path, error: Exception) -> str:
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, KeyError):
        text = f"config.json lacks {text}"
    if "not supported" in text:
        text += " mlx-lm has no such architecture; choose another base"
    if "trust_remote_code" in text:
        text = "it carries code of its own; pass --trust-remote-code if you trust it"
    return f"{folder} cannot be loaded: {text}"
