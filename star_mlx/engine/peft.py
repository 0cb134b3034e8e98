"""An adapter in the form of PEFT (Hugging Face), for torch and for servers such as vLLM.

PEFT's LoRA keeps ``lora_A`` (r, in) and ``lora_B`` (out, r), the transposes of mlx-lm's, and scales
by ``lora_alpha / r``; its DoRA keeps the magnitudes (out) as ``lora_magnitude_vector``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from star_mlx.engine import adapter_file
from star_mlx.engine.adapter_file import Adapter, Array, Module
from star_mlx.engine.resolve import HUB_ID, Found
from star_mlx.errors import ModelError

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
WRAPPED = "language_model."  # the part of gemma3, qwen3_5 and other models that reads text


def write(adapter: Path, base: Found, folder: Path) -> None:
    """Write the adapter of a folder of mlx-lm to another, in PEFT's form.

    Raises:
        ModelError: it changes modules that PEFT does not support or find.
    """
    read, modules = opened(adapter, base)
    save(folder / WEIGHTS, {key: v for m in read.modules for key, v in tensors(m).items()})
    text = json.dumps(config(base, read, modules), indent=2, ensure_ascii=False) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")


def opened(adapter: Path, base: Found) -> tuple[Adapter, set[str]]:
    """The adapter of a folder of mlx-lm, and all modules of its base.

    Raises:
        ModelError: it changes modules that PEFT does not support or find.
    """
    read = adapter_file.read(adapter)
    modules = {name.rpartition(".")[0] for name in adapter_file.tensors(base.folder)}
    if other := next((m.name for m in read.modules if m.name not in modules), None):
        raise ModelError(
            f"the adapter changes {other}, but no weight of {base.name} has that name: "
            "transformers may use another, so PEFT cannot find it; use --format mlx or fused"
        )
    wrapped = next((m.name for m in read.modules if m.name.startswith(WRAPPED)), None)
    if wrapped:
        raise ModelError(
            f"the adapter changes {wrapped}, a part of a larger model, for which transformers has "
            "another name: PEFT would leave it out without an error; use --format mlx or fused"
        )
    return read, modules


def tensors(module: Module) -> dict[str, Array]:
    """A module's arrays by their names in PEFT's file."""
    name = f"base_model.model.{module.name}"
    found = {
        f"{name}.lora_A.weight": np.ascontiguousarray(module.a.T),
        f"{name}.lora_B.weight": np.ascontiguousarray(module.b.T),
    }
    if module.magnitude is not None:
        found[f"{name}.lora_magnitude_vector"] = module.magnitude
    return found


def config(base: Found, adapter: Adapter, modules: set[str]) -> dict[str, Any]:
    """PEFT's adapter_config.json; ``modules`` are all that the base has."""
    alpha = adapter.scale * adapter.rank
    hub = HUB_ID.fullmatch(base.name) if base.revision else None
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base.name if hub else None,
        "revision": base.revision if hub else None,
        "r": adapter.rank,
        "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
        "lora_dropout": adapter.dropout,
        "use_dora": adapter.dora,
        "use_rslora": False,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "modules_to_save": None,
        "inference_mode": True,
        **_targets(adapter, modules),
    }


def _targets(adapter: Adapter, modules: set[str]) -> dict[str, Any]:
    """The modules that PEFT adapts, by the shortest names that mean only these.

    That is, parts of every layer, or of the listed layers; else each module by its full name.
    """
    adapted = {m.name for m in adapter.modules}
    ends = (
        {part.rpartition(".")[2] for part in adapter.keys},
        set(adapter.keys),
    )
    [stack, *others] = {m.stack for m in adapter.modules}
    for names in () if others else ends:
        meant = {name for name in modules if _ends(name, names)}
        if meant == adapted:
            return _listed(names, None, None)
        inside = {name for name in meant if _layer(name, stack) in adapter.layers}
        outside = any(_layer(name, stack) is None for name in meant)
        if inside == adapted and not outside:
            return _listed(names, list(adapter.layers), stack.rpartition(".")[2])
    return _listed(adapted, None, None)


def _ends(name: str, parts: set[str]) -> bool:
    return any(name.endswith(f".{part}") for part in parts)


def _layer(name: str, stack: str) -> int | None:
    """The layer of a module of this stack."""
    number = name.removeprefix(f"{stack}.").partition(".")[0]
    return int(number) if name.startswith(f"{stack}.") and number.isdecimal() else None


def _listed(names: set[str], layers: list[int] | None, pattern: str | None) -> dict[str, Any]:
    return {
        "target_modules": sorted(names),
        "layers_to_transform": layers,
        "layers_pattern": pattern,
    }


def save(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write the arrays of an adapter by their names in PEFT's file."""
    import mlx.core as mx

    kept = {name: mx.array(array) for name, array in sorted(arrays.items())}
    mx.save_safetensors(str(path), kept, {"format": "pt"})
