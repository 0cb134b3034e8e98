"""The sizes that a recipe leaves to the device: ``generate.batch_size`` and ``generate.chunk``.

Importing it imports no mlx.
"""

from __future__ import annotations

from star_mlx.engine.resolve import Found
from star_mlx.engine.shape import Shape, read_config
from star_mlx.settings import Recipe

# Rows decoded at once, and completions in a chunk. A chunk's last rows are decoded with most slots
# empty. A GPU takes a step of many rows almost as quickly as one of few, so that it gains most by
# large chunks (2.4 times fewer steps than with 32 and 64, simulated with lengths of a log-normal
# distribution). On a CPU a step takes longer with more rows, and a chunk in progress may be lost;
# but in a narrow model Python takes most of a step.
GPU, CPU, CPU_NARROW = (64, 256), (32, 64), (256, 256)


def sized(recipe: Recipe, hidden: int) -> Recipe:
    """The recipe with numbers for ``auto``, for a model of this width on this device."""
    if not recipe.generate.automatic:
        return recipe
    from star_mlx.engine import blas

    blas.load()  # before mlx is imported
    from star_mlx.engine.device import on_cpu
    from star_mlx.engine.lanes import NARROW

    rows, chunk = (CPU_NARROW if hidden < NARROW else CPU) if on_cpu() else GPU
    return recipe.model_copy(update={"generate": recipe.generate.sized(rows, chunk)})


def sized_for(recipe: Recipe, found: Found | None) -> Recipe:
    """The same for a model that is not loaded; None: it is not on this machine."""
    if not recipe.generate.automatic:
        return recipe
    hidden = 1024 if found is None else Shape.of(read_config(found.folder), 4).hidden
    return sized(recipe, hidden)


def words(recipe: Recipe, given: Recipe) -> str:
    """What was chosen for ``auto`` in the recipe ``given``, in a sentence; empty if nothing."""
    chosen = [
        f"generate.{name}={getattr(recipe.generate, name)}" for name in given.generate.automatic
    ]
    return f"auto is {' and '.join(chosen)} on this device" if chosen else ""
