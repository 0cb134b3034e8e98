"""Add the adapter to the base's weights: a model that needs no adapter.

In float32 it computes the same as the adapter on the base, which is checked. Quantized again it
does not, since the small changes of an adapter are rounded away with the rest, so it is tested on
dev problems before it is written (``gate.py``).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from star_mlx.engine import blas

blas.load()  # before the first import of mlx
import mlx.core as mx  # noqa: E402
import mlx.nn as nn  # noqa: E402
from mlx.utils import tree_flatten  # noqa: E402

from star_mlx.engine.adapter import Switch  # noqa: E402
from star_mlx.engine.adapter_file import tensors  # noqa: E402
from star_mlx.engine.resolve import Found  # noqa: E402
from star_mlx.errors import ModelError  # noqa: E402
from star_mlx.events import Emit  # noqa: E402
from star_mlx.export import dense, gate, torch_model, verify  # noqa: E402
from star_mlx.export.gate import Limits  # noqa: E402
from star_mlx.export.mlx_format import write_json  # noqa: E402
from star_mlx.export.prompt import Setup  # noqa: E402
from star_mlx.export.source import ExportSource, WrittenFormat  # noqa: E402

BOUND, TORCH_BOUND = 1e-4, 5e-3  # largest difference of a logit: read again by mlx, and by torch
ROUNDING = 1e-5  # of the largest logit: float32's rounding grows with the values and the model
GROUP = 64  # weights that share a scale, if the base is not quantized


def write(
    source: ExportSource,
    setup: Setup,
    folder: Path,
    bits: int | None,
    limits: Limits,
    verify: bool,
    force: bool,
    emit: Emit,
) -> WrittenFormat:
    """Write the fused model with its tokenizer, and parity.json, or gate.json if quantized.

    Raises:
        ModelError: it differs by too much from the adapter on its base.
    """
    if bits is None:
        return _dense(source, setup, folder, verify, force, emit)
    _quantized(source, folder, bits)
    found = gate.run(source, setup, folder, bits, limits, emit)
    write_json(folder / "gate.json", found)
    gate.judge(found, force)
    note = f"quantized again to {bits} bits: it is not exactly what was trained"
    return WrittenFormat((note, *_forced(found["passed"])), gate=found)


def _dense(
    source: ExportSource, setup: Setup, folder: Path, wanted: bool, force: bool, emit: Emit
) -> WrittenFormat:
    """Write float32, read it again from its files and compare it; with torch too if ``wanted``."""
    if wanted:
        torch_model.check("torch", "transformers")
    start = time.perf_counter()
    texts = verify.rows(source, setup)
    trusted, number = source.trust_remote_code, source.iteration
    with dense.in_float32(source.base, trusted) as model:
        switch = Switch(model, lambda size: True)
        switch.use(source.adapter)
        dense.save(source, model, folder)
        switch.off()
        verify.adapted(model, source)
        ours = verify.of_mlx(model)
        with dense.in_float32(Found("fused", folder), trusted) as read:
            difference = verify.compare(texts, ours, verify.of_mlx(read), number, emit)
        bound = max(BOUND, ROUNDING * difference.size)
        found = verify.entry(source, difference, bound, "mlx with the adapter", "mlx, fused", start)
        verify.judge(found, "the fused model", force)
        if wanted:
            start = time.perf_counter()
            theirs = torch_model.logits(torch_model.base(folder))
            difference = verify.compare(texts, ours, theirs, number, emit)
            other = verify.entry(
                source, difference, TORCH_BOUND, "mlx with the adapter", "torch, fused", start
            )
            verify.judge(other, "the fused model on torch", force)
            keys = ("compared", "max_abs_logit_difference", "equal_argmax", "bound",
                    "within_bound", "seconds")  # fmt: skip
            found["torch"] = {key: other[key] for key in keys}
    write_json(folder / "parity.json", found)
    return WrittenFormat(_forced(found["within_bound"]), parity=found)


def _forced(good: bool) -> tuple[str, ...]:
    return () if good else ("it was refused, and written because of --force",)


def _quantized(source: ExportSource, folder: Path, bits: int) -> None:
    """Fuse in float32, then quantize the modules that are quantized in the base, else all."""
    config = source.base_config
    kinds = (config.get(key) for key in dense.QUANTIZATION)
    had: dict[str, Any] = next((kind for kind in kinds if isinstance(kind, dict)), {})
    if had.get("mode", "affine") != "affine" or (had and "group_size" not in had):
        raise ModelError(
            f"{source.base.name} is not quantized in mlx's affine way, the only one that can be "
            "written: leave --quantize out"
        )
    common = {"group_size": int(had.get("group_size", GROUP)), "bits": bits, "mode": "affine"}
    settings: dict[str, Any] = dict(common)
    with dense.in_float32(source.base, source.trust_remote_code) as model:
        stored = {name[:-7] for name in tensors(source.base.folder) if name.endswith(".scales")}
        Switch(model, lambda size: True).use(source.adapter)
        names = {name for name, _ in tree_flatten(model.parameters())}
        nn.quantize(model, class_predicate=_chooser(common, had, stored, settings))
        model.set_dtype(_dtype(config))
        mx.eval(model.parameters())
        plain = dense.plain_config(config, names)
        plain["torch_dtype"] = config.get("torch_dtype") or config.get("dtype") or "float32"
        plain |= dict.fromkeys(dense.QUANTIZATION, settings)
        dense.write_folder(source, model, folder, plain)
    del model
    gc.collect()
    mx.clear_cache()


def _chooser(
    common: Mapping[str, Any], had: Mapping[str, Any], stored: set[str], settings: dict[str, Any]
) -> Any:
    """How to quantize each module; differences from ``common`` are entered in ``settings``.

    A module for which the base has finer settings of its own (an 8-bit embedding) keeps them.
    """

    def choose(path: str, module: nn.Module) -> Any:
        if not hasattr(module, "to_quantized") or (stored and path not in stored):
            return False
        own = had.get(path)
        chosen = dict(common)
        if isinstance(own, dict) and own.get("bits", 0) > common["bits"]:
            chosen = {"group_size": own["group_size"], "bits": own["bits"], "mode": "affine"}
        if module.weight.shape[-1] % chosen["group_size"]:
            return False
        if chosen != common:
            settings[path] = chosen
        return chosen

    return choose


def _dtype(config: Mapping[str, Any]) -> mx.Dtype:
    name = str(config.get("torch_dtype") or config.get("dtype") or "")
    return {"float16": mx.float16, "bfloat16": mx.bfloat16}.get(name, mx.float32)
