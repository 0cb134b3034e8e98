"""Load a model and a tokenizer from a folder, in the form that is fastest on this device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten
from mlx_lm.utils import dequantize_model, get_total_parameters, load_model, load_tokenizer

from star_mlx.engine import patch, tokenizer_json
from star_mlx.engine.device import on_cpu
from star_mlx.engine.form import Form, form
from star_mlx.engine.resolve import Found, content_hash
from star_mlx.engine.shape import read_config
from star_mlx.errors import ModelError
from star_mlx.formatting import clipped

PART = 1 << 24  # weights


@dataclass(frozen=True, slots=True)
class Base:
    """A base in memory. ``parameters`` counts weights as stored; ``bits`` of a weight on disk.
    ``again`` gives the same model with weights that are read from its files when evaluated."""

    found: Found
    model: nn.Module
    form: Form
    tokenizer: Any
    config: dict[str, Any]
    parameters: int
    bits: int
    context: int
    hash: str
    again: Callable[[], nn.Module]


def load(found: Found, *, trust_remote_code: bool = False) -> Base:
    """Load a base of any architecture that mlx-lm supports.

    On a CPU the base is computed in float32: a quantized one is dequantized in memory (the same
    values), half precision is widened. On other devices it stays as stored.

    Raises:
        ModelError: mlx-lm does not know the architecture, or the files do not fit it.
    """
    folder = found.folder
    stored = _stored(folder)
    if on_cpu():
        # As fast as compiled (measured), and the result does not depend on a C++ compiler, whose
        # first use costs half a second per kernel, and which may be broken.
        mx.disable_compile()
    model, tokenizer, config = _read(folder, trust_remote_code)
    parameters = int(get_total_parameters(model))
    _check_tokenizer(folder, tokenizer)
    try:
        _evaluate(model)  # only now are the weights read
        model.freeze()
        model.eval()
        patch.install(model)
        made = form(model)  # computes with them
    except (RuntimeError, ValueError) as error:
        raise ModelError(_explain(folder, error)) from error
    inner = config.get("text_config") or config
    return Base(
        found, model, made, tokenizer, config, parameters, _bits(config, model),
        int(inner.get("max_position_embeddings") or 1 << 20), content_hash(folder),
        lambda: _again(folder, trust_remote_code, stored),
    )  # fmt: skip


def _evaluate(model: nn.Module) -> None:
    """Read the weights; on a CPU one after the other, since dequantizing one takes more memory."""
    if not on_cpu():
        mx.eval(model.parameters())
        return
    large = list(_large(model))
    widen(model)
    modules = dict(model.named_modules())
    for name, parts in large:
        modules[name].weight = mx.concatenate(parts)
        mx.eval(modules[name].weight)
        parts.clear()
    for _, weight in tree_flatten(model.parameters()):
        mx.eval(weight)


def _again(folder: Path, trust_remote_code: bool, stored: object) -> nn.Module:
    if _stored(folder) != stored:
        raise ModelError(f"{folder} was changed while its model was in use: start again")
    model, _, _ = _read(folder, trust_remote_code)
    if on_cpu():
        widen(model)
    return model


def _stored(folder: Path) -> list[tuple[str, int, int]]:
    """What changes if a model's weights are written again."""
    files = ((file, file.stat()) for file in sorted(folder.glob("model*.safetensors")))
    return [(file.name, stat.st_size, stat.st_mtime_ns) for file, stat in files]


def _read(folder: Path, trust_remote_code: bool) -> tuple[nn.Module, Any, dict[str, Any]]:
    """Load a folder with mlx-lm. Wrong values in config.json can make it raise any of these."""
    trusted = {"trust_remote_code": True} if trust_remote_code else {}  # new in mlx-lm 0.32
    try:
        model, config = load_model(folder, lazy=True, **trusted)
    except (ValueError, LookupError, ArithmeticError, TypeError, RuntimeError, OSError,
            AttributeError) as error:  # fmt: skip
        raise ModelError(_explain(folder, error)) from error
    return model, _tokenizer(folder, trusted, config), config


def _tokenizer(folder: Path, trusted: dict[str, bool], config: dict[str, Any]) -> Any:
    try:
        return load_tokenizer(folder, trusted, eos_token_ids=config.get("eos_token_id"))
    except BaseException as error:
        # tokenizers raises a plain Exception for most of what a file can be, and panics for some
        if not isinstance(error, Exception) and not tokenizer_json.raised(error):
            raise
        raise ModelError(_explain(folder, error)) from error


def tokenizer(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a folder, without the model.

    Raises:
        ModelError: it cannot be loaded, or names no end token.
    """
    trusted = {"trust_remote_code": True} if trust_remote_code else {}
    found = _tokenizer(folder, trusted, read_config(folder))
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


def _large(model: nn.Module) -> Iterator[tuple[str, list[mx.array]]]:
    """The dequantized weights of large quantized modules, mostly of a vocabulary, in float32, in
    parts of rows: dequantizing takes a CPU up to five times the memory of its result."""
    for name, m in model.named_modules():
        if "scales" not in m or (m.weight.size * 32 // m.bits) < 2 * PART or m.weight.ndim != 2:
            continue
        rows, parts = max(1, PART * m.bits // 32 // m.weight.shape[1]), []
        for i in range(0, len(m.weight), rows):
            scales = m.scales[i : i + rows].astype(mx.float32)
            biases = m.biases[i : i + rows].astype(mx.float32) if "biases" in m else None
            part = mx.dequantize(
                m.weight[i : i + rows], scales, biases, m.group_size, m.bits, mode=m.mode
            )
            mx.eval(part)
            parts.append(part.astype(mx.float32))
        yield name, parts


def _bits(config: dict[str, Any], model: nn.Module) -> int:
    for key in ("quantization", "quantization_config"):
        if isinstance(config.get(key), dict) and "bits" in config[key]:
            return int(config[key]["bits"])
    dtype = str(config.get("torch_dtype") or config.get("dtype") or "")
    return 16 if "16" in dtype else 32


def _explain(folder: Path, error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, KeyError):
        text = f"config.json lacks {text}"
    if "not supported" in text:
        text += " mlx-lm has no such architecture; choose another base"
    if "trust_remote_code" in text:
        text = "it carries code of its own; pass --trust-remote-code if you trust it"
    return f"{folder} cannot be loaded: {clipped(text, 500)}"
