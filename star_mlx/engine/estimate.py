"""Estimate the memory of a run before its model is loaded, by the arithmetic of ``memory``."""

from __future__ import annotations

from dataclasses import dataclass

from star_mlx.engine import blas
from star_mlx.engine.resolve import Found
from star_mlx.engine.shape import ADAPTER_ITEM, Shape, read_config
from star_mlx.settings import Recipe


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
