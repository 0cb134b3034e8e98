"""Say when an iteration takes too few optimizer steps to learn anything."""

from __future__ import annotations

from collections.abc import Sequence

from star_mlx.engine import rate
from star_mlx.measure.advice import FEW_STEPS
from star_mlx.settings import Recipe, Train
from star_mlx.star import amount
from star_mlx.types import Amount


def warning(train: Train, long: Amount, rows: int, *, which: str) -> str | None:
    """What is wrong with a training of ``rows`` rows and what to change; None if it is long enough.

    A number of steps that was given is only compared with the warm-up.

    Args:
        which: the training, such as ``"iteration 1 takes"``.
    """
    steps = long.steps_for(rows, train.batch_size)
    by_rows = long.steps is None
    more = "a smaller train.batch_size or more epochs (star.schedule.base)"
    taken = f"{which} {steps} step{'s' * (steps != 1)}"
    if by_rows:
        taken += f" of {train.batch_size} examples, from {rows}"
    if rate.warmup_steps(train, steps) >= max(steps, 1):
        peak = rate.peak(train, steps)
        reached = (
            f"only reaches {peak:g} of {train.learning_rate:g}"
            if peak < train.learning_rate
            else f"reaches {train.learning_rate:g} in the last one only"
        )
        below = f"train.warmup={steps // 10}"
        give = f"{below}, or more steps (star.schedule)"
        if by_rows:
            give = f"{more}, and {below}" if steps < FEW_STEPS else f"{below}, or {more}"
        return (
            f"{taken}, within the warm-up (train.warmup={train.warmup}): the learning rate "
            f"{reached}, and little is learned. Give {give}"
        )
    if by_rows and steps < FEW_STEPS:
        return f"{taken}: little is learned in so few. Give {more}, or more problems"
    return None


def at_start(recipe: Recipe, problems: int, iterations: Sequence[int]) -> str | None:
    """The warning of the first of these iterations that is too short even if every problem is
    kept; it says how many there are. None if all are long enough."""
    most = problems if recipe.star.problems is None else min(problems, recipe.star.problems)
    most = (most + sum(recipe.augment.most(most).values())) * recipe.generate.samples
    found = {}
    for n in iterations:
        long = amount(recipe.star.schedule, n)
        if recipe.star.carry_over and long.steps is None and n > recipe.star.start_iteration:
            break  # earlier rows are added
        even = "" if long.steps is not None else "even if every problem is kept, "
        if text := warning(recipe.train, long, most, which=f"{even}iteration {n} takes"):
            found[n] = text
    if not found:
        return None
    first, *rest = found
    also = f". The same goes for {len(rest)} later iteration{'s' * (len(rest) > 1)}" if rest else ""
    return found[first] + also
