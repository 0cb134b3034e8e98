"""Tiny random models of every architecture that is written as GGUF, each with what it may have."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from tests import tiny_random

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
LONG = {"type": "longrope", "short_factor": [1.0, 1.5, 2.0, 4.0]}
LONG["long_factor"] = LONG["short_factor"]  # mlx-lm has one set for both
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip
GEMMA = {
    "head_dim": 16, "sliding_window": 24, "num_hidden_layers": 7, "query_pre_attn_scalar": 16,
    "rope_theta": 1e6,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "llama with biases": {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
    "llama with yarn": {"model_type": "llama", "rope_scaling": YARN},
    "llama 3": {
        "model_type": "llama", "rope_scaling": LLAMA3, "tie_word_embeddings": False, "head_dim": 16,
    },
    "llama, scaled": {"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 4.0}},
    "qwen2": {"model_type": "qwen2", "tie_word_embeddings": False},
    "qwen2 with yarn": {"model_type": "qwen2", "rope_scaling": YARN},
    "qwen3": {"model_type": "qwen3", "head_dim": 16},
    "gemma3": {"model_type": "gemma3_text", **GEMMA},
    "gemma3, scaled": {
        "model_type": "gemma3_text", **GEMMA, "rope_scaling": {"type": "linear", "factor": 8.0},
    },
    "phi3": {"model_type": "phi3", "tie_word_embeddings": False},
    "phi3, partly rotated": {"model_type": "phi3", "partial_rotary_factor": 0.5},
    "phi3 with longrope": {
        "model_type": "phi3", "rope_scaling": LONG, "original_max_position_embeddings": 64,
    },
    "smollm3": {"model_type": "smollm3", "num_hidden_layers": 5},
}  # fmt: skip


def write(folder: Path, name: str) -> Path:
    """Write a model whose weights are all random, vectors too, and not quantized."""
    tiny_random.write(folder)  # for its tokenizer
    config = json.loads((folder / "config.json").read_text()) | FAMILIES[name]
    import mlx.core as mx
    from mlx.utils import tree_map_with_path

    module = importlib.import_module(f"mlx_lm.models.{config['model_type']}")
    model = module.Model(module.ModelArgs.from_dict(config))
    if config["tie_word_embeddings"] and "lm_head" in model:  # gemma3 drops it while it is loaded
        model.pop("lm_head")
    tiny_random.save(folder, model, config)
    keys = iter(mx.random.split(mx.random.key(2), 1000))

    def drawn(path: str, array: mx.array) -> mx.array:
        if array.ndim > 1:
            return array
        usual = 1.0 if path.endswith("norm.weight") and "gemma3" not in config["model_type"] else 0
        return usual + 0.3 * mx.random.normal(array.shape, key=next(keys))

    weights = tree_map_with_path(drawn, model.parameters())
    from mlx.utils import tree_flatten

    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(weights)))
    return folder
