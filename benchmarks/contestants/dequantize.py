"""A quantized MLX folder -> the same values in float32, as a folder that transformers reads too.

dequantize.py MODEL OUT
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.utils import dequantize_model, load_model


def main(folder: Path, out: Path) -> None:
    model, config = load_model(folder, lazy=True)
    model.set_dtype(mx.float32)  # the scales first, so that nothing is rounded
    dequantize_model(model)
    out.mkdir(parents=True, exist_ok=True)
    weights = dict(tree_flatten(model.parameters()))
    mx.save_safetensors(str(out / "model.safetensors"), weights, {"format": "pt"})
    for name in ("quantization", "quantization_config"):
        config.pop(name, None)
    config["torch_dtype"] = "float32"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(folder / name, out / name)
    (out / "config.json").write_text(json.dumps(config, indent=1), "utf-8")  # last: now it is whole


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
