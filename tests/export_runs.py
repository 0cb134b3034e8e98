"""Run folders with adapters of every shape, made without training, for the tests of exports."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from star_mlx.engine import resolve
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.recipe.loading import load
from star_mlx.run import loop
from star_mlx.store import journal, writing
from star_mlx.types import Trained
from tests.scripts import learner

SMALL = ["task.options.train=200", "star.iterations=1", "star.problems=12", "evaluate.dev=12",
         "generate.chunk=12", "star.schedule.start=2"]  # fmt: skip


class Stand(ScriptedEngine):
    """The scripted engine under the name and content of a real base."""

    def __init__(self, base: resolve.Found) -> None:
        super().__init__(learner)
        self._base = base

    def describe(self) -> Mapping[str, Any]:
        content = resolve.content_hash(self._base.folder)
        return {"name": self._base.name, "hash": content, "revision": None}


def scripted(folder: Path, model: str = "tiny", *overrides: str, **adapter: Any) -> Path:
    """A run of one iteration on a model, whose adapter is random; see ``write_adapter``."""
    base = resolve.find(model)
    recipe = load(None, task="arithmetic", model=model, overrides=[*SMALL, *overrides])
    loop.run(recipe, folder, lambda event: None, engine=Stand(base))
    place = folder / "iterations/001/adapter"
    shutil.rmtree(place)
    write_adapter(place, base.folder, **adapter)
    vouch(folder)
    return folder


def vouch(run: Path) -> None:
    """Journal the checksums of an adapter that was put in the place of iteration 1's."""
    with writing.opened(run, {}) as store:
        fields = msgspec.structs.asdict(journal.read(run).trained[1])
        del fields["iteration"], fields["files"]
        store.save_trained(1, Trained(Path(), **fields))


def write_adapter(
    out: Path,
    base: Path,
    *,
    layers: int = 0,
    keys: tuple[str, ...] | None = None,
    dora: bool = False,
    rank: int = 4,
    scale: float = 2.0,
    size: float = 0.05,
) -> None:
    """A random adapter on the last ``layers`` layers (0: all), as mlx-lm itself would save it."""
    from star_mlx.engine import blas

    blas.load()
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_lm.tuner.utils import linear_to_lora_layers
    from mlx_lm.utils import load_model

    model, _ = load_model(base)
    settings = {"rank": rank, "scale": scale, "dropout": 0.0}
    settings |= {} if keys is None else {"keys": list(keys)}
    linear_to_lora_layers(model, layers, settings, use_dora=dora)
    arrays = {}
    for i, (name, array) in enumerate(sorted(tree_flatten(model.parameters()))):
        noise = mx.random.normal(array.shape, key=mx.random.key(i))
        leaf = name.rpartition(".")[2]
        if leaf == "lora_a":
            arrays[name] = noise / array.shape[-2] ** 0.5
        elif leaf == "lora_b":
            arrays[name] = size * noise
        elif leaf == "m":
            arrays[name] = array.astype(mx.float32) * (1 + 0.05 * noise)
    out.mkdir(parents=True)
    mx.save_safetensors(str(out / "adapters.safetensors"), arrays, {"format": "mlx"})
    config = {
        "fine_tune_type": "dora" if dora else "lora",
        "lora_parameters": settings,
        "num_layers": layers or len(model.layers),
    }
    (out / "adapter_config.json").write_text(json.dumps(config))


def alter(adapter: Path, change: Any) -> None:
    """Write a run's adapter's arrays anew, as ``change`` (name -> array) leaves them."""
    import mlx.core as mx

    path = adapter / "adapters.safetensors"
    arrays = {name: mx.array(array) for name, array in mx.load(str(path)).items()}
    mx.eval(list(arrays.values()))
    mx.save_safetensors(str(path), change(arrays), {"format": "mlx"})
    vouch(adapter.parents[2])
