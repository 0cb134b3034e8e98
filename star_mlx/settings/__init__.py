"""The typed recipe: every setting of a run, declared once, here.

A recipe is a YAML file with the keys of ``Recipe``; ``recipe.loading`` reads one. Each group is
frozen, and the algorithm and the engine take these very groups. Defaults are the hyperparameters of
the paper and of its authors' code ("the reference" below; Zelikman et al. 2022, arXiv 2203.14465,
and https://github.com/ezelikman/STaR) where they have them.

May import nothing of star-mlx.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from star_mlx.settings.algorithm import Augment, OnRegression, Schedule, Star
from star_mlx.settings.asked import ModelSpec, Products, PromptsSpec, TaskSpec
from star_mlx.settings.generating import Endpoints, Generate, server_url
from star_mlx.settings.group import SettingsGroup
from star_mlx.settings.training import RowsSpec, Train

__all__ = [
    "Augment",
    "BaselineKind",
    "Endpoints",
    "Evaluate",
    "Generate",
    "MaxMemory",
    "ModelSpec",
    "OnRegression",
    "Products",
    "PromptsSpec",
    "Recipe",
    "RowsSpec",
    "Schedule",
    "Star",
    "TaskSpec",
    "Train",
    "server_url",
]

BaselineKind = Literal["zero-shot", "few-shot", "direct", "sft", "rft"]
MaxMemory = float | Literal["none"] | None  # GiB, no limit, or a share of the device's memory


class Evaluate(SettingsGroup):
    """How an iteration is measured."""

    dev: int | None = Field(None, ge=1, description="dev problems to use; null: all")
    temperature: float | None = Field(
        None, ge=0, description="temperature of measurements; null: generate.temperature"
    )
    zero_shot: bool = Field(
        True, description="also measure the base without examples, as part of iteration 0"
    )
    test: bool = Field(
        False, description="at the end, measure the best iteration and the base on the test split"
    )


class Recipe(SettingsGroup):
    """All settings of a run.

    >>> Recipe(task=TaskSpec(name="arithmetic"), star=Star(iterations=3)).star.schedule.start
    40
    """

    task: TaskSpec
    model: ModelSpec = Field(default_factory=lambda: ModelSpec())
    baseline: BaselineKind | None = Field(
        None, description="measure this baseline instead of running the loop (star-mlx baseline)"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="seed of every random choice")
    max_memory: MaxMemory = Field(
        None,
        description="memory limit of mlx in GiB, including the model; batches are made smaller to "
        "fit; none: no limit; null: 0.7 of the device's memory",
    )
    prompts: PromptsSpec = Field(default_factory=PromptsSpec)
    star: Star = Field(default_factory=lambda: Star())
    generate: Generate = Field(default_factory=lambda: Generate())
    endpoints: Endpoints = Field(default_factory=lambda: Endpoints())
    train: Train = Field(default_factory=lambda: Train())
    rows: RowsSpec = Field(default_factory=lambda: RowsSpec())
    augment: Augment = Field(default_factory=lambda: Augment())
    evaluate: Evaluate = Field(default_factory=lambda: Evaluate())

    @field_validator("max_memory", mode="before")
    @classmethod
    def _a_limit(cls, value: Any) -> Any:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is None or value == "none" or (number and 0 < value < float("inf")):
            return value
        raise ValueError(
            f"{value!r} is no limit: give a number of GiB above 0, none for no limit, or null for "
            "0.7 of the device's memory"
        )

    @model_validator(mode="after")
    def _agree(self) -> Recipe:
        if self.augment.rephrase > 1 and self.generate.temperature == 0:
            raise ValueError(
                f"augment.rephrase={self.augment.rephrase:g} needs several rewritings of a "
                "question, which at temperature 0 are all the same: give 1 or less, or a "
                "temperature, such as generate.temperature=0.7"
            )
        if self.augment.shares and self.baseline:
            raise ValueError(
                f"augment adds questions to the loop, and the baseline {self.baseline} has none: "
                "leave augment out"
            )
        return self
