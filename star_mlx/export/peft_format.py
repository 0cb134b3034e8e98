"""Write the adapter in the format of PEFT (Hugging Face), for torch.

PEFT's LoRA keeps ``lora_A`` (r, in) and ``lora_B`` (out, r), the transposes of mlx-lm's, and scales
by ``lora_alpha / r``; its DoRA keeps the magnitudes (out) as ``lora_magnitude_vector``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from star_mlx.engine.resolve import HUB_ID
from star_mlx.errors import ModelError
from star_mlx.events import Emit
from star_mlx.export import weights
from star_mlx.export.mlx_format import copy_tokenizer, write_json
from star_mlx.export.prompt import Setup
from star_mlx.export.source import ExportSource, WrittenFormat
from star_mlx.export.weights import Adapter, Array, Module

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
BOUND = 5e-3  # largest difference of a logit
WRAPPED = "language_model."  # the part of gemma3, qwen3_5 and other models that reads text


def write(
    source: ExportSource, setup: Setup, folder: Path, verify: bool, force: bool, emit: Emit
) -> WrittenFormat:
    """Write adapter_model.safetensors, adapter_config.json and the tokenizer's files.

    With ``verify`` the logits of PEFT's model on torch are compared with mlx's, for
    ``parity.json``.

    Raises:
        ModelError: the adapter changes modules that PEFT does not support or find; ``verify``
            without torch or PEFT, or logits that differ by more than ``BOUND``.
    """
    adapter = weights.read(source.adapter)
    modules = {name.rpartition(".")[0] for name in weights.tensors(source.base.folder)}
    if other := next((m.name for m in adapter.modules if m.name not in modules), None):
        raise ModelError(
            f"the adapter changes {other}, but no weight of {source.base.name} has that name: "
            "transformers may use another, so PEFT cannot find it; use --format mlx or fused"
        )
    wrapped = next((m.name for m in adapter.modules if m.name.startswith(WRAPPED)), None)
    if wrapped:
        raise ModelError(
            f"the adapter changes {wrapped}, a part of a larger model, for which transformers has "
            "another name: PEFT would leave it out without an error; use --format mlx or fused"
        )
    if verify:
        from star_mlx.export import torch_model

        torch_model.check("torch", "transformers", "peft")
    arrays = {key: v for m in adapter.modules for key, v in tensors(m).items()}
    _save(folder / WEIGHTS, arrays)
    write_json(folder / CONFIG, config(source, adapter, modules))
    copy_tokenizer(source, folder)
    notes = _notes(source, verify)
    if not verify:
        return WrittenFormat(notes)
    from star_mlx.export import verify as parity

    found = parity.peft(source, setup, folder, set(arrays), BOUND, emit)
    write_json(folder / "parity.json", found)
    parity.judge(found, "the adapter in PEFT", force)
    return WrittenFormat(notes, found)


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


def config(source: ExportSource, adapter: Adapter, modules: set[str]) -> dict[str, Any]:
    """PEFT's adapter_config.json; ``modules`` are all that the base has."""
    alpha = adapter.scale * adapter.rank
    hub = HUB_ID.fullmatch(source.base.name) if source.base.revision else None
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": source.base.name if hub else None,
        "revision": source.base.revision if hub else None,
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


def _notes(source: ExportSource, verified: bool) -> tuple[str, ...]:
    base, notes = source.base.name, []
    if not HUB_ID.fullmatch(base) or not source.base.revision:
        notes.append(
            f"the base {base} has no name on the Hub, so adapter_config.json names no base: pass "
            "the model itself to PeftModel.from_pretrained"
        )
    if "quantization" in source.base_config:
        notes.append(
            f"it was trained on {base} in MLX's quantized form, which transformers cannot load: it "
            "computes the same on the dequantized weights (mlx_lm.convert --dequantize), and "
            "nearly the same on the model they were quantized from"
        )
    if not verified:
        notes.append("not compared with PEFT: use --verify, which needs torch and peft")
    return tuple(notes)


def _save(path: Path, arrays: Mapping[str, Array]) -> None:
    import mlx.core as mx

    kept = {name: mx.array(array) for name, array in sorted(arrays.items())}
    mx.save_safetensors(str(path), kept, {"format": "pt"})
