"""Put LoRA layers on a base and remove them, with mlx-lm's own layers and adapter format."""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_unflatten
from mlx_lm.models.switch_layers import QuantizedSwitchLinear, SwitchLinear
from mlx_lm.tuner.dora import DoRAEmbedding, DoRALinear
from mlx_lm.tuner.lora import LoRAEmbedding, LoRALinear, LoRASwitchLinear
from mlx_lm.tuner.trainer import grad_checkpoint
from mlx_lm.tuner.utils import linear_to_lora_layers, load_adapters

from star_mlx.engine import adapter_config
from star_mlx.engine.packed import Packed
from star_mlx.errors import ModelError, RunError
from star_mlx.formatting import clipped
from star_mlx.settings import Train
from star_mlx.store import names
from star_mlx.store.files import flush_folder

WEIGHTS, CONFIG = names.WEIGHTS, names.ADAPTER_CONFIG
MOST_SHOWN = 500  # characters of another library's error
Layers = Sequence[tuple[str, nn.Module]]
Whole = Callable[[Layers], Iterator[tuple[str, nn.Module]]]


class Switch:
    """Puts one adapter at a time on a base, keeping the last one on until another is wanted.

    Args:
        fold: whether to add an adapter into copies of the weights that it changes, which take this
            many bytes and are as fast as the base's own.
        packed: the base's weights, if they are packed, which are read again to be folded.
    """

    def __init__(
        self, model: nn.Module, fold: Callable[[int], bool], packed: Packed | None = None
    ) -> None:
        self._model, self._fold, self._packed = model, fold, packed
        self._on: Hashable = None
        self._own: list[tuple[str, nn.Module]] = []  # the layers that folded ones replace

    def use(self, folder: Path | None) -> Hashable:
        """Put the adapter of a folder on, or none, and return the identity of its weights.

        Raises:
            ModelError: the folder has no adapter that fits this base.
        """
        wanted = identity(folder)
        if wanted != self._on:
            self.off()
            self._on = "unknown"  # in case loading is interrupted
            if folder is not None:
                _load(self._model, folder)
                whole = self._packed.whole if self._packed else iter
                self._own = fold(self._model, self._fold, whole)
                if self._packed and not self._own and any("m" in m for _, m in layers(self._model)):
                    self.off()
                    raise ModelError(
                        f"the adapter in {folder} is DoRA, and max_memory is too little to add it "
                        "to copies of packed weights: give a larger max_memory or "
                        "model.products=float32"
                    )
                narrow(self._model)
            self._on = wanted
        return wanted

    def off(self) -> None:
        """Remove the adapter, which leaves the bare base."""
        if self._own:
            self._model.update_modules(tree_unflatten(self._own))
            self._own = []
        remove(self._model)
        self._on = None


def identity(folder: Path | None) -> Hashable:
    """The identity of an adapter's weights, which changes if the folder is written again."""
    if folder is None:
        return None
    try:
        stat = (folder / WEIGHTS).stat()
    except OSError as error:
        raise ModelError(f"{folder} holds no adapter: {WEIGHTS} is missing") from error
    return str(folder.resolve()), stat.st_mtime_ns, stat.st_size, stat.st_ino


