"""How an adapter is trained, and on which rows of a file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from star_mlx.settings.group import SettingsGroup

Warmup = Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, lt=1)]  # steps, or a share


class Train(SettingsGroup):
    """How an adapter is trained, always on the original base."""

    rank: int = Field(16, ge=1, description="rank of the LoRA matrices")
    scale: float = Field(2.0, gt=0, description="factor of the LoRA product (alpha/rank)")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before the LoRA matrices")
    layers: int = Field(-1, ge=-1, description="number of last layers to adapt; -1: all")
    keys: tuple[str, ...] | None = Field(
        None, strict=False, description="modules of a layer to adapt; null: all linear ones"
    )
    learning_rate: float = Field(
        1e-4, gt=0, description="peak learning rate of Adam (reference: 1e-6, for all weights)"
    )
    warmup: Warmup = Field(
        100,
        description="steps over which the learning rate rises from 0, or a fraction such as 0.03: "
        "that share of a training's steps (reference: 100)",
    )
    decay: Literal["none", "linear", "cosine"] = Field(
        "none", description="how the learning rate falls after the warm-up"
    )
    batch_size: int = Field(80, ge=1, description="examples per step (reference: 8 x 10)")
    max_length: int = Field(
        512,
        ge=2,
        description="maximum length of an example, in tokens; longer ones are left out and counted",
    )
    grad_clip: float = Field(1.0, gt=0, description="maximum gradient norm (reference: 1)")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay (AdamW)")
    checkpoint: bool = Field(
        False, description="gradient checkpointing: uses less memory, about a third slower"
    )
    save_every: float | None = Field(
        10.0,
        gt=0,
        description="minutes of training after which its state is saved, from which a run that was "
        "stopped goes on; null: never",
    )

    @model_validator(mode="after")
    def _some_layers(self) -> Train:
        if self.layers == 0:
            raise ValueError("layers 0 adapts nothing: give -1 for all, or 1 or more")
        if self.keys == ():
            raise ValueError("keys [] adapts nothing: give null for every linear module")
        return self


class RowsSpec(SettingsGroup):
    """The rows of a file that ``star-mlx train`` trains on. The loop makes its own."""

    types: tuple[str, ...] | None = Field(
        None,
        strict=False,
        description="train only on rows with one of these values in their field `type` (such as "
        "[GSM_AnsAug, GSM_FOBAR]); null: on all",
    )
    sample: int | None = Field(
        None,
        ge=1,
        description="train on this many rows, drawn by the seed; null: on all",
    )
    split_query: bool = Field(
        False,
        description="the first line of a row's `query` is the instruction of its prompt, and the "
        "rest is the input, as in MetaMath's training; false: all of it is the instruction",
    )

    @field_validator("types")
    @classmethod
    def _some(cls, types: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if types == ():
            raise ValueError("[] selects no row: give null for rows of every type")
        return types
