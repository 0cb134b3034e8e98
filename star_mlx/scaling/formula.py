"""The arithmetic of an iteration: seconds of its phases, bytes on disk and between machines.

Decoding follows the roofline (Williams et al. 2009): a step takes as long as the larger of moving
its bytes and computing its FLOPs; on a CPU their sum. A token costs 2 FLOPs per weight forwards
(Kaplan et al. 2020, arXiv 2001.08361, section 2.1) and 2 more backwards for the activations; the 2
for the gradients of weights are left out, since they are frozen (LoRA, Hu et al. 2021, arXiv
2106.09685). Attention costs 4 FLOPs per layer, head dimension and token that is seen (Chowdhery et
al. 2022, arXiv 2204.02311, appendix B). docs/scaling.md has all of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from star_mlx.engine.shape import ADAPTER_ITEM, Shape
from star_mlx.scaling.hardware import Hardware, Machines
from star_mlx.settings import Train

# Lengths of 3,000 questions and solutions of GSM8K, in tokens of SmolLM2: the standard deviation as
# a share of the mean, of solutions and of both together. The longest of n is about 0.78 ln n
# deviations above the mean (of 64 solutions 1.51 of the mean, by this 1.43).
COMPLETIONS, ROWS, TAIL = 0.44, 0.37, 0.78
CACHE = 16 << 20  # bytes of weights that a CPU keeps in its cache
READ = 512  # tokens of a pass of reading prompts
STARTING = "Python and starting kernels"
LATENCY = 1e-4  # seconds of a message between two machines, assumed


@dataclass(frozen=True, slots=True)
class Sized:
    """A model on a device: its shape, bytes of its weights in memory, and bytes that a step of
    decoding reads of them, with an adapter and without."""

    name: str
    shape: Shape
    held: int
    read: int
    read_adapted: int

    @property
    def token_flops(self) -> float:
        """FLOPs of a token in the linear layers, forwards."""
        return 2.0 * self.shape.linear_parameters

    @property
    def head_flops(self) -> float:
        """FLOPs of a token's logits."""
        return 2.0 * self.shape.vocabulary * self.shape.hidden

    @property
    def seen_flops(self) -> float:
        """FLOPs of attention to one token."""
        return 4.0 * self.shape.layers * self.shape.heads * self.shape.head


@dataclass(frozen=True, slots=True)
class CompletionSizes:
    """Completions to generate: tokens of the few-shot prompt, of a prompt after it and of a
    completion, on average and at most; completions in a chunk, and at once on a machine."""

    few_shot: int
    prompt: int
    completion: float
    longest: int
    chunk: int
    at_once: int


@dataclass(frozen=True, slots=True)
class RowSizes:
    """Rows to train on: tokens of a row and those of its completion, on average; rows of a step,
    and tokens of a pass at most."""

    row: float
    supervised: float
    batch: int
    part: int


class Calibration(NamedTuple):
    """How many times as long as computed generation and training take, as measured."""

    generation: float = 1.0
    training: float = 1.0


class Spent(NamedTuple):
    """Seconds of a phase, what most of them are for, and bytes that a machine sends in it."""

    seconds: float
    mostly: str = ""
    sent: float = 0.0


def begun(model: Sized, on: Hardware) -> float:
    """Seconds of a pass through the model, however few tokens it has."""
    return on.shares.step + model.shape.layers * on.shares.layer


def steps(count: int, at_once: int, mean: float, most: int) -> float:
    """Steps of decoding ``count`` completions, of which ``at_once`` are in progress.

    A row that ends gives its place to the next one. The last rows run until the longest has ended.
    """
    rows = min(count, at_once)
    longest = min(most, mean * (1 + COMPLETIONS * TAIL * math.log(max(1, rows))))
    return max(longest, mean) + mean * max(0, count - rows) / rows


