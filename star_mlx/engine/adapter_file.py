"""Read an adapter folder of mlx-lm as plain numbers: the modules it changes, and the changes.

A LoRA module (Hu et al. 2021, arXiv 2106.09685) with weight W (out, in) computes
``x W' = x (W + scale * (a b)^T)^T`` with ``a`` (in, r) and ``b`` (r, out). DoRA (Liu et al. 2024,
arXiv 2402.09353) then gives every row of the sum the norm that ``magnitude`` (out) says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from star_mlx.engine import adapter_config
from star_mlx.errors import ModelError
from star_mlx.store import names

Array = np.ndarray[Any, np.dtype[np.float32]]

WEIGHTS, CONFIG = names.WEIGHTS, names.ADAPTER_CONFIG
# the first number in a module's name is its layer's: "model.layers.3.self_attn.q_proj"
_PLACE = re.compile(r"(?P<stack>.+?)\.(?P<layer>\d+)\.(?P<part>.+)")


@dataclass(frozen=True, slots=True)
class Module:
    """An adapted linear layer, float32.

    ``name`` is its name in the model (``model.layers.3.self_attn.q_proj``), ``stack`` the part
    before the layer's number (``model.layers``), ``part`` the part after it (``self_attn.q_proj``).
    ``a`` is (in, r), ``b`` (r, out), ``magnitude`` (out) for DoRA, else None.
    """

    name: str
    stack: str
    layer: int
    part: str
    a: Array
    b: Array
    magnitude: Array | None


@dataclass(frozen=True, slots=True)
class Adapter:
    """Every module an adapter changes, in order of layer and name.

    ``layers`` are the numbers of the layers it changes, ``keys`` the parts of them.
    """

    modules: tuple[Module, ...]
    rank: int
    scale: float
    dropout: float
    layers: tuple[int, ...]
    keys: tuple[str, ...]
    dora: bool


def read(folder: Path) -> Adapter:
    """Read ``adapters.safetensors`` and ``adapter_config.json``.

    Raises:
        ModelError: a file is missing or damaged; or the adapter changes what no other format
            supports: an embedding or a head, the experts of a mixture (MoE), whole weights.
    """
    config = adapter_config.read(folder)
    settings = config.lora_parameters
    if config.fine_tune_type == "full" or settings is None:
        raise ModelError(f"{folder} holds no adapter but whole weights: export LoRA or DoRA")
    parts: dict[str, dict[str, Array]] = {}
    for name, array in arrays(folder / WEIGHTS).items():
        if not np.isfinite(array).all():
            raise ModelError(
                f"{folder / WEIGHTS}: {name} has values that are no numbers: train the adapter "
                "again, with a lower train.learning_rate"
            )
        module, _, leaf = name.rpartition(".")
        parts.setdefault(module, {})[leaf] = array
    rank, dora = settings.rank, config.fine_tune_type == "dora"
    modules = [_module(folder, name, found, rank, dora) for name, found in parts.items()]
    if not modules:
        raise ModelError(f"{folder / WEIGHTS} is empty: the adapter changes nothing")
    modules.sort(key=lambda m: (m.layer, m.name))
    return Adapter(
        tuple(modules),
        rank,
        settings.scale,
        settings.dropout,
        tuple(sorted({m.layer for m in modules})),
        tuple(sorted({m.part for m in modules})),
        dora,
    )


def _module(folder: Path, name: str, found: Mapping[str, Array], rank: int, dora: bool) -> Module:
    place = _PLACE.fullmatch(name)
    if place is None or "embed" in name:
        raise ModelError(
            f"the adapter in {folder} changes {name or 'the model as a whole'}, an embedding or "
            "head outside the layers, often one weight with two uses: only linear layers inside "
            "the model's layers can be exported so; use --format mlx or fused"
        )
    wanted = {"lora_a", "lora_b"} | ({"m"} if dora else set())
    if found.keys() != wanted:
        has, lacks = sorted(found.keys() - wanted), sorted(wanted - found.keys())
        what = f"an unknown part {has[0]}" if has else f"no {lacks[0]}"
        raise ModelError(f"the adapter in {folder}: {name} has {what}")
    a, b, m = found["lora_a"], found["lora_b"], found.get("m")
    if a.ndim == 3:
        raise ModelError(
            f"the adapter in {folder} changes the experts {name} (MoE, SwitchLinear), which other "
            "formats do not support; use --format mlx or fused"
        )
    fits = a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0] == rank
    if not fits or (m is not None and m.shape != b.shape[1:]):
        shapes = f"{a.shape} and {b.shape}" + (f" and {m.shape}" if m is not None else "")
        raise ModelError(f"the adapter in {folder}: {name} has shapes {shapes} at rank {rank}")
    return Module(name, place["stack"], int(place["layer"]), place["part"], a, b, m)


def tensors(folder: Path) -> set[str]:
    """The names of all tensors in a model's folder, from the headers of its safetensors files."""
    names: set[str] = set()
    for path in folder.glob("model*.safetensors"):
        with open(path, "rb") as file:  # 8 bytes of length, then so much JSON
            names |= json.loads(file.read(int.from_bytes(file.read(8), "little"))).keys()
    return names - {"__metadata__"}


def arrays(path: Path) -> dict[str, Array]:
    """The arrays of a safetensors file, widened to float32 (which is exact)."""
    from star_mlx.engine import blas

    blas.load()  # before the first import of mlx
    import mlx.core as mx

    if not path.is_file():
        raise ModelError(f"{path.parent} holds no adapter: {path.name} is missing")
    try:
        loaded: Any = mx.load(str(path))
        return {name: np.array(array.astype(mx.float32)) for name, array in loaded.items()}
    except RuntimeError as error:
        text = " ".join(str(error).split())
        raise ModelError(f"{path} cannot be read: {text}") from error
