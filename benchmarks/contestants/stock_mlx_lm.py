"""mlx-lm as documented, on the folder as it is stored: no BLAS of ours, no change to the weights.

On a CPU it is so slow that it is given a size of its own (``work["slow"]``); it reports its rates
of reading prompts, decoding and training, from which the table scales. Settings: ``loop``, whether
problems go one after the other through ``stream_generate`` instead of ``batch_generate``.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import mlx.optimizers as optim
from common import Phase, main
from mlx_lm import batch_generate, stream_generate
from mlx_lm import load as load_model
from mlx_lm.tuner.callbacks import TrainingCallback
from mlx_lm.tuner.datasets import CacheDataset
from mlx_lm.tuner.trainer import TrainingArgs, train
from mlx_lm.tuner.utils import linear_to_lora_layers


def load(work: dict[str, Any]) -> dict[str, Phase]:
    model, tokens = load_model(work["model"])
    slow = work["slow"]

    def generation(phase: dict[str, Any]) -> dict[str, Any]:
        prompts = [ids[-slow["prompt_tokens"] :] for ids in phase["ids"][: slow["problems"]]]
        most = min(slow["max_tokens"], phase["max_tokens"])
        run = looped if work["settings"]["loop"] else batched
        return {"measured": {"rows": len(prompts), **run(model, tokens, prompts, most)}}

    return {"generation": generation, "training": lambda phase: training(model, phase, slow)}


def batched(model: Any, tokens: Any, prompts: list[list[int]], most: int) -> dict[str, Any]:
    stats = batch_generate(model, tokens, prompts, max_tokens=most).stats
    return {
        "prompt_tokens": stats.prompt_tokens,
        "prompt_seconds": stats.prompt_time,
        "decode_tokens": stats.generation_tokens,
        "decode_seconds": stats.generation_time,
    }


def looped(model: Any, tokens: Any, prompts: list[list[int]], most: int) -> dict[str, Any]:
    total = dict.fromkeys(
        ("prompt_tokens", "prompt_seconds", "decode_tokens", "decode_seconds"), 0.0
    )
    for prompt in prompts:
        start, first, n = time.perf_counter(), None, 0
        for response in stream_generate(model, tokens, prompt, max_tokens=most):
            first = first or time.perf_counter()
            n = response.generation_tokens
        end = time.perf_counter()
        total["prompt_tokens"] += len(prompt)
        total["prompt_seconds"] += (first or end) - start
        total["decode_tokens"] += n - 1  # the first comes with the prompt
        total["decode_seconds"] += end - (first or end)
    return total


class Rows:
    """Examples for mlx-lm's trainer, as it takes them: (tokens, where the completion begins)."""

    def __init__(self, rows: list[dict[str, Any]], most: int) -> None:
        self.rows = [
            (r["ids"][-most:], max(0, r["start"] - max(0, len(r["ids"]) - most))) for r in rows
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[list[int], int]:
        return self.rows[i]

    def process(self, row: tuple[list[int], int]) -> tuple[list[int], int]:
        return row


class Watch(TrainingCallback):
    """When each step was reported, and its loss."""

    def __init__(self) -> None:
        self.times = [time.perf_counter()]
        self.losses: list[float] = []

    def on_train_loss_report(self, train_info: dict[str, Any]) -> None:
        self.times.append(time.perf_counter())
        self.losses.append(train_info["train_loss"])


def training(model: Any, phase: dict[str, Any], slow: dict[str, Any]) -> dict[str, Any]:
    """Steps of ``slow["rows"]`` rows; the first, which compiles, is not counted."""
    lora, steps = phase["lora"], slow["steps"]
    size = min(slow["rows"], len(phase["rows"]) // steps)
    rows = Rows(phase["rows"][: size * steps], slow["row_tokens"])
    model.freeze()
    linear_to_lora_layers(
        model, len(model.layers), {k: lora[k] for k in ("rank", "scale", "dropout")}
    )
    optimizer = optim.AdamW(learning_rate=lora["learning_rate"], weight_decay=lora["weight_decay"])
    watch = Watch()
    with tempfile.TemporaryDirectory() as out:
        args = TrainingArgs(
            batch_size=size, iters=steps, steps_per_report=1, steps_per_eval=1 << 30,
            steps_per_save=1 << 30, adapter_file=str(Path(out) / "adapters.safetensors"),
        )  # fmt: skip
        train(model, optimizer, CacheDataset(rows), None, args, training_callback=watch)
    mean = sum(len(ids) for ids, _ in rows.rows) / len(rows)
    return {
        "measured": {
            "rows": size * (steps - 1),
            "tokens": mean * size * (steps - 1),
            "seconds": watch.times[-1] - watch.times[1],
        },
        "losses": watch.losses,
    }


if __name__ == "__main__":
    main(load, ["mlx", "mlx-cpu", "mlx-lm", "numpy"])
