"""Why llama.cpp and MLX continue a GGUF file differently.

Two programs that compute the same function with other roundings part where two tokens are nearly as
probable. The margin of the two tokens is computed here with one rounding after the other, to see
which of them is to blame: that of the import (Q6_K and Q2_K to MLX's nearest weights), and that of
llama.cpp, which rounds the inputs of quantized weights to 8 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests import llama_cpp

QUESTIONS = """\
What is the capital of France?|How many legs has a spider?|Who wrote Hamlet?|What is 12 + 30?
Name a colour of the rainbow.|What do bees make?|What is the boiling point of water?
Which planet is the largest?|What is the opposite of hot?|How many days has a week?
What language is spoken in Brazil?|What is ice made of?|Where do penguins live?
What is the square of 7?|Who painted the Mona Lisa?|What do plants need to grow?
Which animal barks?|What comes after Monday?|What is a synonym of big?
How many sides has a triangle?"""
PROMPTS = [f"Question: {q}\nAnswer:" for q in QUESTIONS.replace("\n", "|").split("|")]
DRAWS = 16  # of the rounding of inputs
FLOAT32 = 1e-4  # the most that other orders of sums make of a margin
# type of weights -> length of the blocks of 8 bits in which ggml rounds their inputs, or 1 for half
# precision (``vec_dot_type`` in ggml-cpu.c: Q8_0, Q8_1, Q8_K and F16)
BLOCKS = {
    **dict.fromkeys(("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL"), 32),
    **dict.fromkeys(("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"), 256),
    "F16": 1,
}


@dataclass(frozen=True)
class Parting:
    """The first place where the continuations of a prompt differ: the number of the token there,
    the ids before it, and the ids that either program chose."""

    prompt: str
    at: int
    before: tuple[int, ...]
    ours: int
    theirs: int

    @property
    def pair(self) -> tuple[int, int]:
        return self.ours, self.theirs


def partings(
    text: Any, prompts: Sequence[str], ours: Sequence[list[int]], theirs: Sequence[list[int]]
) -> list[Parting]:
    """The partings of prompts' continuations (with their end tokens); ``text`` is the engine's."""
    found = []
    for prompt, a, b in zip(prompts, ours, theirs, strict=True):
        if a != b:
            at = next(n for n in range(len(a)) if a[: n + 1] != b[: n + 1])
            found.append(Parting(prompt, at, (*text.prompt(prompt), *a[:at]), a[at], b[at]))
    return found


def unlike(folder: Path, file: Path, parted: Sequence[Parting]) -> dict[Parting, list[float]]:
    """The partings that llama.cpp's rounding of inputs does not explain: its margin is not within
    four standard deviations of those that this rounding makes of ours. (In a small model it makes
    but one, and llama.cpp's is the same.)

    ``folder`` was imported from ``file``. With each parting come llama.cpp's margin, and the mean
    and standard deviation of the others.
    """
    if not parted:
        return {}
    theirs = llama_cpp.margins(file, [(one.before, 0, one.pair) for one in parted])
    drawn = Margins(folder, file).with_rounded_inputs(parted, DRAWS)
    return {
        one: [margin, mean, deviation]
        for one, margin, (mean, deviation) in zip(parted, theirs, drawn, strict=True)
        if not abs(margin - mean) < 4 * deviation + FLOAT32
    }


class Margins:
    """An imported model in float32, whose weights and inputs are made llama.cpp's step by step."""

    def __init__(self, folder: Path, file: Path) -> None:
        from star_mlx.engine import blas

        blas.load()
        from mlx_lm.utils import load_model

        from star_mlx.engine.load import widen
        from star_mlx.gguf import config, container

        self._model, self._config = load_model(folder, lazy=True)
        widen(self._model)
        self._file = container.read(file)
        self._kind = config.architecture(self._file)
        _, self._places = config.read(self._file)

    def of(self, parted: Sequence[Parting]) -> list[float]:
        """The logit of our token less that of llama.cpp's, at each place."""
        return [float(self._at(one, 1)[0]) for one in parted]

    def use_the_files_weights(self, types: set[str]) -> None:
        """Put exact weights in the place of those that were rounded by the import, which have these
        types in the file, and llama.cpp's factor of embeddings in that of mlx-lm's gemma3."""
        import gguf
        import mlx.core as mx

        from star_mlx.gguf.importing import unpermute

        modules = dict(self._model.named_modules())
        for tensor in gguf.GGUFReader(self._file.path).tensors:
            if tensor.tensor_type.name in types:
                place = self._places[tensor.name]
                weight = gguf.dequantize(tensor.data, tensor.tensor_type)
                weight = unpermute(weight, place.heads) if place.heads else weight
                assert modules[place.module].weight.shape == weight.shape
                modules[place.module].weight = mx.array(weight)
        if self._kind.name == "gemma3":
            factor = self._config["hidden_size"] ** 0.5
            self._wrap({"model.embed_tokens": 0}, factor / float(mx.array(factor, mx.bfloat16)))

    def with_rounded_inputs(
        self, parted: Sequence[Parting], draws: int
    ) -> list[tuple[float, float]]:
        """The mean and standard deviation of each margin with the inputs of the weights rounded as
        llama.cpp rounds them.

        The least difference, as of the order of a sum, moves some number to another step, and this
        moves others in the layers that follow: after a few layers the rounding is another draw. So
        it is drawn several times, by changes of the embeddings by a millionth.
        """
        kinds = {p.module: self._file.tensors[n].kind for n, p in self._places.items()
                 if n.endswith(".weight")}  # fmt: skip
        blocks = {module: BLOCKS[kind] for module, kind in kinds.items() if kind in BLOCKS}
        self._wrap(blocks, noise=1e-6)
        drawn = [self._at(one, draws) for one in parted]
        return [(float(margins.mean()), float(margins.std(ddof=1))) for margins in drawn]

    def _at(self, one: Parting, rows: int) -> Any:
        import mlx.core as mx

        model = self._model
        last = model.model(mx.array([one.before] * rows))[:, -1]
        head = model.lm_head if "lm_head" in model else model.model.embed_tokens.as_linear
        logits = head(last)
        return np.array(logits[:, one.ours] - logits[:, one.theirs])

    def _wrap(self, blocks: dict[str, int], factor: float = 1.0, noise: float = 0.0) -> None:
        import mlx.core as mx
        import mlx.nn as nn
        from mlx.utils import tree_unflatten

        class Rounding(nn.Module):
            """A linear module, or an embedding with a head, whose inputs are rounded."""

            def __init__(self, inner: nn.Module, block: int) -> None:
                super().__init__()
                self.inner, self.block = inner, block

            def __call__(self, x: mx.array) -> mx.array:
                if x.dtype == mx.float32:
                    return self.inner(rounded(x, self.block))
                found = self.inner(x) * factor  # of token ids
                if not noise:
                    return found
                return found * (1 + noise * mx.random.normal(found.shape, key=mx.random.key(0)))

            def as_linear(self, x: mx.array) -> mx.array:
                return self.inner.as_linear(rounded(x, self.block))

        modules = dict(self._model.named_modules())
        wrapped = [(name, Rounding(modules[name], block)) for name, block in blocks.items()]
        self._model.update_modules(tree_unflatten(wrapped))


def rounded(x: Any, block: int) -> Any:
    """Numbers rounded to 8 bits with a scale for each block, as ``quantize_row_q8_0`` and
    ``quantize_row_q8_K`` of ggml do; see ``BLOCKS``. They are unchanged if ``block`` is 0."""
    import mlx.core as mx

    if not block:
        return x
    if block == 1:
        return x.astype(mx.float16).astype(mx.float32)
    rows = x.reshape(-1, block)
    most = mx.abs(rows).max(axis=1, keepdims=True)
    steps = mx.round(rows * mx.where(most > 0, 127 / mx.maximum(most, 1e-30), 0))
    scale = most / 127
    if block == 32:  # its scale is stored in half precision
        scale = scale.astype(mx.float16).astype(mx.float32)
    return (steps * scale).reshape(x.shape)
