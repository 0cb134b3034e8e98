"""Train an iteration's adapter as a recipe says, and tell of its steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from star_mlx.events import Emit, Notice, PhaseStarted, Progress
from star_mlx.run import few_steps
from star_mlx.run.completing import seed
from star_mlx.settings import Recipe
from star_mlx.types import Amount, Engine, Example, Step, Trained

EXPLODED = 5.0  # nats a token above the first step's loss: tokens are 150 times less likely


def fit(
    engine: Engine,
    recipe: Recipe,
    examples: Sequence[Example],
    amount: Amount,
    iteration: int,
    *,
    out: Path,
    emit: Emit,
    warned: bool = False,
) -> tuple[Trained, list[Step]]:
    """Train an iteration's adapter as the recipe says, write it to the folder ``out``, and return
    it with its optimizer steps. Unless ``warned``, too few of them are a warning."""
    lora = recipe.train
    short = few_steps.warning(lora, amount, len(examples), which=f"iteration {iteration} takes")
    if short and not warned:
        emit(Notice("warning", short))
    emit(PhaseStarted(iteration, "train", amount.steps_for(len(examples), lora.batch_size)))
    start = time.perf_counter()

    taken: list[Step] = []

    def progress(at: Step) -> None:
        taken.append(at)
        if at.loss > taken[0].loss + EXPLODED >= taken[-2].loss:
            emit(Notice("warning", _exploded(iteration, taken[0], at)))
        seconds = at.seconds or time.perf_counter() - start
        emit(
            Progress(
                iteration,
                "train",
                at.step,
                at.steps,
                at.tokens,
                seconds,
                at.loss,
                at.gradient_norm,
                engine.memory(),
            )
        )

    lot = seed(recipe.seed, iteration, "train")
    trained = engine.train(examples, lora, amount, seed=lot, out=out, progress=progress)
    if trained.too_long:
        text = (
            f"iteration {iteration}: {len(trained.too_long)} of {len(examples)} examples were "
            f"left out: they are longer than train.max_length={lora.max_length} tokens"
        )
        emit(Notice("warning", text))
    return trained, taken


def _exploded(iteration: int, first: Step, at: Step) -> str:
    return (
        f"iteration {iteration}: the loss rose from {first.loss:.2f} to {at.loss:.2f} nats a token "
        f"in step {at.step} of {at.steps}: what is learned so does harm. Give a lower "
        "train.learning_rate, or a longer train.warmup"
    )