def _load(model: nn.Module, folder: Path) -> None:
    adapter_config.read(folder)
    try:
        load_adapters(model, str(folder))
    except (OSError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        remove(model)
        text = clipped(" ".join(str(error).split()), MOST_SHOWN)
        raise ModelError(f"the adapter in {folder} does not fit this base: {text}") from error
    model.eval()
    mx.eval(model.parameters())
    own = (array for _, m in layers(model) for array in (m["lora_a"], m["lora_b"]))
    if not all(mx.isfinite(array).all().item() for array in own):
        remove(model)
        raise ModelError(
            f"the adapter in {folder} has weights that are no numbers: train it again, with a "
            "lower train.learning_rate"
        )


@contextmanager
def fresh(model: nn.Module, settings: Train, seed: int) -> Iterator[nn.Module]:
    """Put new LoRA layers on a base, as its only trainable parameters, inside the block.

    ``lora_a`` is uniform in +-1/sqrt(inputs) (as mlx-lm draws it) from a key of the seed and the
    layer's name, ``lora_b`` zero, so a new adapter changes nothing.

    Raises:
        ModelError: ``train.keys`` names a module that the model lacks or that cannot be adapted.
    """
    _check_keys(model, settings)
    try:
        model.freeze()
        try:
            linear_to_lora_layers(model, max(settings.layers, 0), parameters(settings))
        except ValueError as error:  # a module that is not linear
            raise ModelError(f"train.keys={list(settings.keys or ())}: {error}") from None
        if not layers(model):
            raise ModelError(
                f"no module of train.keys is in the last {settings.layers} layers, so there is "
                "nothing to adapt: give a larger train.layers, or -1 for all"
            )
        for name, layer in layers(model):
            a = layer["lora_a"]
            bound = 1 / math.sqrt(a.shape[-2])
            key = mx.random.key((seed << 32 | zlib.crc32(name.encode())) % (1 << 64))
            layer["lora_a"] = mx.random.uniform(-bound, bound, a.shape, a.dtype, key=key)
            if settings.checkpoint and settings.dropout > 0:
                layer.dropout = KeyedDropout(settings.dropout)
        model.train()
        with _checkpointed(model) if settings.checkpoint else nullcontext():
            yield model
    finally:
        remove(model)
        model.freeze()
        model.eval()


class KeyedDropout(nn.Module):
    """Dropout whose mask follows from a key, so that a checkpointed layer, which is computed again
    in the backward pass, gets the same mask then. ``nn.Dropout`` would draw another one.

    Args:
        p: the probability with which an input is set to zero.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self._keep = 1.0 - p
        self._key = mx.random.key(0)  # not a parameter, because of the underscore

    def __call__(self, x: mx.array) -> mx.array:
        if not self.training:
            return x
        mask = mx.random.bernoulli(self._keep, x.shape, key=self._key)
        return mask * x * (1 / self._keep)


def new_masks(model: nn.Module) -> None:
    """Draw the keys of the next pass, if the adapter has a ``KeyedDropout``."""
    for _, layer in layers(model):
        if isinstance(dropout := layer.get("dropout"), KeyedDropout):
            dropout._key = mx.random.randint(0, 1 << 31, (2,)).astype(mx.uint32)


def _check_keys(model: nn.Module, settings: Train) -> None:
    """Refuse ``train.keys`` that the model lacks."""
    if settings.keys is None:
        return
    linear = (nn.Linear, nn.QuantizedLinear)
    own = {name: type(m) for layer in model.layers for name, m in layer.named_modules() if name}
    there = own.keys() | {name for name, _ in model.named_modules()}
    if unknown := next((key for key in settings.keys if key not in there), None):
        names = ", ".join(sorted(name for name, kind in own.items() if issubclass(kind, linear)))
        raise ModelError(
            f"train.keys names {unknown}, which no layer of the model has; its linear modules: "
            f"{names}"
        )


@contextmanager
def _checkpointed(model: nn.Module) -> Iterator[None]:
    """Inside the block, the model's layers keep only their inputs for the backward pass."""
    kinds = {type(block) for block in model.layers}
    plain = {kind: kind.__call__ for kind in kinds}
    try:
        for kind in kinds:
            grad_checkpoint(next(block for block in model.layers if type(block) is kind))
        yield
    finally:
        for kind, call in plain.items():
            kind.__call__ = call


def layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers of the adapter on a model, with their names."""
    kinds = (LoRALinear, LoRAEmbedding, LoRASwitchLinear, DoRALinear, DoRAEmbedding)
    return [(name, m) for name, m in model.named_modules() if isinstance(m, kinds)]


def remove(model: nn.Module) -> None:
    """Put the base's own layers back in place, with the same arrays as before."""
    own = [(name, m["linear"] if "linear" in m else m["embedding"]) for name, m in layers(model)]
    if own:
        model.update_modules(tree_unflatten(own))


def fold(
    model: nn.Module, wanted: Callable[[int], bool], whole: Whole = iter
) -> list[tuple[str, nn.Module]]:
    """Replace the adapter's layers by layers whose weights include the adapter's product. They are
    not quantized: rounded to few bits again, they would lose it.

    Args:
        wanted: whether to do so, given the bytes of the new weights.
        whole: goes through the adapter's layers, and gives each the numbers of its weights.

    Returns:
        The names and the replaced layers of the base, with unchanged weights.
    """
    adapted = layers(model)
    own = [(name, m["linear"] if "linear" in m else m["embedding"]) for name, m in adapted]
    if not adapted or not wanted(sum(dense_bytes(m) for _, m in own)):
        return []
    for name, layer in whole(adapted):
        made = layer.fuse(dequantize=True)
        mx.eval(made.parameters())  # one layer at a time
        model.update_modules(tree_unflatten([(name, made)]))
    model.freeze()
    model.eval()
    return own


def dense_bytes(layer: nn.Module) -> int:
    """Bytes of the weights of a layer, or of a dequantized copy of them."""
    if "scales" not in layer:
        return int(layer.weight.nbytes)
    kind = layer.scales.dtype
    size = kind.size if mx.issubdtype(kind, mx.floating) else 2  # in some modes they are bytes
    return int(layer.weight.size * 32 // layer.bits * size)


def copies(model: nn.Module) -> int:
    """Bytes of dequantized copies of all weights that an adapter of the layers can change."""
    kinds = (nn.Linear, nn.QuantizedLinear, SwitchLinear, QuantizedSwitchLinear)
    modules = (m for layer in model.layers for m in layer.modules())
    return sum(dense_bytes(m) for m in modules if isinstance(m, kinds))


def narrow(model: nn.Module) -> None:
    """Give the matrices of the adapter on a model the type in which its layers compute.

    They are trained in float32, and would make every product with them float32, with two
    conversions each. DoRA's stay as they are: they determine the norms of its weights.
    """
    for _, layer in layers(model):
        if "m" in layer:
            continue
        linear = layer["linear"] if "linear" in layer else layer["embedding"]
        dtype = (linear.scales if "scales" in linear else linear.weight).dtype
        if mx.issubdtype(dtype, mx.floating):
            layer.lora_a, layer.lora_b = layer.lora_a.astype(dtype), layer.lora_b.astype(dtype)
    mx.eval(model.parameters())


def parameters(settings: Train) -> dict[str, object]:
    """``lora_parameters`` of an adapter_config.json."""
    keys = {} if settings.keys is None else {"keys": list(settings.keys)}
    return {"rank": settings.rank, "scale": settings.scale, "dropout": settings.dropout, **keys}


def save(model: nn.Module, settings: Train, out: Path) -> None:
    """Write the adapter on a model to a folder, flushed to the disk, in the format of ``mlx_lm``.

    Raises:
        RunError: it cannot be written.
    """
    weights = dict(tree_flatten(model.trainable_parameters()))
    config = {
        "fine_tune_type": "lora",
        "lora_parameters": parameters(settings),
        "num_layers": max(settings.layers, 0) or len(model.layers),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        mx.save_safetensors(str(out / WEIGHTS), dict(sorted(weights.items())), {"format": "mlx"})
        (out / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
        for path in (out / WEIGHTS, out / CONFIG):
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        flush_folder(out)
    except (OSError, RuntimeError) as error:  # mlx raises RuntimeError for a full disk
        raise RunError(
            f"{out} cannot be written: {' '.join(str(error).split())}; finished work is kept: fix "
            "this and give the same command again"
        ) from error
