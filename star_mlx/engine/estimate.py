"""Estimate the memory of a run before its model is loaded, by the arithmetic of ``memory``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from star_mlx.engine import blas
from star_mlx.engine.resolve import Found
from star_mlx.engine.shape import ADAPTER_ITEM, Shape, read_config
from star_mlx.settings import Recipe

if TYPE_CHECKING:
    from star_mlx.engine.needs import Needs


@dataclass(frozen=True, slots=True)
class Sizes:
    """About how large a model, its adapter and a run with it are, in bytes.

    ``cut`` says what the run needs and what the bound on memory cuts it down to; empty if nothing.
    """

    parameters: int
    vocabulary: int
    context: int
    adapter: int
    memory: int
    cut: str = ""


def sizes(found: Found, recipe: Recipe, *, prefix: int, longest: int, row: int) -> Sizes:
    """Estimate from a model's files.

    Args:
        prefix: tokens of the few-shot prompt.
        longest: tokens of the longest prompt after it.
        row: tokens of the longest training row.
    """
    blas.load()
    from star_mlx.engine import needs

    made = needs.estimate(recipe, found.folder, prefix=prefix, prompt=longest, row=row)
    config = read_config(found.folder)
    shape = Shape.of(config, ADAPTER_ITEM)
    inner = config.get("text_config") or config
    return Sizes(
        parameters=shape.parameters,
        vocabulary=shape.vocabulary,
        context=int(inner.get("max_position_embeddings") or 1 << 20),
        adapter=ADAPTER_ITEM * shape.adapter_parameters(recipe.train),
        memory=min(made.peak, made.bound.size) if made.bound else made.peak,
        cut=made.words() if made.cuts() else "",
    )


def device() -> tuple[bool, str, int, int]:
    """This machine's device: whether it is a CPU, the name of a GPU, bytes of its memory, and the
    number of processors that are used."""
    blas.load()
    import mlx.core as mx

    from star_mlx.engine.device import on_cpu, physical

    if on_cpu():
        return True, "", physical(), blas.processors()
    info = mx.device_info()
    size = int(info.get("memory_size", 0) or info.get("total_memory", 0)) or physical()
    return False, str(info.get("device_name", "GPU")), size, 1


def elsewhere(
    recipe: Recipe,
    shape: Shape,
    held: int,
    *,
    cpu: bool,
    processors: int,
    bound: tuple[int, str] | None,
    prefix: int,
    longest: int,
    row: int,
) -> Needs:
    """The memory of a recipe's work on a device that is not this one, by the same arithmetic.

    Args:
        held: bytes that the model's weights take there.
        bound: the bytes that may be taken there if the recipe does not say, and why; None: as on
            this device.
        prefix, longest, row: as in ``sizes``.
    """
    blas.load()
    from star_mlx.engine import device, lanes, needs

    given = recipe.max_memory
    limit = device.Bound(*bound) if bound and given is None else device.bound(given)
    copies = None if cpu else needs.folded_copies(shape, held, limit)
    on = lanes.DeviceLanes(cpu, processors)
    return needs.work(
        recipe, shape, held, limit, prefix=prefix, prompt=longest, row=row, copies=copies, place=on
    )


def in_memory(found: Path) -> int:
    """Bytes that the weights in a model's folder take on this device."""
    blas.load()
    from star_mlx.engine import needs

    return needs.weights(found, read_config(found))
