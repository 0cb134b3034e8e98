"""The learning rate of each optimizer step. Pure: no mlx."""

from __future__ import annotations

import math

from star_mlx.settings import Train


def warmup_steps(settings: Train, steps: int) -> int:
    """The steps of the warm-up in a training of ``steps`` steps; a share of them is rounded up."""
    if isinstance(settings.warmup, int):
        return settings.warmup
    return math.ceil(round(settings.warmup * steps, 6))


def learning_rate(settings: Train, step: int, steps: int) -> float:
    """The learning rate of a step (from 0): linear warm-up from above 0, then decay towards 0."""
    warmup = warmup_steps(settings, steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    factor = {
        "none": 1.0,
        "linear": 1.0 - done,
        "cosine": 0.5 * (1.0 + math.cos(math.pi * done)),
    }[settings.decay]
    return settings.learning_rate * factor


def peak(settings: Train, steps: int) -> float:
    """The highest learning rate that a training of ``steps`` steps reaches."""
    return learning_rate(settings, min(warmup_steps(settings, steps), steps - 1), steps)
