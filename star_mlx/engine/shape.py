"""The sizes of a model, and what follows from them: memory, parameters, the size of an adapter.

Imports no mlx. The memory of a batch is estimated from the model's shape. The estimates were
compared with mlx's own peaks (SmolLM2-135M: 2.65 MB per token of training; estimated: 2.6).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_mlx.settings import Train

ADAPTER_ITEM = 4  # bytes of a number of an adapter: float32


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a model, from its config.json; missing ones are assumed to be typical."""

    layers: int
    hidden: int
    inner: int
    heads: int
    groups: int
    head: int
    vocabulary: int
    itemsize: int  # bytes of a number in caches and activations

    @classmethod
    def of(cls, config: Mapping[str, Any], itemsize: int) -> Shape:
        """The shape in a config.json."""
        c = config.get("text_config") or config
        hidden = int(c.get("hidden_size") or c.get("d_model") or c.get("n_embd") or 1024)
        heads = int(c.get("num_attention_heads") or c.get("n_head") or 16)
        return cls(
            layers=int(c.get("num_hidden_layers") or c.get("n_layer") or 24),
            hidden=hidden,
            inner=int(c.get("intermediate_size") or 4 * hidden),
            heads=heads,
            groups=int(c.get("num_key_value_heads") or heads),
            head=int(c.get("head_dim") or hidden // heads),
            vocabulary=int(c.get("vocab_size") or 50_000),
            itemsize=itemsize,
        )

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values in the caches per token."""
        return 2 * self.layers * self.groups * self.head * self.itemsize

    def reading_bytes(self, seen: int) -> int:
        """Bytes of activations and scores for reading a token that sees ``seen`` others."""
        return 4 * self._activations + 16 * self.heads * seen

    @property
    def _activations(self) -> int:
        return (12 * self.hidden + 6 * self.inner) * self.itemsize

    def training_bytes(self, length: int) -> int:
        """Bytes kept per token until the backward pass, in a row of ``length`` tokens."""
        return self.layers * (self._activations + 3 * self.heads * length * self.itemsize) + 12 * (
            self.vocabulary
        )

    @property
    def linear(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of the linear modules of a layer, as most architectures have them."""
        own, shared = self.heads * self.head, self.groups * self.head
        return {
            "q_proj": (self.hidden, own),
            "k_proj": (self.hidden, shared),
            "v_proj": (self.hidden, shared),
            "o_proj": (own, self.hidden),
            "gate_proj": (self.hidden, self.inner),
            "up_proj": (self.hidden, self.inner),
            "down_proj": (self.inner, self.hidden),
        }

    @property
    def parameters(self) -> int:
        """About how many weights the model has, with one embedding for input and output."""
        layer = sum(a * b for a, b in self.linear.values())
        return self.layers * layer + self.vocabulary * self.hidden

    def adapter_parameters(self, settings: Train) -> int:
        """About how many weights a LoRA adapter with these settings has."""
        wanted = None if settings.keys is None else {k.split(".")[-1] for k in settings.keys}
        per_layer = sum(
            settings.rank * (a + b)
            for name, (a, b) in self.linear.items()
            if wanted is None or name in wanted
        )
        layers = self.layers if settings.layers < 0 else min(settings.layers, self.layers)
        return layers * per_layer


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a model's folder, which ``resolve.check`` has looked at."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config
