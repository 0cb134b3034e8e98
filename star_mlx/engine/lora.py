"""Training a fresh LoRA adapter on a frozen base: the whole loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx.utils import tree_map

from star_mlx.engine import adapter
from star_mlx.engine.batches import Row, epochs, micro
from star_mlx.types import Amount, Lora, NothingKept, Trained

CPU_BUDGET, GPU_BUDGET = 512, 8192  # padded tokens of one forward and backward pass


def train(
    model: nn.Module,
    rows: Sequence[Row],
    lora: Lora,
    amount: Amount,
    *,
    seed: int,
    out: Path,
    too_long: tuple[str, ...],
    progress: Callable[[int, int, float, int], None],
) -> Trained:
    """Train on ``rows`` and write the adapter to ``out``; the base is left as it was.

    The loss of a batch is the mean over its supervised tokens; its gradient is summed over parts
    of like length. AdamW with bias correction; the gradient's norm is clipped.

    Raises:
        NothingKept: there is no row.
    """
    if not rows:
        why = f": all {len(too_long)} are longer than train.max_length" if too_long else ""
        raise NothingKept(f"there is no example to train on{why}")
    start = time.perf_counter()
    steps = amount.steps_for(len(rows), lora.batch_size)
    lengths = [len(row.tokens) for row in rows]
    budget = CPU_BUDGET if mx.default_device().type == mx.DeviceType.cpu else GPU_BUDGET
    losses: list[float] = []
    tokens = seen = 0
    if lora.dropout > 0:
        mx.random.seed(seed % (1 << 64))  # nn.Dropout draws from the global state alone
    with adapter.fresh(model, lora, seed):
        optimizer = optim.AdamW(0.0, weight_decay=lora.weight_decay, bias_correction=True)
        optimizer.init(model.trainable_parameters())
        order = epochs(len(rows), lora.batch_size, seed)
        for step in range(steps):
            batch = next(order)
            optimizer.learning_rate = learning_rate(lora, step, steps)
            parts = [[rows[i] for i in part] for part in micro(lengths, batch, budget)]
            losses.append(_step(model, optimizer, parts, lora.grad_clip))
            tokens += sum(lengths[i] for i in batch)
            seen += len(batch)
            progress(step + 1, steps, losses[-1], tokens)
        adapter.save(model, lora, out)
    mx.clear_cache()
    tenth = math.ceil(steps / 10)
    return Trained(
        adapter=out,
        steps=steps,
        epochs=seen / len(rows),
        tokens=tokens,
        first_loss=sum(losses[:tenth]) / len(losses[:tenth]) if losses else math.nan,
        last_loss=sum(losses[-tenth:]) / len(losses[-tenth:]) if losses else math.nan,
        seconds=time.perf_counter() - start,
        too_long=too_long,
    )


def learning_rate(lora: Lora, step: int, steps: int) -> float:
    """The rate of a step (from 0): linear warm-up from above 0, then the decay towards 0."""
    if step < lora.warmup:
        return lora.learning_rate * (step + 1) / lora.warmup
    done = (step - lora.warmup) / max(1, steps - lora.warmup)
    factor = {
        "none": 1.0,
        "linear": 1.0 - done,
        "cosine": 0.5 * (1.0 + math.cos(math.pi * done)),
    }[lora.decay]
    return lora.learning_rate * factor


def padded(part: Sequence[Row]) -> tuple[mx.array, mx.array, mx.array]:
    """Rows as arrays: inputs (B, T), where in B*T the supervised tokens are predicted, and those.

    Rows are padded at the end, which causal attention never looks at from a real token.
    """
    width = max(len(row.tokens) for row in part) - 1
    inputs = [list(row.tokens[:-1]) + [0] * (width + 1 - len(row.tokens)) for row in part]
    where = [
        b * width + t - 1 for b, row in enumerate(part) for t in range(row.start, len(row.tokens))
    ]
    targets = [token for row in part for token in row.tokens[row.start :]]
    return mx.array(inputs), mx.array(where), mx.array(targets)


def loss_sum(model: nn.Module, inputs: mx.array, where: mx.array, targets: mx.array) -> mx.array:
    """Summed negative log-likelihood (nats) of the supervised tokens, a scalar."""
    logits = logits_at(model, inputs, where).astype(mx.float32)
    loss: mx.array = nn.losses.cross_entropy(logits, targets, reduction="sum")
    return loss


def logits_at(model: nn.Module, inputs: mx.array, where: mx.array) -> mx.array:
    """Logits (N, V) at N places of the flattened (B, T) inputs.

    The head is computed at those places only, where the architecture is known to allow it.
    """
    if type(model).__module__ not in PLAIN:
        logits = model(inputs)
        return mx.take(logits.reshape(-1, logits.shape[-1]), where, axis=0)
    hidden = model.model(inputs)
    hidden = mx.take(hidden.reshape(-1, hidden.shape[-1]), where, axis=0)
    head: Any = model.lm_head if "lm_head" in model else model.model.embed_tokens.as_linear
    picked: mx.array = head(hidden)
    return picked


# Architectures whose model is exactly head(model(inputs)): no scaling or capping of logits.
PLAIN = frozenset(f"mlx_lm.models.{name}" for name in ("llama", "qwen2", "qwen3", "phi3", "olmo2"))


def _step(
    model: nn.Module, optimizer: optim.Optimizer, parts: Sequence[Sequence[Row]], clip: float
) -> float:
    """One optimizer step over the parts of a batch; returns its mean loss."""
    value_and_grad = nn.value_and_grad(model, loss_sum)
    count = sum(len(row.tokens) - row.start for part in parts for row in part)
    total, gradient = None, None
    for part in parts:
        loss, grad = value_and_grad(model, *padded(part))
        total = loss if total is None else total + loss
        gradient = grad if gradient is None else tree_map(mx.add, gradient, grad)
        mx.eval(total, gradient)
    gradient = tree_map(lambda g: g / count, gradient)
    if clip > 0:
        gradient, _ = optim.clip_grad_norm(gradient, clip)
    optimizer.update(model, gradient)
    mx.eval(model.trainable_parameters(), optimizer.state)
    assert total is not None
    return float(total.item()) / count
