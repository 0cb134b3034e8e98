"""transformers, with PEFT for training, on the same weights in float32 or bfloat16.

Settings: ``dtype`` (float32, bfloat16), ``batch_size``, ``threads``, and ``prefix``: whether the
shared few-shot prompt is read once and its cache repeated over the batch (documented under "Cache
strategies"), or every prompt is given whole, as most code does.
"""

from __future__ import annotations

import copy
import random
import statistics
import time
from itertools import pairwise
from typing import Any

import torch
from common import Ends, Phase, main, tokenizer
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, DynamicCache, StoppingCriteria


class RowEnds(StoppingCriteria):
    """Ends each row where its completion ends; remembers when each token was there."""

    def __init__(self, ends: Ends, width: int, rows: int) -> None:
        self.ends, self.width = ends, width
        self.done = [False] * rows
        self.times: list[float] = []

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        self.times.append(time.perf_counter())
        tails = input_ids[:, max(self.width, input_ids.shape[1] - 32) :].tolist()
        self.done = [
            before or self.ends.ended(ids) for before, ids in zip(self.done, tails, strict=True)
        ]
        return torch.tensor(self.done)


def load(work: dict[str, Any]) -> dict[str, Phase]:
    settings = work["settings"]
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(0)
    dtype = getattr(torch, settings["dtype"])
    model = AutoModelForCausalLM.from_pretrained(work["dequantized"], dtype=dtype)
    model.eval()
    return {
        "generation": lambda phase: generation(model, work, phase),
        "training": lambda phase: training(model, work, phase),
    }


@torch.inference_mode()
def generation(model: Any, work: dict[str, Any], phase: dict[str, Any]) -> dict[str, Any]:
    """Greedy completions in batches of like length."""
    settings, ids, eos = work["settings"], phase["ids"], work["eos"]
    ends = Ends(tokenizer(work), phase["stop"], eos)
    shared = phase["shared"] if settings["prefix"] else 0
    begin = time.perf_counter()
    cache = None
    if shared:
        cache = DynamicCache(config=model.config)
        model(torch.tensor([ids[0][:shared]]), past_key_values=cache, logits_to_keep=1)
    reading, decoding = time.perf_counter() - begin, 0.0
    steps: list[float] = []
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    found: list[list[int]] = [[] for _ in ids]
    for at in range(0, len(order), settings["batch_size"]):
        rows = order[at : at + settings["batch_size"]]
        width = max(len(ids[i]) for i in rows)
        pads = [width - len(ids[i]) for i in rows]
        # the padding stands between the shared tokens, whose cache is there, and the rest
        given = [
            ids[i][:shared] + [eos] * p + ids[i][shared:] for i, p in zip(rows, pads, strict=True)
        ]
        mask = [[1] * shared + [0] * p + [1] * (width - shared - p) for p in pads]
        extra = {}
        if cache is not None:
            extra["past_key_values"] = repeated(cache, len(rows))
        watch = RowEnds(ends, width, len(rows))
        start = time.perf_counter()
        out = model.generate(
            torch.tensor(given),
            attention_mask=torch.tensor(mask),
            max_new_tokens=phase["max_tokens"],
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            eos_token_id=eos,
            pad_token_id=eos,
            stopping_criteria=[watch],
            **extra,
        )
        end = time.perf_counter()
        reading += watch.times[0] - start
        decoding += end - watch.times[0]
        steps += [b - a for a, b in pairwise(watch.times)]
        for row, i in enumerate(rows):
            found[i] = out[row, width:].tolist()
    return {
        "completions": found,
        "prompt_seconds": reading,
        "decode_seconds": decoding,
        "decode_steps": len(steps),
        "step_seconds": statistics.median(steps) if steps else 0.0,
    }


def repeated(cache: DynamicCache, rows: int) -> DynamicCache:
    """A copy of a one-row cache for so many rows."""
    wide = copy.deepcopy(cache)
    wide.batch_repeat_interleave(rows)
    return wide


def training(model: Any, work: dict[str, Any], phase: dict[str, Any]) -> dict[str, Any]:
    """One epoch of LoRA with the prompts masked and each batch padded to its longest row."""
    lora, rows, eos = phase["lora"], phase["rows"], work["eos"]
    r = lora["rank"]
    model = get_peft_model(
        model,
        LoraConfig(
            r=r, lora_alpha=lora["scale"] * r, lora_dropout=lora["dropout"],
            target_modules="all-linear", bias="none", task_type="CAUSAL_LM",
        ),
    )  # fmt: skip
    model.train()
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        weights, lr=lora["learning_rate"], weight_decay=lora["weight_decay"]
    )
    order = list(range(len(rows)))
    random.Random(0).shuffle(order)
    size, warmup = lora["batch_size"], lora["warmup"]
    losses = []
    for step, at in enumerate(range(0, len(order), size)):
        batch = [rows[i] for i in order[at : at + size]]
        width = max(len(row["ids"]) for row in batch)
        pads = [width - len(row["ids"]) for row in batch]
        pairs = list(zip(batch, pads, strict=True))
        ids = torch.tensor([row["ids"] + [eos] * p for row, p in pairs])
        mask = torch.tensor([[1] * len(row["ids"]) + [0] * p for row, p in pairs])
        labels = torch.tensor(
            [[-100] * row["start"] + row["ids"][row["start"] :] + [-100] * p for row, p in pairs]
        )
        for group in optimizer.param_groups:
            group["lr"] = lora["learning_rate"] * min(1.0, (step + 1) / max(1, warmup))
        loss = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, lora["grad_clip"])
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss))
    return {"tokens": sum(len(row["ids"]) for row in rows), "losses": losses}


if __name__ == "__main__":
    main(load, ["torch", "transformers", "peft", "tokenizers"])
