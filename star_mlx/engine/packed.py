"""The weights of a model whose products are computed in bfloat16."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from star_mlx.engine.onednn import Registry


class Packed:
    """Registers the weights of a model's linear layers, again after layers were replaced.

    The weights are packed at their first product. Those of a LoRA adapter are not among them: its
    products and gradients stay in float32.

    Attributes:
        bytes: the memory that the packed weights take at most, with those for training.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self._registry, self.bytes = model, Registry(), 0
        self.update()

    def update(self) -> None:
        """Register the weights that the model has now, in place of those it had."""
        modules = [m for m in self._model.modules() if type(m) in (nn.Linear, nn.Embedding)]
        linear = [m.weight for m in modules if type(m) is nn.Linear]
        tied = [  # the head, unless there is another
            m.weight
            for m in modules
            if type(m) is nn.Embedding and all(w.shape != m.weight.shape for w in linear)
        ]
        weights = [w for w in linear + tied if w.dtype == mx.float32 and w.ndim == 2]
        mx.eval(weights)
        self.bytes = sum(w.nbytes for w in weights)
        self._registry.keep({_address(w): (*w.shape, w) for w in weights})


def _address(weight: mx.array) -> int:
    found: int = np.array(weight, copy=False).__array_interface__["data"][0]
    return found