def chunk(
    asked: CompletionSizes, count: int, model: Sized, on: Hardware, *, adapted: bool
) -> Spent:
    """Seconds in which a machine generates a chunk of ``count`` completions; the few-shot prompt
    has been read."""
    shares, shape = on.shares, model.shape
    read = model.read_adapted if adapted else model.read
    if on.kind == "cpu" and read < CACHE:
        read = 0  # it stays in the processor's cache
    lanes = 1 if on.kind != "cpu" else max(1, min(on.processors, min(count, asked.at_once) // 8))
    bytes_per_second = shares.bandwidth * on.bandwidth
    seen = asked.few_shot + asked.prompt / 2
    flops = asked.prompt * (model.token_flops + model.seen_flops * seen) + model.head_flops
    alone = max(0, count - asked.at_once)  # are read in a place that has become free
    passes = alone + (count - alone) * asked.prompt / READ
    prompts = max(count * flops / (shares.reading * on.flops), passes * read / bytes_per_second)
    many = steps(count, asked.at_once, asked.completion, asked.longest)
    tokens = count * asked.completion
    own = asked.prompt + asked.completion / 2
    each = model.token_flops + model.head_flops + model.seen_flops * (asked.few_shot + own)
    moved = many * (lanes * read + asked.few_shot * shape.cache_bytes)
    moved += tokens * own * shape.cache_bytes
    computing, moving = tokens * each / (shares.decoding * on.flops), moved / bytes_per_second
    starting = (many + passes) * begun(model, on) + tokens * shares.token
    if on.kind == "cpu":  # one thread does one after the other: measured
        decoding = computing + moving
    else:
        decoding = max(computing, moving)
    kinds = {
        "reading prompts": prompts,
        "computing": computing if computing >= moving else 0.0,
        "reading weights and caches": moving if moving > computing else 0.0,
        STARTING: starting,
    }
    return Spent(prompts + decoding + starting, max(kinds, key=lambda kind: kinds[kind]))


def generation(
    count: int,
    asked: CompletionSizes,
    model: Sized,
    machines: Machines,
    *,
    adapted: bool,
    sent: float = 0.0,
) -> Spent:
    """Seconds of generating ``count`` completions; whole chunks are shared out among the machines.

    Args:
        sent: bytes of a completion, which all machines but one send to that one.
    """
    if not count:
        return Spent(0.0)
    on = machines.each
    seen = asked.few_shot / 2
    front = asked.few_shot * (model.token_flops + model.seen_flops * seen)
    before = front / (on.shares.reading * on.flops)
    whole, rest = divmod(count, asked.chunk)
    done = chunk(asked, min(count, asked.chunk), model, on, adapted=adapted)
    turns, left = divmod(whole, machines.number)
    seconds = turns * done.seconds
    if left:
        seconds += done.seconds
    elif rest:
        seconds += chunk(asked, rest, model, on, adapted=adapted).seconds
    share = sent * count / machines.number if machines.number > 1 else 0.0
    gathered = share * (machines.number - 1)
    return Spent(before + seconds + gathered / on.link, done.mostly, share)


def step(rows: RowSizes, train: Train, model: Sized, on: Hardware, batch: int) -> float:
    """Seconds in which a machine computes the gradient of ``batch`` rows."""
    shape, shares = model.shape, on.shares
    adapted = shape.layers if train.layers < 0 else min(train.layers, shape.layers)
    back = adapted / shape.layers
    passes = 1 + back + (back if train.checkpoint else 0)
    attention = model.seen_flops * rows.row * (1 + 2 * back + (back if train.checkpoint else 0))
    own = 6.0 * shape.adapter_parameters(train)
    per_row = rows.row * (model.token_flops * passes + attention + own)
    per_row += rows.supervised * 2 * model.head_flops
    parts = math.ceil(batch * rows.row / max(rows.row, rows.part))
    if on.kind == "cpu" and batch > 1:  # there a part has no more places than the batch has tokens
        parts += 1
    padding = 1 + ROWS * TAIL * math.log(max(1, batch)) / parts
    computing = batch * padding * per_row / (shares.training * on.flops)
    return computing + parts * shares.back * begun(model, on)


def training(count: int, rows: RowSizes, train: Train, model: Sized, machines: Machines) -> Spent:
    """Seconds of ``count`` optimizer steps, each machine with its part of the batch; and bytes that
    a machine sends: the gradient of the adapter, by a ring of all machines.

    A ring sends 2 (n - 1) / n times the gradient (Patarasuk and Yuan 2009).
    """
    on, number = machines.each, machines.number
    each = step(rows, train, model, on, math.ceil(rows.batch / number))
    gradient = ADAPTER_ITEM * model.shape.adapter_parameters(train)
    sent = 2 * (number - 1) / number * gradient
    link = sent / on.link + 2 * (number - 1) * LATENCY
    fixed = begun(model, on) * on.shares.back  # of at least one pass
    mostly = "computing" if each > 2 * fixed else STARTING
    if link > each:
        mostly = "sending gradients"
    return Spent(count * (each + link), mostly, count * sent)
