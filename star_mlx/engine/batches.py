"""From examples to rows of token ids to batches. Pure: no mlx, no model, randomness from a seed."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from star_mlx.engine.text import Text
from star_mlx.types import Example

CPU_BUDGET, GPU_BUDGET = 512, 8192  # padded tokens of one forward and backward pass
CPU_LOGITS = 1 << 23  # computed at a time in training on a CPU, if the head is not trained


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One example as token ids; only ``tokens[start:]`` counts in the loss.

    ``tokens[:start]`` is the prompt, ``tokens[start:]`` the completion's own ids and the end token.
    """

    id: str
    tokens: Sequence[int]
    start: int


def rows(
    examples: Sequence[Example], text: Text, max_length: int
) -> tuple[list[TrainingRow], tuple[str, ...]]:
    """The rows of all examples, and the ids of those left out because they exceed ``max_length``.

    The completion is trained on with exactly the token ids that were generated; nothing is cut.
    A token takes 4 bytes, of 40 in a list, as there may be hundreds of thousands of rows.
    """
    fitting: list[TrainingRow] = []
    too_long: list[str] = []
    for example in examples:
        prompt = text.prompt(example.prompt)
        tokens = array("i", (*prompt, *example.token_ids, text.end_after(prompt)))
        if len(tokens) > max_length:
            too_long.append(example.id)
        else:
            fitting.append(TrainingRow(example.id, tokens, len(prompt)))
    return fitting, tuple(too_long)


def epochs(n: int, batch_size: int, seed: int) -> Iterator[list[int]]:
    """Endless batches of row numbers: every row once per epoch, shuffled anew in each.

    An epoch has ``ceil(n / batch_size)`` batches; the last is smaller if n is not a multiple.
    """
    epoch = 0
    while True:
        order = list(range(n))
        random.Random(f"{seed}/{epoch}").shuffle(order)
        yield from (order[i : i + batch_size] for i in range(0, n, batch_size))
        epoch += 1


def micro(lengths: Sequence[int], batch: Sequence[int], budget: int) -> list[list[int]]:
    """Split a batch into parts of similar length whose padded size is at most ``budget`` tokens.

    The gradient of the batch is the sum over its parts, so this saves padding and memory and
    changes nothing else. A row longer than the budget is a part by itself.
    """
    parts: list[list[int]] = []
    for i in sorted(batch, key=lambda i: -lengths[i]):
        if parts and (len(parts[-1]) + 1) * lengths[parts[-1][0]] <= budget:
            parts[-1].append(i)
        else:
            parts.append([i])
    return parts
