"""The sizes of a model: from its config.json, or of a typical one with as many parameters."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_mlx.engine import model_config, resolve
from star_mlx.engine.shape import Shape, read_config
from star_mlx.errors import ModelError

EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
NAMES = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads",
         "num_key_value_heads", "vocab_size", "tie_word_embeddings")  # fmt: skip
# Of the config.json of the model that is named.
TYPICAL: dict[str, tuple[int, int, int, int, int, int, bool]] = {
    "SmolLM2-135M": (30, 576, 1536, 9, 3, 49_152, True),
    "SmolLM2-360M": (32, 960, 2560, 15, 5, 49_152, True),
    "Qwen2.5-0.5B": (24, 896, 4864, 14, 2, 151_936, True),
    "Llama-3.2-1B": (16, 2048, 8192, 32, 8, 128_256, True),
    "Qwen2.5-1.5B": (28, 1536, 8960, 12, 2, 151_936, True),
    "Qwen2.5-3B": (36, 2048, 11_008, 16, 2, 151_936, True),
    "Qwen2.5-7B": (28, 3584, 18_944, 28, 4, 152_064, False),
    "Llama-3.1-8B": (32, 4096, 14_336, 32, 8, 128_256, False),
    "Qwen2.5-14B": (48, 5120, 13_824, 40, 8, 152_064, False),
    "Qwen2.5-32B": (64, 5120, 27_648, 40, 8, 152_064, False),
    "Llama-3.1-70B": (80, 8192, 28_672, 64, 8, 128_256, False),
}
GROUP = 64  # weights that share a scale and a bias of 16 bits, as mlx-lm quantizes by default
PARAMETERS = re.compile(r"(\d+(?:\.\d+)?)\s*([MB])", re.IGNORECASE)
FEWEST, MOST = 10e6, 1e12


@dataclass(frozen=True, slots=True)
class ModelSizes:
    """A model before it is put on a device. ``folder`` is None if there are no weights of it."""

    name: str
    config: Mapping[str, Any]
    bits: int
    folder: Path | None = None

    def shape(self, itemsize: int, compiled: bool) -> Shape:
        """Its shape on a device that computes with numbers of ``itemsize`` bytes."""
        return Shape.of(self.config, itemsize, compiled)

    @property
    def head(self) -> int:
        """Weights of the embedding, or of the head."""
        one = self.shape(4, False)
        return one.vocabulary * one.hidden

    @property
    def tied(self) -> bool:
        """Whether the embedding is the head."""
        inner = self.config.get("text_config") or self.config
        found = self.config.get("tie_word_embeddings", inner.get("tie_word_embeddings", False))
        return bool(found)

    @property
    def parameters(self) -> int:
        """About how many weights it has."""
        return self.shape(4, False).parameters + (0 if self.tied else self.head)

    @property
    def item(self) -> float:
        """Bytes of a stored weight, with its share of the scales."""
        return self.bits / 8 if self.bits >= 16 else self.bits / 8 + 4 / GROUP

    def stored(self) -> int:
        """Bytes of the weights as they are stored, which a GPU holds as they are."""
        files = list(self.folder.glob("model*.safetensors")) if self.folder else []
        if files:
            return sum(file.stat().st_size for file in files)
        return round(self.item * self.parameters)

    def expanded(self) -> int:
        """Bytes of the weights in float32, as a CPU holds them."""
        return 4 * self.parameters


def of_size(text: str, bits: int) -> ModelSizes:
    """A typical model of ``7B`` or ``135M`` parameters: the one of the table that is nearest, with
    more or fewer layers if it is not near.

    Raises:
        ModelError: the text is no such number.
    """
    found = PARAMETERS.fullmatch(text.strip())
    wanted = float(found[1]) * (1e6 if found[2] in "mM" else 1e9) if found else 0.0
    if not FEWEST <= wanted <= MOST:
        raise ModelError(
            f"--params {text} is no size of a model: give one from 10M to 1000B, such as 135M or 7B"
        )
    made = [_typical(name, bits) for name in TYPICAL]
    near = min(made, key=lambda one: abs(math.log(one.parameters / wanted)))
    if abs(near.parameters / wanted - 1) < NEAR:
        return near
    shape = near.shape(4, False)
    outside = near.parameters - shape.linear_parameters
    each = shape.linear_parameters / shape.layers
    layers = max(1, round((wanted - outside) / each))
    config = {**near.config, "num_hidden_layers": layers}
    return ModelSizes(f"{near.name} with {layers} layers", config, bits)


NEAR = 0.15  # of the wanted number: Qwen2.5-7B has 7.6 billion


def _typical(name: str, bits: int) -> ModelSizes:
    config = dict(zip(NAMES, TYPICAL[name], strict=True)) | {"model_type": "llama"}
    return ModelSizes(name, config, bits)


def of_model(path: str, revision: str | None = None) -> ModelSizes:
    """The sizes of ``tiny``, of a model of a folder, or of one in the Hub's cache. A folder may
    hold the config.json alone.

    Raises:
        ModelError: it is not on this machine, or cannot be read.
    """
    place = Path(path).expanduser()
    if (place / "config.json").is_file():
        folder = place.resolve()
        if not any(folder.glob("model*.safetensors")):
            return _alone(path, folder)
    found = resolve.at_hand(path, revision)
    if found is None:
        size = re.search(r"(\d+(?:\.\d+)?[MB])(?![a-z])", path, re.IGNORECASE)
        raise ModelError(
            f"{path} is not on this machine: give --params {size[1] if size else '7B'} for a model "
            f"of that size, or get it by `hf download {path}`"
        )
    config = _dense(path, read_config(found.folder))
    return ModelSizes(found.name, config, _bits(config), found.folder)


def _alone(path: str, folder: Path) -> ModelSizes:
    """The sizes in a config.json without weights beside it."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{folder / 'config.json'} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{folder / 'config.json'} is no object")
    if wrong := model_config.problem(config):
        raise ModelError(f"{folder / 'config.json'}: {wrong}")
    return ModelSizes(path, _dense(path, config), _bits(config))


def _dense(path: str, config: dict[str, Any]) -> dict[str, Any]:
    """The config, unless it is that of a mixture of experts, of which each token uses a few."""
    inner = config.get("text_config") or config
    if any(inner.get(key) for key in EXPERTS):
        raise ModelError(
            f"{path} is a mixture of experts, whose times and sizes are not computed: "
            "`star-mlx loop --dry-run --measure` tries the model itself"
        )
    return config


def _bits(config: Mapping[str, Any]) -> int:
    """Bits of a stored weight, 16 if it is not quantized (32 if the type says so)."""
    quantized = config.get("quantization") or config.get("quantization_config") or {}
    inner = config.get("text_config") or config
    kind = str(config.get("torch_dtype") or inner.get("torch_dtype") or "")
    bits = quantized.get("bits") if isinstance(quantized, dict) else None
    return int(bits) if bits else 32 if kind == "float32" else 16
