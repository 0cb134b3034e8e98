"""The memory that a recipe needs, and what a bound cuts it down to, before anything is loaded."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_mlx.engine.batches import CPU_BUDGET, GPU_BUDGET
from star_mlx.engine.device import GIB, Bound, bound, compiles, on_cpu
from star_mlx.engine.lanes import DeviceLanes, lanes
from star_mlx.engine.memory import Memory, most
from star_mlx.engine.resolve import Found
from star_mlx.engine.shape import Shape, read_config
from star_mlx.errors import ModelError
from star_mlx.settings import Recipe


@dataclass(frozen=True, slots=True)
class Needs:
    """The memory of a recipe's work in bytes, at its peaks, and what fits into a bound.

    ``rows`` are decoded at once and ``tokens`` trained on in a pass, as the recipe wants it and as
    it fits; 0 if not even one row fits.
    """

    weights: int
    decoding: int  # beyond the weights
    training: int  # beyond the weights
    bound: Bound | None
    rows: tuple[int, int]
    tokens: tuple[int, int]
    longest: int  # tokens of a training row
    checkpoint: bool  # whether layers keep only their inputs in training
    folded: bool = True  # whether adapters are added into copies of the weights for decoding
    row: int = 1  # tokens of the longest decoded row after the few-shot prompt

    @property
    def peak(self) -> int:
        """The most that the recipe takes if nothing bounds it."""
        return self.weights + max(self.decoding, self.training)

    def words(self) -> str:
        """What the recipe needs, and what the bound cuts it down to, in a sentence."""
        bounded = f"bounded by {self.bound}" if self.bound else "not bounded"
        parts = ", and ".join(self.cuts())
        return (
            f"the recipe needs up to about {self.peak / GIB:.2g} GiB of memory, which is {bounded}"
            f"{': ' * bool(parts)}{parts}"
        )

    def cuts(self) -> list[str]:
        """What the bound cuts the recipe down to; empty if nothing."""
        parts: list[str] = []
        if not self.rows[1]:
            parts.append("not even one row of the longest prompts can be decoded")
        elif self.rows[1] < self.rows[0]:
            parts.append(f"{self.rows[1]} of {self.rows[0]} rows are decoded at once")
        if not self.folded:
            parts.append("adapters are not folded into copies of the weights for decoding")
        if not self.tokens[1]:
            but = "" if self.checkpoint else " (train.checkpoint=true needs much less)"
            parts.append(f"examples of {self.longest:,} tokens cannot be trained on{but}")
        elif self.tokens[1] < self.tokens[0]:
            parts.append(
                f"at most {self.tokens[1]:,} instead of {self.tokens[0]:,} tokens are trained on "
                "in a pass"
            )
        return parts


def estimate(
    recipe: Recipe, folder: Path, *, prefix: int, prompt: int, row: int | None = None
) -> Needs:
    """The needs of a recipe on the model in a folder, on this device.

    Args:
        prefix: tokens of the few-shot prompt, which all prompts share.
        prompt: tokens of the longest prompt after it.
        row: tokens of the longest training row; by default as many as the recipe allows.
    """
    config = read_config(folder)
    shape, held = shape_of(folder, config), weights(folder, config)
    if recipe.model.products == "bfloat16" and not any(
        "lm_head" in n for n, *_ in _tensors(folder)
    ):
        held += 4 * shape.vocabulary * shape.hidden  # the head is packed beside the embedding
    limit, copies = bound(recipe.max_memory), None
    if not on_cpu():
        copies = folded_copies(shape, held, limit)
    return work(recipe, shape, held, limit, prefix=prefix, prompt=prompt, row=row, copies=copies)


def folded_copies(shape: Shape, held: int, limit: Bound | None) -> int:
    """Bytes of the copies of weights that adapters are folded into on a GPU; 0 if they do not fit
    beside the ``held`` bytes of the model."""
    copies = shape.itemsize * shape.linear_parameters
    return copies * Memory(limit, shape).folds(held, copies)


def work(
    recipe: Recipe,
    shape: Shape,
    held: int,
    limit: Bound | None,
    *,
    prefix: int,
    prompt: int,
    row: int | None = None,
    copies: int | None = None,
    place: DeviceLanes | None = None,
) -> Needs:
    """As ``estimate``, for a model of this shape whose weights take ``held`` bytes.

    Args:
        copies: bytes of the copies of weights that adapters are folded into, 0 if they are not;
            None on a CPU, where there may be any if there is room.
        place: the device that computes; None for this one.
    """
    place = place or DeviceLanes.here()
    generate, train, width = recipe.generate, recipe.train, place.width
    rows = min(generate.at_once, generate.per_chunk * generate.samples)
    tokens = prompt + generate.max_tokens
    count = lanes(rows, shape.hidden, width)
    decoding = (
        shape.prefix_bytes(prefix)
        + shape.widened_bytes(prefix)
        + rows * shape.row_bytes(tokens)
        + count * max(most(place.cpu), prompt) * shape.reading_bytes(prefix + prompt)
        + (4 * shape.parameters if copies is None else copies)
    )
    length = train.max_length if row is None else min(row, train.max_length)
    batch = math.ceil(train.batch_size * length / width)
    budget = max(length, min(CPU_BUDGET if place.cpu else GPU_BUDGET, batch))
    training = shape.adapter_bytes(train) + budget * width * shape.training_bytes(length, train)
    read = held + shape.prefix_bytes(prefix)
    memory = Memory(limit, shape, lambda: read, most(place.cpu))
    folded = Memory(limit, shape, lambda: read + (copies or 0), most(place.cpu))
    try:
        fit, _, _ = folded.decoding(rows, count, prefix=prefix, longest=prompt, tokens=tokens)
    except ModelError:
        fit = 0
    try:
        passed = memory.training(budget, length, width, train)
    except ModelError:
        passed = 0
    at_once = (budget * width, passed * width)
    return Needs(
        held, decoding, training, limit, (rows, fit), at_once, length, train.checkpoint,
        folded=copies != 0, row=tokens,
    )  # fmt: skip


def check_weights(found: Found, limit: Bound | None) -> None:
    """Refuse a model whose weights alone exceed the bound, before they are read.

    Raises:
        ModelError: they do.
    """
    if limit is None:
        return
    size = weights(found.folder, read_config(found.folder))
    if size > limit.size:
        raise ModelError(
            f"{found.name} does not fit: its weights alone take {size / GIB:.3g} GiB, more than "
            f"{limit}. Choose a smaller base or one with fewer bits, or a larger max_memory (none: "
            "no limit)"
        )


def shape_of(folder: Path, config: Mapping[str, Any]) -> Shape:
    """The shape of a model in a folder, as it is computed on this device."""
    return Shape.of(config, itemsize(folder), compiles())


def itemsize(folder: Path) -> int:
    """Bytes of a number in the caches and activations of a model, on this device."""
    if on_cpu():
        return 4
    embedding = {kind for name, kind, _ in _tensors(folder) if "embed" in name or "wte" in name}
    return 4 if "F32" in embedding else 2


def weights(folder: Path, config: Mapping[str, Any]) -> int:
    """Bytes that a model's weights take in memory: as stored, but float32 on a CPU."""
    if not on_cpu():
        return sum(file.stat().st_size for file in folder.glob("model*.safetensors"))
    quantization = config.get("quantization") or config.get("quantization_config") or {}
    usual = quantization.get("group_size", 64)
    tensors = {name: size for name, _, size in _tensors(folder)}
    numbers = 0
    for name, size in tensors.items():
        module, _, kind = name.rpartition(".")
        scales = tensors.get(f"{module}.scales")
        if scales is None:
            numbers += size
        elif kind == "weight":  # each scale stands for a group of weights
            own = quantization.get(module)
            numbers += scales * (own.get("group_size", usual) if isinstance(own, dict) else usual)
    return 4 * numbers


def _tensors(folder: Path) -> Iterator[tuple[str, str, int]]:
    """The name, the type and the number of numbers of each tensor in a model's files."""
    for file in folder.glob("model*.safetensors"):
        try:
            with open(file, "rb") as opened:
                length = int.from_bytes(opened.read(8), "little")
                header = json.loads(opened.read(min(length, file.stat().st_size)))
            for name, about in header.items():
                if name != "__metadata__":
                    yield name, about["dtype"], math.prod(about["shape"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # loading it says what is wrong
