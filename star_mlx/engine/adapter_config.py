"""The ``adapter_config.json`` of an adapter of mlx-lm, checked before anything is computed with it.

Imports no mlx.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from star_mlx.errors import ModelError
from star_mlx.formatting import clipped
from star_mlx.store import names

MOST = 1 << 16  # of a rank, or of layers: more is damage


class LoraParameters(msgspec.Struct, frozen=True):
    """How LoRA or DoRA is laid on a model; ``keys`` are the modules of a layer, None for all."""

    rank: Annotated[int, msgspec.Meta(ge=1, le=MOST)]
    scale: float
    dropout: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    keys: list[str] | None = None


class AdapterConfig(msgspec.Struct, frozen=True):
    """The kind of an adapter and the number of last layers that it changes, at most 0 for all."""

    fine_tune_type: Literal["lora", "dora", "full"] = "lora"
    num_layers: Annotated[int, msgspec.Meta(le=MOST)] = -1
    lora_parameters: LoraParameters | None = None


def read(folder: Path) -> AdapterConfig:
    """The config of an adapter's folder.

    Raises:
        ModelError: there is none, or it is damaged or of another form.
    """
    path = folder / names.ADAPTER_CONFIG
    try:
        config = msgspec.json.decode(path.read_bytes(), type=AdapterConfig)
    except OSError as error:
        raise ModelError(
            f"{folder} holds no adapter: {path.name}: {error.strerror or error}"
        ) from None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ModelError(f"{path} is no config of an adapter: {clipped(str(error), 300)}") from None
    if config.fine_tune_type != "full" and config.lora_parameters is None:
        raise ModelError(f"{path} lacks lora_parameters with a rank and a scale")
    return config
