"""Train a fresh LoRA adapter on a frozen base: the training loop."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim

from star_mlx.engine import adapter, optimizer_step
from star_mlx.engine.batches import CPU_BUDGET, GPU_BUDGET, TrainingRow, epochs, micro
from star_mlx.engine.device import on_cpu
from star_mlx.engine.form import Form
from star_mlx.engine.lanes import Lanes
from star_mlx.engine.loss import padded_width, supervised_share
from star_mlx.engine.memory import Memory
from star_mlx.engine.ranks import Ranks
from star_mlx.engine.rate import learning_rate
from star_mlx.engine.training_state import TrainingState, identity, of_first
from star_mlx.errors import NothingKept, TrainingDiverged
from star_mlx.settings import Train
from star_mlx.types import Amount, Step, Trained

SHARE = 128  # tokens that justify a lane


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
    ranks: Ranks | None = None,
) -> Trained:
    """Train on ``rows`` and write the adapter to ``out``; the base is unchanged. If the same
    training was stopped and has left its state in ``out``, it goes on from there.

    The loss of a batch is the mean over its supervised tokens; its gradient is summed over parts
    of similar length. AdamW with bias correction; the gradient's norm is clipped.

    With ``ranks`` each takes some of the parts, and all have the same adapter after every step.
    They call this with the same rows, settings, amount and seed. The state is that of rank 0; it
    does not depend on the number of ranks.

    Raises:
        NothingKept: there is no row.
        TrainingDiverged: the loss or the gradient is no number any more; nothing is written.
    """
    if not rows:
        why = f": all {len(too_long)} are longer than train.max_length" if too_long else ""
        raise NothingKept(f"there is no example to train on{why}")
    start = time.perf_counter()
    steps = amount.steps_for(len(rows), settings.batch_size)
    lengths = [len(row.tokens) for row in rows]
    widths = [padded_width(length) for length in lengths]
    budget = CPU_BUDGET if on_cpu() else GPU_BUDGET
    budget = memory.training(budget, max(widths), lanes.width, settings, supervised_share(rows))
    tokens = seen = padded_tokens = 0
    # nn.Dropout draws from the random state of its thread
    width = 1 if settings.dropout > 0 else lanes.width
    lane_count, number = width, 0
    if ranks:  # they differ, but must divide a batch alike
        budget, lane_count, number = ranks.least(budget), ranks.sum(width), ranks.rank
    with adapter.fresh(model, settings, seed):
        optimizer = optim.AdamW(0.0, weight_decay=settings.weight_decay, bias_correction=True)
        optimizer.init(model.trainable_parameters())
        mx.eval(
            model.trainable_parameters(), optimizer.state
        )  # evaluated, as the lanes only read them
        every = None if number else settings.save_every
        state = TrainingState(out, every, identity(rows, settings, steps, seed))
        taken = state.restore(model, optimizer)
        if ranks:
            taken = of_first(ranks, taken, model, optimizer)
        before = taken[-1].seconds if taken else 0.0
        take = optimizer_step.of(model, form, optimizer, settings.grad_clip, lanes, width, ranks)
        order = epochs(len(rows), settings.batch_size, seed)
        for step in range(steps):
            batch = next(order)
            optimizer.learning_rate = rate = learning_rate(settings, step, steps)
            batch_tokens = sum(lengths[i] for i in batch)
            share = budget  # on a GPU a batch is one part, if it fits
            if on_cpu():
                share = min(budget, max(SHARE, math.ceil(batch_tokens / lane_count)))
            elif ranks:  # or one for each rank
                share = min(budget, math.ceil(sum(widths[i] for i in batch) / ranks.size))
            parts = [[rows[i] for i in part] for part in micro(widths, batch, share)]
            tokens += batch_tokens
            if step == len(taken):
                if settings.dropout > 0:
                    lot = f"{seed}/{step}/{number}" if number else f"{seed}/{step}"
                    mx.random.seed(random.Random(lot).getrandbits(64))
                loss, norm = take(parts)
                if not (math.isfinite(loss) and math.isfinite(norm)):
                    raise TrainingDiverged(_diverged(settings, step + 1, steps, loss, norm))
                spent = before + time.perf_counter() - start
                taken.append(Step(step + 1, steps, loss, norm, rate, tokens, spent))
                state.save(model, optimizer, taken)
            padded_tokens += sum(
                len(p) * padded_width(max(len(row.tokens) for row in p)) for p in parts
            )
            seen += len(batch)
            progress(taken[step])
        adapter.save(model, settings, out)
        state.remove()
    mx.clear_cache()
    losses = [step.loss for step in taken]
    tenth = math.ceil(steps / 10)
    return Trained(
        adapter=out,
        steps=steps,
        epochs=seen / len(rows),
        tokens=tokens,
        first_loss=sum(losses[:tenth]) / len(losses[:tenth]) if losses else math.nan,
        last_loss=sum(losses[-tenth:]) / len(losses[-tenth:]) if losses else math.nan,
        seconds=before + time.perf_counter() - start,
        too_long=too_long,
        padding=1 - tokens / padded_tokens if padded_tokens else 0.0,
    )


def _diverged(settings: Train, step: int, steps: int, loss: float, norm: float) -> str:
    clip = "" if settings.grad_clip > 0 else ", train.grad_clip=1"
    return (
        f"the training diverged in step {step} of {steps}: the loss is {loss:g}, and the norm of "
        f"its gradient {norm:g}. Give a lower train.learning_rate than "
        f"{settings.learning_rate:g}{clip} or a longer train.warmup than {settings.warmup}"
    )
