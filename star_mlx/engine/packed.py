"""The weights of a model whose products are computed in bfloat16."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from star_mlx.engine.onednn import Registry

SHARES = 4
Again = Callable[[], nn.Module]  # the model as its files have it, its weights not yet read


class Packed:
    """Registers the weights of a model's linear layers, again after layers were replaced.

    Packed in bfloat16, they take half the memory of their float32 numbers, which are given back to
    the system, as products need them no more. An embedding that is also the head keeps them, as
    tokens are looked up in it. Weights of a LoRA adapter are not registered: its products and
    gradients stay in float32.

    Args:
        again: reads the model once more, for layers whose numbers are needed later; without it all
            numbers are kept.
    """

    def __init__(self, model: nn.Module, again: Again | None = None) -> None:
        self._model, self._registry = model, Registry()
        self._again: Again | None = None
        self._base: dict[int, mx.array] = {}  # what was vacated of the base, by address
        if again is not None:
            self._give_back(again)
        self.update()

    def _give_back(self, again: Again) -> None:
        """Give the base's numbers back, unless the model does more with them than products.

        This is done in shares, as each is in memory in both forms until it is found out.
        """
        linear = {_address(w): w for w in self._linear()}
        most, given = _size(linear) // SHARES, dict[int, mx.array]()
        while len(given) < len(linear):
            share = dict[int, mx.array]()
            for at, weight in linear.items():
                if at not in given and (not share or _size(share) + weight.nbytes <= most):
                    share[at] = weight
            given |= share
            self._register(given)
            before = self._tried()
            for at in share:
                self._registry.vacate(at)
            if not np.array_equal(self._tried(), before):
                self._read_back(again, given)
                return
        self._again, self._base = again, linear

    def _read_back(self, again: Again, given: Mapping[int, mx.array]) -> None:
        read = dict(again().named_modules())
        for name, module in self._model.named_modules():
            if type(module) is nn.Linear and _address(module.weight) in given:
                module.weight = read[name].weight

    def _tried(self) -> np.ndarray:
        return np.array(self._model(mx.array([[1, 2, 3]])))

    def update(self) -> None:
        """Register the weights that the model has now, in place of those it had."""
        linear = self._linear()
        tied = [  # the head, unless there is another
            m.weight
            for m in self._model.modules()
            if type(m) is nn.Embedding and all(w.shape != m.weight.shape for w in linear)
        ]
        weights = linear + [w for w in tied if _wanted(w)]
        mx.eval(weights)
        self._weights = {_address(w): w for w in weights}
        self._register(self._weights | self._base)  # which is needed when an adapter is removed
        if self._again is not None:
            for weight in linear:
                self._registry.vacate(_address(weight))

    def _linear(self) -> list[mx.array]:
        modules = (m for m in self._model.modules() if type(m) is nn.Linear)
        weights = [m.weight for m in modules if _wanted(m.weight)]
        mx.eval(weights)
        return weights

    def _register(self, weights: Mapping[int, mx.array]) -> None:
        shapes = {at: (w.shape[0], w.shape[1], w) for at, w in weights.items()}
        self._registry.keep(shapes)

    def whole(self, layers: Sequence[tuple[str, nn.Module]]) -> Iterator[tuple[str, nn.Module]]:
        """The layers of an adapter, each with the numbers of the base's weight while it is current;
        what replaces it in the model is packed then."""
        read = dict(self._again().named_modules()) if self._again else {}
        for name, layer in layers:
            linear = layer.get("linear")
            if linear is None or not read or not self._registry.vacated(_address(linear.weight)):
                yield name, layer
                continue
            empty, linear.weight = linear.weight, read.pop(name).weight
            try:
                yield name, layer
            finally:
                linear.weight = empty
            self.update()

    @property
    def bytes(self) -> int:
        """The memory that the packed weights take at most, with those for training, beyond what
        mlx counts."""
        return sum(0 if self._registry.vacated(at) else w.nbytes for at, w in self._weights.items())


def _size(weights: Mapping[int, mx.array]) -> int:
    return sum(w.nbytes for w in weights.values())


def _wanted(weight: mx.array) -> bool:
    return weight.dtype == mx.float32 and weight.ndim == 2


def _address(weight: mx.array) -> int:
    found: int = np.array(weight, copy=False).__array_interface__["data"][0]
    return found
