"""The sizes that a recipe leaves to the device: ``generate.batch_size`` and ``generate.chunk``.

Importing it imports no mlx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from star_mlx.engine.resolve import Found
from star_mlx.engine.shape import Shape, read_config
from star_mlx.settings import Recipe

if TYPE_CHECKING:
    from star_mlx.engine.needs import Needs

# Rows decoded at once, and completions in a chunk. A chunk's last rows are decoded with most slots
# empty. A GPU takes a step of many rows almost as quickly as one of few, so that it gains most by
# large chunks (2.4 times fewer steps than with 32 and 64, simulated with lengths of a log-normal
# distribution). On a CPU a step takes longer with more rows, and a chunk in progress may be lost;
# but in a narrow model Python takes most of a step.
GPU, CPU, CPU_NARROW = (64, 256), (32, 64), (256, 256)
USUAL = 512  # tokens of a question and its completion; of longer ones fewer are in a chunk


def sized(recipe: Recipe, hidden: int, needs: Needs | None = None) -> Recipe:
    """The recipe with numbers for ``auto``, for a model of this width on this device.

    Args:
        needs: those of the recipe with the numbers that it gets without them. If fewer rows fit
            into the memory, it is a power of 2 that does, so that a little more or less memory
            makes no other number; and a chunk of long rows has fewer, because it takes longer.
    """
    if not recipe.generate.automatic:
        return recipe
    from star_mlx.engine import blas

    blas.load()  # before mlx is imported
    from star_mlx.engine.device import on_cpu
    from star_mlx.engine.lanes import NARROW

    rows, chunk = (CPU_NARROW if hidden < NARROW else CPU) if on_cpu() else GPU
    if needs is not None:
        if recipe.generate.batch_size == "auto" and needs.rows[1]:
            fit = min(rows, 1 << (needs.rows[1].bit_length() - 1))
            rows, chunk = fit, chunk * fit // rows
        chunk = max(rows, min(chunk, chunk * USUAL // needs.row))
    return recipe.model_copy(update={"generate": recipe.generate.sized(rows, chunk)})


def sized_for(
    recipe: Recipe, found: Found | None, lengths: tuple[int, int] | None = None
) -> Recipe:
    """The same for a model that is not loaded.

    Args:
        found: its files; None: they are not on this machine.
        lengths: tokens of the few-shot prompt and of the longest prompt after it, if known.
    """
    if not recipe.generate.automatic:
        return recipe
    if found is None:
        return sized(recipe, 1024)
    hidden = Shape.of(read_config(found.folder), 4).hidden
    tried, needs = sized(recipe, hidden), None
    if lengths is not None:
        from star_mlx.engine.needs import estimate

        needs = estimate(tried, found.folder, prefix=lengths[0], prompt=lengths[1])
    return sized(recipe, hidden, needs)


def words(recipe: Recipe, given: Recipe) -> str:
    """What was chosen for ``auto`` in the recipe ``given``, in a sentence; empty if nothing."""
    chosen = [
        f"generate.{name}={getattr(recipe.generate, name)}" for name in given.generate.automatic
    ]
    return f"auto is {' and '.join(chosen)} on this device" if chosen else ""
