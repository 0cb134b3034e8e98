"""Train a fresh LoRA adapter on a frozen base: the training loop."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx.utils import tree_map

from star_mlx.engine import adapter, vector
from star_mlx.engine.batches import CPU_BUDGET, GPU_BUDGET, TrainingRow, epochs, micro
from star_mlx.engine.device import on_cpu
from star_mlx.engine.form import Form
from star_mlx.engine.lanes import Lanes
from star_mlx.engine.memory import Memory
from star_mlx.engine.rate import learning_rate
from star_mlx.errors import NothingKept
from star_mlx.settings import Train
from star_mlx.types import Amount, Step, Trained

SHARE = 128  # tokens that justify a lane
WIDTHS = 32  # on a GPU, widths are multiples of this, so that its kernels meet few shapes


def train(
    model: nn.Module,
    form: Form,
    lanes: Lanes,
    memory: Memory,
    rows: Sequence[TrainingRow],
    settings: Train,
    amount: Amount,
    *,
    seed: int,
    out: Path,
    too_long: tuple[str, ...],
    progress: Callable[[Step], None],
) -> Trained:
    """Train on ``rows`` and write the adapter to ``out``; the base is unchanged.

    The loss of a batch is the mean over its supervised tokens; its gradient is summed over parts
    of similar length. AdamW with bias correction; the gradient's norm is clipped.

    Raises:
        NothingKept: there is no row.
    """
    if not rows:
        why = f": all {len(too_long)} are longer than train.max_length" if too_long else ""
        raise NothingKept(f"there is no example to train on{why}")
    start = time.perf_counter()
    steps = amount.steps_for(len(rows), settings.batch_size)
    lengths = [len(row.tokens) for row in rows]
    widths = [padded_width(length) for length in lengths]
    budget = CPU_BUDGET if on_cpu() else GPU_BUDGET
    supervised = max(1 - row.start / len(row.tokens) for row in rows)
    budget = memory.training(budget, max(widths), lanes.width, settings, supervised)
    losses: list[float] = []
    tokens = seen = padded_tokens = 0
    width = lanes.width
    if settings.dropout > 0:  # nn.Dropout draws from the random state of its thread
        mx.random.seed(seed % (1 << 64))
        width = 1
    with adapter.fresh(model, settings, seed):
        optimizer = optim.AdamW(0.0, weight_decay=settings.weight_decay, bias_correction=True)
        optimizer.init(model.trainable_parameters())
        mx.eval(
            model.trainable_parameters(), optimizer.state
        )  # evaluated, as the lanes only read them
        order = epochs(len(rows), settings.batch_size, seed)
        for step in range(steps):
            batch = next(order)
            optimizer.learning_rate = rate = learning_rate(settings, step, steps)
            batch_tokens = sum(lengths[i] for i in batch)
            share = budget  # on a GPU a batch is one part, if it fits
            if on_cpu():
                share = min(budget, max(SHARE, math.ceil(batch_tokens / width)))
            parts = [[rows[i] for i in part] for part in micro(widths, batch, share)]
            loss, norm = _step(model, form, lanes, width, optimizer, parts, settings.grad_clip)
            losses.append(loss)
            tokens += batch_tokens
            padded_tokens += sum(
                len(p) * padded_width(max(len(row.tokens) for row in p)) for p in parts
            )
            seen += len(batch)
            progress(Step(step + 1, steps, loss, norm, rate, tokens))
        adapter.save(model, settings, out)
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
        padding=1 - tokens / padded_tokens if padded_tokens else 0.0,
    )


def padded_width(length: int) -> int:
    """The tokens of a row of ``length`` tokens and its padding, if it is the longest of a batch."""
    return length if on_cpu() else math.ceil((length - 1) / WIDTHS) * WIDTHS + 1


def padded(part: Sequence[TrainingRow]) -> tuple[mx.array, mx.array, mx.array]:
    """Rows as arrays: inputs (B, T), the places in B*T that predict supervised tokens, and those.

    Rows are padded at the end, which causal attention never sees from a real token.
    """
    width = padded_width(max(len(row.tokens) for row in part)) - 1
    inputs = [list(row.tokens[:-1]) + [0] * (width + 1 - len(row.tokens)) for row in part]
    where = [
        b * width + t - 1 for b, row in enumerate(part) for t in range(row.start, len(row.tokens))
    ]
    targets = [token for row in part for token in row.tokens[row.start :]]
    return mx.array(inputs), mx.array(where), mx.array(targets)


def loss_sum(
    model: nn.Module, form: Form, inputs: mx.array, where: mx.array, targets: mx.array
) -> mx.array:
    """Summed negative log-likelihood (nats) of the supervised tokens, a scalar."""
    logits = form.logits(model, inputs, where).astype(mx.float32)
    if vector.wanted():
        return mx.sum(vector.cross_entropy(logits, targets))
    loss: mx.array = nn.losses.cross_entropy(logits, targets, reduction="sum")
    return loss


def _step(
    model: nn.Module,
    form: Form,
    lanes: Lanes,
    width: int,
    optimizer: optim.Optimizer,
    parts: Sequence[Sequence[TrainingRow]],
    clip: float,
) -> tuple[float, float]:
    """One optimizer step over the parts of a batch: its mean loss, and the norm of its gradient.

    At most ``width`` lanes take the parts in turn, and their sums are added in the order of the
    lanes, so that the result does not depend on which one finishes first.
    """
    value_and_grad = nn.value_and_grad(model, loss_sum)
    parameters = model.trainable_parameters()
    count = sum(len(row.tokens) - row.start for part in parts for row in part)
    n = min(width, len(parts))
    sums: list[Any] = [None] * n
    building = threading.Lock()  # value_and_grad puts its own arrays into the model while it builds

    def job(lane: int) -> Callable[[Callable[[None], None]], None]:
        def run(report: Callable[[None], None]) -> None:
            for part in parts[lane::n]:
                with building:
                    adapter.new_masks(model)
                    made = value_and_grad(model, form, *padded(part))
                    model.update(parameters)
                total = made if sums[lane] is None else tree_map(mx.add, sums[lane], made)
                mx.eval(total)
                sums[lane] = total
                report(None)

        return run

    lanes.run([job(lane) for lane in range(n)], lambda _: None)
    total, gradient = functools.reduce(lambda a, b: tree_map(mx.add, a, b), sums)
    gradient = tree_map(lambda g: g / count, gradient)
    gradient, norm = optim.clip_grad_norm(gradient, clip if clip > 0 else math.inf)
    optimizer.update(model, gradient)
    mx.eval(model.trainable_parameters(), optimizer.state, norm)
    return float(total.item()) / count, float(norm.item())
