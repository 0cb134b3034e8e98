"""What rank 0 and the other ranks say to each other: plain data, never code."""

from __future__ import annotations

from typing import Any

import msgspec

from star_mlx.recipe.asking import PromptBatch
from star_mlx.types import Amount, Completion, Example


class Open(msgspec.Struct, tag=True):
    """Load the base of this recipe (as JSON)."""

    recipe: str


class AdapterFile(msgspec.Struct, tag=True):
    """A piece of a file of the adapter with this digest."""

    digest: str
    name: str
    data: bytes


class Complete(msgspec.Struct, tag=True):
    """Complete the batches of a chunk; the adapter is that of a digest, or the base."""

    number: int
    adapter: str | None
    batches: list[PromptBatch]


class TrainingRows(msgspec.Struct, tag=True):
    """Some of the examples of the training that follows."""

    examples: list[Example]


class Learn(msgspec.Struct, tag=True):
    """Train on the rows sent before, together with all ranks; ``settings`` are JSON."""

    settings: str
    amount: Amount
    seed: int


class Ping(msgspec.Struct, tag=True):
    """Rank 0 is there."""


class Stop(msgspec.Struct, tag=True):
    """There is no more to do."""


ToRank = Open | AdapterFile | Complete | TrainingRows | Learn | Ping | Stop


class Hello(msgspec.Struct, tag=True):
    """A rank has connected: its machine, and what its results depend on."""

    rank: int
    machine: str
    versions: dict[str, str | None]
    source: str  # a hash of star-mlx's own files


class BaseOpened(msgspec.Struct, tag=True):
    """The base is loaded; ``describe`` is what the engine says of it."""

    describe: dict[str, Any]


class Completed(msgspec.Struct, tag=True):
    """The completions of a chunk, in order."""

    number: int
    completions: list[Completion]


class Learned(msgspec.Struct, tag=True):
    """The training has ended: the digest of the adapter, or why there is none."""

    digest: str
    error: str = ""


class Beat(msgspec.Struct, tag=True):
    """The rank is there: how far its chunk is, and bytes in use by its engine, now and at most."""

    done: int
    tokens: int
    held: int
    peak: int


class Failed(msgspec.Struct, tag=True):
    """The rank cannot go on."""

    text: str


FromRank = Hello | BaseOpened | Completed | Learned | Beat | Failed
