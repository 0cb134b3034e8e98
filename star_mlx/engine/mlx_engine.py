"""``types.Engine`` on MLX: a base, the adapters on it, decoding and training."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from star_mlx.engine import adapter, auto, batches, decode, device, fused, onednn, resolve
from star_mlx.engine import lora as training
from star_mlx.engine.device import Bound, on_cpu
from star_mlx.engine.lanes import NARROW, Lanes
from star_mlx.engine.load import Base
from star_mlx.engine.memory import Memory
from star_mlx.engine.needs import Needs, shape_of, work
from star_mlx.engine.packed import Packed
from star_mlx.engine.ranks import Ranks
from star_mlx.engine.text import Text
from star_mlx.settings import Products, Recipe, Train
from star_mlx.types import Amount, Completion, Decoding, Example, Step, Trained


class MlxEngine:
    """A base in memory, with a bound on all the memory that its work takes. Not thread-safe."""

    def __init__(
        self, base: Base, bound: Bound | None = None, products: Products = "float32"
    ) -> None:
        self._base = base
        self._text = Text(base.tokenizer)
        self._prefixes = decode.Prefixes()
        inner = base.config.get("text_config") or base.config
        self._lanes = Lanes(int(inner.get("hidden_size") or NARROW))
        self._packed = Packed(base.model, base.again) if products == "bfloat16" else None
        self._switch = adapter.Switch(base.model, self._fold, self._packed)
        self._bound, self._shape = bound, shape_of(base.found.folder, base.config)
        self._memory = Memory(bound, self._shape, self._held)
        self._weights = sum(a.nbytes for _, a in tree_flatten(base.model.parameters()))
        self._copies = adapter.copies(base.model)
        self._ranks: Ranks | None = None
        device.give_back()

    def join(self, ranks: Ranks) -> None:
        """Train together with other ranks from now on, each of which has this base."""
        self._ranks = ranks

    @property
    def trains_along(self) -> bool:
        """Whether other ranks must train at the same time."""
        return self._ranks is not None

    def describe(self) -> Mapping[str, Any]:
        """Name, device, bits, parameters, context length and content hash of the base; whether
        rows share a prefix; on a GPU, whether adapters are folded for decoding; and the record of
        its import."""
        base, form = self._base, self._base.form
        imported = resolve.imported(base.found.folder)
        alone = "" if form.copied else ", one row at a time"
        return {
            "name": base.found.name,
            "revision": base.found.revision,
            "device": mx.default_device().type.name,
            "architecture": base.config["model_type"],
            "bits": base.bits,
            "parameters": base.parameters,
            "context": base.context,
            "hash": base.hash,
            "prefix": f"copied{alone}: {form.unshared}" if form.unshared else "shared",
            **({} if on_cpu() else {"adapter": "folded" if self._folds else "beside"}),
            **({"products": f"bfloat16, oneDNN {onednn.version()}"} if self._packed else {}),
            **({"imported": imported} if imported else {}),
        }

    def encode(self, text: str) -> list[int]:
        """The token ids of a text that follows a prompt: no special tokens are added."""
        return self._text.encode(text)

    def chat(
        self,
        turns: Sequence[tuple[str, str]],
        *,
        reply: bool,
        template: Mapping[str, Any] = {},
        date: str | None = None,
    ) -> str:
        """(role, content) turns in the model's chat template; see ``types.Engine``."""
        return self._text.chat(turns, reply=reply, template=template, date=date)

    @property
    def start(self) -> str:
        """The text of the tokens that are put before every prompt; see ``Text.start``."""
        return self._text.start

    def completed(self, ids: Sequence[int], stops: Sequence[str]) -> tuple[str, list[int], bool]:
        """A completion of tokens that were drawn elsewhere; see ``Text.completed``."""
        return self._text.completed(ids, stops)

    def write_peft(self, adapter: Path, out: Path) -> None:
        """Write an adapter of this base to the folder ``out`` in the form of PEFT.

        Raises:
            ModelError: PEFT has no form for it.
        """
        from star_mlx.engine import peft

        peft.write(adapter, self._base.found, out)

    def generate(
        self,
        prompts: Sequence[str],
        decoding: Decoding,
        *,
        prefix: str,
        adapter: Path | None,
        seeds: Sequence[int],
        progress: Callable[[int, int], None],
    ) -> list[Completion]:
        """Complete every prompt; see ``types.Engine``."""
        on = self._use(adapter)
        with fused.used(self._packed is not None):
            made = decode.generate(
                self._base.model,
                self._base.form,
                self._lanes,
                self._memory,
                self._text,
                prompts,
                decoding,
                prefix=prefix,
                seeds=seeds,
                context=self._base.context,
                prefixes=self._prefixes,
                adapter=on,
                progress=progress,
            )
        device.give_back()
        return made

    def train(
        self,
        examples: Sequence[Example],
        settings: Train,
        amount: Amount,
        *,
        seed: int,
        out: Path,
        progress: Callable[[Step], None],
    ) -> Trained:
        """Train a fresh adapter on the base and write it to ``out``; see ``types.Engine``."""
        self._use(None)
        limit = min(settings.max_length, self._base.context)
        rows, too_long = batches.rows(examples, self._text, limit)
        try:
            return training.train(
                self._base.model,
                self._base.form,
                self._lanes,
                self._memory,
                rows,
                settings,
                amount,
                seed=seed,
                out=out,
                too_long=too_long,
                progress=progress,
                ranks=self._ranks,
            )
        finally:
            onednn.trained()
            device.give_back()

    def sized(self, recipe: Recipe, *, prefix: str, prompt: str) -> Recipe:
        """The recipe with numbers for ``auto``, for this base on this device, with this few-shot
        prompt and this longest question."""
        tried = auto.sized(recipe, self._shape.hidden)
        needs = self.needs(tried, prefix=prefix, prompt=prompt)
        return auto.sized(recipe, self._shape.hidden, needs)

    def needs(self, recipe: Recipe, *, prefix: str, prompt: str) -> Needs:
        """The memory that a recipe needs, with this few-shot prompt and this longest question."""
        whole = len(self._text.prompt(prefix + prompt))
        shared = len(self._text.prompt(prefix)) if prefix and not self._base.form.unshared else 0
        return work(
            recipe, self._shape, self._held(), self._bound, prefix=shared, prompt=whole - shared,
            copies=None if on_cpu() else self._copies * self._folds,
        )  # fmt: skip

    @property
    def _folds(self) -> bool:
        return self._memory.folds(self._weights, self._copies)

    def _use(self, adapter: Path | None) -> Hashable:
        """Put an adapter on, or none; return the identity of its weights."""
        on = self._switch.use(adapter)
        if self._packed is not None:
            self._packed.update()
        return on

    def _held(self) -> int:
        """Bytes in use, those of packed weights included."""
        return int(mx.get_active_memory()) + (self._packed.bytes if self._packed else 0)

    def _fold(self, size: int) -> bool:
        return self._memory.spare(size) if on_cpu() else self._folds

    def memory(self) -> tuple[int, int]:
        """Bytes in use by mlx now, and the peak since the last call of ``peak_memory``."""
        return int(mx.get_active_memory()), int(mx.get_peak_memory())

    def peak_memory(self) -> int:
        """The peak of bytes in use by mlx since the last call of this method."""
        peak = int(mx.get_peak_memory())
        mx.reset_peak_memory()
        return peak
