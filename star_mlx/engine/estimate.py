"""Estimate the memory of a run before its model is loaded, by the arithmetic of ``memory``."""

from __future__ import annotations

from dataclasses import dataclass

from star_mlx.engine import blas
from star_mlx.engine.batches import CPU_BUDGET, GPU_BUDGET
from star_mlx.engine.resolve import Found
from star_mlx.engine.shape import ADAPTER_ITEM, Shape, read_config
from star_mlx.settings import Recipe

READ = 512  # tokens of a prompt that are read in a pass


@dataclass(frozen=True, slots=True)
class Sizes:
    """About how large a model, its adapter and a run with it are, in bytes."""

    parameters: int
    vocabulary: int
    context: int
    adapter: int
    memory: int


def sizes(found: Found, recipe: Recipe, *, prefix: int, longest: int, row: int) -> Sizes:
    """Estimate from a model's config.

    Args:
        prefix: tokens of the few-shot prompt.
        longest: tokens of the longest prompt after it.
        row: tokens of the longest training row.
    """
    blas.load()
    from star_mlx.engine.device import on_cpu

    config, cpu = read_config(found.folder), on_cpu()
    shape = Shape.of(config, 4 if cpu else 2)
    stored = sum(file.stat().st_size for file in found.folder.glob("model*.safetensors"))
    weights = 4 * shape.parameters if cpu else stored
    adapter = ADAPTER_ITEM * shape.adapter_parameters(recipe.train)

    made = recipe.generate
    rows = min(made.batch_size, made.chunk * made.samples)
    cache = int(1.5 * (longest + made.max_tokens) * shape.cache_bytes) + 8 * shape.vocabulary
    reading = min(READ, max(prefix, rows * longest)) * shape.reading_bytes(prefix + longest)
    folded = weights if cpu else 0  # the adapter is added into copies of the weights
    decoding = rows * cache + prefix * shape.cache_bytes + reading + folded

    lanes, budget = (blas.processors(), CPU_BUDGET) if cpu else (1, GPU_BUDGET)
    batch = recipe.train.batch_size * row
    at_once = min(batch, max(budget, row) * lanes)
    training = at_once * shape.training_bytes(row) + 4 * adapter  # gradients, two moments
    if recipe.train.checkpoint:
        training //= max(1, shape.layers // 2)

    memory = weights + max(decoding, training)
    if recipe.max_memory is not None:
        memory = min(memory, int(recipe.max_memory * (1 << 30)))
    inner = config.get("text_config") or config
    context = int(inner.get("max_position_embeddings") or 1 << 20)
    return Sizes(shape.parameters, shape.vocabulary, context, adapter, memory)
