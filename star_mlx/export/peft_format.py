"""Write the adapter in the format of PEFT (Hugging Face), for torch."""

from __future__ import annotations

from pathlib import Path

from star_mlx.engine.peft import CONFIG, WEIGHTS, config, opened, save, tensors
from star_mlx.engine.resolve import HUB_ID
from star_mlx.events import Emit
from star_mlx.export.mlx_format import copy_tokenizer, write_json
from star_mlx.export.prompt import Setup
from star_mlx.export.source import ExportSource, WrittenFormat

BOUND = 5e-3  # largest difference of a logit


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
    adapter, modules = opened(source.adapter, source.base)
    if verify:
        from star_mlx.export import torch_model

        torch_model.check("torch", "transformers", "peft")
    arrays = {key: v for m in adapter.modules for key, v in tensors(m).items()}
    save(folder / WEIGHTS, arrays)
    write_json(folder / CONFIG, config(source.base, adapter, modules))
    copy_tokenizer(source, folder)
    notes = _notes(source, verify)
    if not verify:
        return WrittenFormat(notes)
    from star_mlx.export import verify as parity

    found = parity.peft(source, setup, folder, set(arrays), BOUND, emit)
    write_json(folder / "parity.json", found)
    parity.judge(found, "the adapter in PEFT", force)
    return WrittenFormat(notes, found)


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
