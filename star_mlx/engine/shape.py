"""The sizes of a model, and what follows from them: memory, parameters, the size of an adapter.

Imports no mlx. The memory of a batch is estimated from the model's shape; ``peaks`` has the
coefficients for training.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_mlx.engine import batches, peaks
from star_mlx.settings import Train

ADAPTER_ITEM = 4  # bytes of a number of an adapter: float32
AT_ONCE = 1.1  # logits computed at a time take so many times the memory of a pass with no more


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
    compiled: bool = False  # whether training steps are
    more: float = 1.0  # as many bytes of training as a llama of this shape
    recurrent: int = 0  # layers of linear attention
    state: int = 0  # the numbers of the state of such a layer

    @classmethod
    def of(cls, config: Mapping[str, Any], itemsize: int, compiled: bool = False) -> Shape:
        """The shape in a config.json."""
        c = config.get("text_config") or config
        hidden = int(c.get("hidden_size") or c.get("d_model") or c.get("n_embd") or 1024)
        heads = int(c.get("num_attention_heads") or c.get("n_head") or 16)
        layers = int(c.get("num_hidden_layers") or c.get("n_layer") or 24)
        linear = ("linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim")
        state = math.prod(int(c.get(name) or 0) for name in linear)
        every = int(c.get("full_attention_interval") or 4)
        return cls(
            layers=layers,
            hidden=hidden,
            inner=int(c.get("intermediate_size") or 4 * hidden),
            heads=heads,
            groups=int(c.get("num_key_value_heads") or heads),
            head=int(c.get("head_dim") or hidden // heads),
            vocabulary=int(c.get("vocab_size") or 50_000),
            itemsize=itemsize,
            compiled=compiled,
            more=peaks.factor(str(c.get("model_type") or config.get("model_type") or "")),
            recurrent=layers - layers // every if state else 0,
            state=state,
        )

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values in the caches per token."""
        return 2 * self.layers * self.groups * self.head * self.itemsize

    def prefix_bytes(self, tokens: int) -> int:
        """Bytes of the caches of the prefix that rows share."""
        return tokens * self.cache_bytes

    def widened_bytes(self, tokens: int) -> int:
        """Bytes of the copy of such a prefix in float32, which rows in half precision attend to."""
        return 2 * tokens * self.cache_bytes if self.itemsize < 4 else 0

    def reading_bytes(self, seen: int) -> int:
        """Bytes of activations and scores for reading a token that sees ``seen`` others."""
        return 4 * self._activations + 16 * self.heads * seen

    @property
    def _activations(self) -> int:
        return (12 * self.hidden + 6 * self.inner) * self.itemsize

    def row_bytes(self, tokens: int) -> int:
        """Bytes for decoding a row of ``tokens`` tokens, while its cache grows. In half precision,
        keys behind a prefix are float32."""
        keys = 1.5 if self.itemsize < 4 else 1.0
        return int(1.5 * keys * tokens * self.cache_bytes) + 8 * self.vocabulary

    def training_bytes(self, length: int, settings: Train, supervised: float = 1.0) -> int:
        """Bytes per token of a training pass, at its peak, in rows of ``length`` tokens of which
        the share ``supervised`` counts in the loss, at most."""
        read = self._inputs(settings)
        logits = supervised * self.vocabulary
        if not self.compiled and self.itemsize == 4:  # some at a time, see ``loss_sum``
            logits = min(logits, AT_ONCE * batches.CPU_LOGITS / length)
        sizes = {
            "hidden": self.hidden,
            "inner": self.inner,
            "shared": self.groups * self.head,
            "scores": self.heads * length,
            "read": read,
            "dropped": read if settings.dropout else 0,
            "logits": logits,
        }
        found = peaks.of(half=self.itemsize < 4, compiled=self.compiled)
        layers = self._adapted(settings)
        most = max(
            layers * peaks.bytes_of(one.kept, sizes) + peaks.bytes_of(one.once, sizes)
            for one in (found.checkpointed if settings.checkpoint else (found.plain,))
        )
        recurrent = layers * self.recurrent / self.layers
        return int(self.more * most + self.state * peaks.of_states(recurrent, settings.checkpoint))

    def adapter_bytes(self, settings: Train) -> int:
        """Bytes of an adapter in training, with its gradient and the optimizer's two averages."""
        return int(4.8 * ADAPTER_ITEM * self.adapter_parameters(settings))

    def _adapted(self, settings: Train) -> int:
        return self.layers if settings.layers < 0 else min(settings.layers, self.layers)

    def _inputs(self, settings: Train) -> int:
        """The numbers that the adapted modules of a layer read per token."""
        wanted = _last_names(settings)
        read = (a for name, (a, _) in self.linear.items() if wanted is None or name in wanted)
        return sum(read) or self.inner

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
        return self.linear_parameters + self.vocabulary * self.hidden

    @property
    def linear_parameters(self) -> int:
        """About how many weights the linear modules of all layers have."""
        return self.layers * sum(a * b for a, b in self.linear.values())

    def adapter_parameters(self, settings: Train) -> int:
        """About how many weights a LoRA adapter with these settings has."""
        wanted = _last_names(settings)
        per_layer = sum(
            settings.rank * (a + b)
            for name, (a, b) in self.linear.items()
            if wanted is None or name in wanted
        )
        return self._adapted(settings) * per_layer


def _last_names(settings: Train) -> set[str] | None:
    """The names of the adapted modules in a layer; None for all."""
    return None if settings.keys is None else {key.split(".")[-1] for key in settings.keys}


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a model's folder, which ``resolve.check`` has looked at."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config
