"""One optimizer step over the parts of a batch: on the lanes of a CPU, or compiled for a GPU.

Several ranks take the parts in turn, and sum the losses and gradients of the tokens that they had.
The sum over all is divided by the number of the batch's tokens, so that each token counts the same
wherever it was.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx.utils import tree_map

from star_mlx.engine import adapter
from star_mlx.engine.batches import TrainingRow
from star_mlx.engine.device import on_cpu
from star_mlx.engine.form import Form
from star_mlx.engine.lanes import Lanes
from star_mlx.engine.loss import loss_sum, padded
from star_mlx.engine.ranks import Ranks

Parts = Sequence[Sequence[TrainingRow]]


class OptimizerStep(Protocol):
    """Takes a step over the parts of a batch, and returns the batch's mean loss (nats a token) and
    the norm of its gradient before clipping."""

    def __call__(self, parts: Parts) -> tuple[float, float]: ...


def compiled() -> bool:
    """Whether steps are compiled: on a GPU. On a CPU that gains nothing, and needs a compiler."""
    return not on_cpu()


def of(
    model: nn.Module,
    form: Form,
    optimizer: optim.Optimizer,
    clip: float,
    lanes: Lanes,
    width: int,
    ranks: Ranks | None = None,
) -> OptimizerStep:
    """The steps of a training: the way of this device.

    Args:
        optimizer: initialized with the model's trainable parameters, and evaluated.
        clip: the maximum norm of a gradient; 0 for none.
        width: the number of lanes to use, on a CPU.
        ranks: those that share the parts of each batch, if there are several.
    """
    clip = clip if clip > 0 else math.inf
    if compiled():
        return CompiledStep(model, form, optimizer, clip, ranks)
    return LaneStep(model, form, optimizer, clip, lanes, width, ranks)


def _over_ranks(ranks: Ranks | None, total: Any, parameters: Any) -> Any:
    """The loss and the gradient of a whole batch: what the ranks have summed of it, which is None
    where a rank had no part."""
    if ranks is None:
        return total
    if total is None:
        total = mx.array(0.0), tree_map(mx.zeros_like, parameters)
    return ranks.total(total)


def supervised(parts: Parts) -> int:
    """The number of tokens that count in the loss."""
    return sum(len(row.tokens) - row.start for part in parts for row in part)


class LaneStep:
    """At most ``width`` lanes take the parts in turn, and their sums are added in the order of the
    lanes, so that the result does not depend on which one finishes first."""

    def __init__(
        self,
        model: nn.Module,
        form: Form,
        optimizer: optim.Optimizer,
        clip: float,
        lanes: Lanes,
        width: int,
        ranks: Ranks | None = None,
    ) -> None:
        self._model, self._form, self._optimizer = model, form, optimizer
        self._clip, self._lanes, self._width, self._ranks = clip, lanes, width, ranks
        self._value_and_grad = nn.value_and_grad(model, loss_sum)

    def __call__(self, parts: Parts) -> tuple[float, float]:
        model = self._model
        parameters = model.trainable_parameters()
        count = supervised(parts)
        parts = self._ranks.share(parts) if self._ranks else parts
        n = min(self._width, len(parts))
        sums: list[Any] = [None] * n
        # value_and_grad puts its own arrays into the model while it builds
        building = threading.Lock()

        def job(lane: int) -> Callable[[Callable[[None], None]], None]:
            def run(report: Callable[[None], None]) -> None:
                for part in parts[lane::n]:
                    with building:
                        adapter.new_masks(model)
                        made = self._value_and_grad(model, self._form, *padded(part))
                        model.update(parameters)
                    total = made if sums[lane] is None else tree_map(mx.add, sums[lane], made)
                    mx.eval(total)
                    sums[lane] = total
                    report(None)

            return run

        if n:  # another rank may have all parts
            self._lanes.run([job(lane) for lane in range(n)], lambda _: None)
        summed = functools.reduce(lambda a, b: tree_map(mx.add, a, b), sums) if n else None
        total, gradient = _over_ranks(self._ranks, summed, parameters)
        gradient = tree_map(lambda g: g / count, gradient)
        gradient, norm = optim.clip_grad_norm(gradient, self._clip)
        self._optimizer.update(model, gradient)
        mx.eval(model.trainable_parameters(), self._optimizer.state, norm)
        return float(total.item()) / count, float(norm.item())


class CompiledStep:
    """The pass over a part and the update are each compiled, once for every shape of the arrays;
    ``padded`` sees to it that there are few.

    They are evaluated apart: all at once, a checkpointed pass would take more memory.
    """

    def __init__(
        self,
        model: nn.Module,
        form: Form,
        optimizer: optim.Optimizer,
        clip: float,
        ranks: Ranks | None = None,
    ) -> None:
        self._model, self._form, self._optimizer, self._clip = model, form, optimizer, clip
        self._ranks = ranks
        self._value_and_grad = nn.value_and_grad(model, loss_sum)
        # dropout draws from the random state, or from keys that are in the model's state
        state = [model.state, mx.random.state]
        self._add = mx.compile(self._added, inputs=state, outputs=[mx.random.state])
        adam = [optimizer.state]
        self._update = mx.compile(self._updated, inputs=adam, outputs=adam)

    def __call__(self, parts: Parts) -> tuple[float, float]:
        model, count = self._model, supervised(parts)
        total: Any = None
        for part in self._ranks.share(parts) if self._ranks else parts:
            adapter.new_masks(model)
            total = self._add(total, *padded(part))
            mx.eval(total)
        parameters = model.trainable_parameters()
        loss, gradient = _over_ranks(self._ranks, total, parameters)
        norm: Any
        parameters, norm = self._update(parameters, gradient, mx.array(count, mx.float32))
        model.update(parameters)
        mx.eval(parameters, self._optimizer.state, norm)
        return float(loss.item()) / count, float(norm.item())

    def _added(self, total: Any, *arrays: Any) -> Any:
        """The loss and the gradient of a part, added to those of the parts before it, or None."""
        parameters = self._model.trainable_parameters()
        made = self._value_and_grad(self._model, self._form, *arrays)
        self._model.update(parameters)  # value_and_grad has put its own arrays into the model
        return made if total is None else tree_map(mx.add, total, made)

    def _updated(self, parameters: Any, gradient: Any, count: mx.array) -> tuple[Any, mx.array]:
        gradient = tree_map(lambda g: g / count, gradient)
        gradient, norm = optim.clip_grad_norm(gradient, self._clip)
        return self._optimizer.apply_gradients(gradient, parameters), norm
