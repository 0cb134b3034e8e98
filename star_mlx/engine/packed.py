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
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self._registry = model, Registry()
        self.update()

    def update(self) -> None:
        """Register the weights that the model has now, in place of those it had."""
        wanted = {}
        for module in self._model.modules():
            if type(module) not in (nn.Linear, nn.Embedding):
                continue
            weight = module.weight
            if weight.dtype == mx.float32 and weight.ndim == 2:
                mx.eval(weight)
                at = np.array(weight, copy=False).__array_interface__["data"][0]
                wanted[at] = (*weight.shape, weight)
        self._registry.keep(wanted)
