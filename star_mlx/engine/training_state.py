"""The state of a training that is not finished, in the folder that its adapter will be in.

A process that is stopped in a long training goes on from there. The random choices of a training
follow from its seed and the number of the step, so the state is: the adapter, the optimizer's
moments, and the figures of the steps taken. A state that is damaged, or that of another training,
is passed over.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx.utils import tree_flatten, tree_unflatten

from star_mlx.engine.batches import TrainingRow
from star_mlx.engine.ranks import Ranks
from star_mlx.errors import RunError
from star_mlx.settings import Train
from star_mlx.store import names
from star_mlx.store.files import replace
from star_mlx.store.reading import file_sha256, sha256
from star_mlx.types import Step

ADAPTER, OPTIMIZER = "adapter.", "optimizer."  # what the names of the arrays begin with


def identity(rows: Sequence[TrainingRow], settings: Train, steps: int, seed: int) -> str:
    """What makes two trainings on a base the same."""
    own = settings.model_dump(mode="json", exclude={"save_every"})
    digest = hashlib.sha256(json.dumps([own, steps, seed], sort_keys=True).encode())
    for row in rows:
        digest.update(json.dumps([row.id, len(row.tokens), row.start]).encode())
        digest.update(array("i", row.tokens).tobytes())
    return digest.hexdigest()


class TrainingState:
    """The state of one training.

    Args:
        folder: the folder of the adapter that is being trained.
        every: minutes between two writes; None for none.
        of: the ``identity`` of the training.
    """

    def __init__(self, folder: Path, every: float | None, of: str) -> None:
        self._folder, self._every, self._of = folder, every, of
        self._file = folder / names.TRAINING
        self._last = time.monotonic()

    def restore(self, model: nn.Module, optimizer: optim.Optimizer) -> list[Step]:
        """Put the state on a model with a fresh adapter and its optimizer, and return the steps
        that were taken; none, with nothing changed, if there is no state of this training."""
        try:
            state = json.loads(self._file.read_bytes())
            arrays, own = self._folder / state["arrays"], state.pop("own_sha256")
            if state["of"] != self._of or _digest(state) != own:
                return []
            if file_sha256(arrays) != state["sha256"]:
                return []
            taken = [Step(**step) for step in state["steps"]]
        except (OSError, RunError, ValueError, KeyError, TypeError, AttributeError):
            return []
        found: Any = mx.load(str(arrays))
        model.update(_tree(found, ADAPTER))
        optimizer.state = _tree(found, OPTIMIZER)
        mx.eval(model.trainable_parameters(), optimizer.state)
        return taken

    def save(self, model: nn.Module, optimizer: optim.Optimizer, taken: Sequence[Step]) -> None:
        """Write the state, if the time for it has come.

        Raises:
            RunError: it cannot be written; the one before is kept.
        """
        if self._every is None or time.monotonic() - self._last < 60 * self._every:
            return
        arrays = self._folder / f"{names.TRAINING_ARRAYS}{len(taken)}.safetensors"
        tensors = {
            **_flat(model.trainable_parameters(), ADAPTER),
            **_flat(optimizer.state, OPTIMIZER),
        }
        try:
            mx.save_safetensors(str(arrays), tensors)
            with open(arrays, "rb") as file:
                os.fsync(file.fileno())
            state = {"of": self._of, "arrays": arrays.name, "sha256": file_sha256(arrays),
                     "steps": [asdict(step) for step in taken]}  # fmt: skip
            replace(self._file, json.dumps({**state, "own_sha256": _digest(state)}).encode())
        except (OSError, RuntimeError) as error:  # mlx raises RuntimeError for a full disk
            arrays.unlink(missing_ok=True)
            raise RunError(
                f"{arrays} cannot be written: {' '.join(str(error).split())}; finished work is "
                "kept: fix this and give the same command again"
            ) from error
        self._remove(path for path in self._arrays() if path != arrays)
        self._last = time.monotonic()

    def remove(self) -> None:
        """Remove the state, if there is one: the training is finished."""
        self._remove([self._file, *self._arrays()])

    def _arrays(self) -> Iterable[Path]:
        return self._folder.glob(f"{names.TRAINING_ARRAYS}*.safetensors")

    def _remove(self, paths: Iterable[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)


def of_first(
    ranks: Ranks, taken: Sequence[Step], model: nn.Module, optimizer: optim.Optimizer
) -> list[Step]:
    """Give every rank the state of rank 0, and return the steps that were taken there."""
    told = ranks.told(json.dumps([asdict(step) for step in taken]).encode())
    steps = [Step(**step) for step in json.loads(told)]
    if steps:
        model.update(ranks.of_first(model.trainable_parameters()))
        optimizer.state = ranks.of_first(optimizer.state)
    return steps


def _digest(state: dict[str, Any]) -> str:
    return sha256(json.dumps(state, sort_keys=True).encode())


def _flat(tree: Any, start: str) -> dict[str, mx.array]:
    return {start + name: array for name, array in tree_flatten(tree)}


def _tree(arrays: dict[str, mx.array], start: str) -> Any:
    return tree_unflatten(
        [(name.removeprefix(start), a) for name, a in arrays.items() if name.startswith(start)]
    )
