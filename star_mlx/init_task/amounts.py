"""How long and how fast to train: values for a new recipe, by the model's size and the rows.

The defaults of ``settings.Train`` are the reference's, for ten thousand problems and a large model.
With a thousand problems they make a dozen steps, all within the warm-up, which teach nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from star_mlx.engine import resolve
from star_mlx.engine.shape import Shape, read_config
from star_mlx.errors import ModelError
from star_mlx.formatting import count

STEPS = 100  # wanted of an iteration; halved or doubled rows leave it long enough
FEWEST = 40  # steps for which small data is read more often
MOST_EPOCHS = 10
_SIZE = re.compile(r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Amounts:
    """Training values. ``kept`` is the number of rows that they reckon with, ``steps`` the steps
    of the first iteration that follow from it."""

    epochs: float
    batch_size: int
    learning_rate: float
    warmup: int
    rank: int
    kept: int
    steps: int


def amounts(problems: int, parameters: int | None) -> Amounts:
    """Values for a number of problems per iteration and a model's size (None: unknown).

    Half of the problems are expected to be kept: those solved, and the others that are solved with
    the hint.

    >>> amounts(800, 500_000_000)
    Amounts(epochs=2.0, batch_size=8, learning_rate=0.0002, warmup=10, rank=16, kept=400, steps=100)
    """
    kept = max(1, problems // 2)
    epochs = 2.0
    batch = next((b for b in (16, 8) if epochs * (kept // b) >= STEPS), 4)
    per_epoch = math.ceil(kept / batch)
    if epochs * per_epoch < FEWEST:
        epochs = float(min(MOST_EPOCHS, math.ceil(FEWEST / per_epoch)))
    steps = int(epochs * per_epoch)
    small = parameters is not None and parameters < 20_000_000
    large = parameters is not None and parameters > 3_000_000_000
    return Amounts(
        epochs=epochs,
        batch_size=batch,
        learning_rate=5e-4 if small else 1e-4 if large else 2e-4,
        warmup=max(1, min(10, steps // 10)),
        rank=64 if small else 16,
        kept=kept,
        steps=steps,
    )


def parameters(model: str) -> int | None:
    """The number of weights of a model: from its config if it is at hand, else from its name, such
    as ``Qwen2.5-0.5B``; None if that names none. Nothing is downloaded.

    >>> parameters("mlx-community/Qwen2.5-0.5B-4bit")
    500000000
    """
    try:
        if found := resolve.at_hand(model):
            return Shape.of(read_config(found.folder), 4).parameters
    except ModelError:
        pass  # the run says it; a recipe may be written before the model is there
    if said := _SIZE.search(model):
        times, number, unit = said.groups()
        return round(int(times or 1) * float(number) * (1e9 if unit in "bB" else 1e6))
    return None


def schedule_line(made: Amounts) -> str:
    """The line of the group ``star`` that says how long each iteration trains."""
    return (
        f"  schedule: {{kind: epochs, base: {made.epochs:g}, add_epochs: 0.2}}   "
        f"# passes over the rows kept: about {made.steps} steps at first"
    )


def train_lines(made: Amounts, size: int | None) -> list[str]:
    """The group ``train`` of a recipe, each value with its reason."""
    model = "a small model" if size is None else f"a model of {count(size)} parameters"
    return [
        f"train:                    # for about {made.kept} rows, half of the problems",
        f"  batch_size: {made.batch_size:<12}# with more, few rows would make too few steps",
        f"  warmup: {made.warmup:<16}# steps; far fewer than an iteration takes",
        f"  learning_rate: {made.learning_rate:<9g}# peak, for LoRA on {model}",
        f"  rank: {made.rank:<18}# of the LoRA matrices",
        "  max_length: 512         # tokens of prompt and completion; longer rows are left out",
    ]
