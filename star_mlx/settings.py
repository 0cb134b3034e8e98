"""The typed recipe: every setting of a run, declared once, here.

A recipe is a YAML file with the keys of ``Recipe``; ``recipe.loading`` reads one. Each group is
frozen, and the algorithm and the engine take these very groups. Defaults are the hyperparameters of
the paper and of its authors' code ("the reference" below; Zelikman et al. 2022, arXiv 2203.14465,
and https://github.com/ezelikman/STaR) where they have them.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

BaselineKind = Literal["zero-shot", "few-shot", "direct", "sft"]
OnRegression = Literal["warn", "stop", "rollback"]


class _Group(BaseModel):
    """A group of settings: unknown keys refused, no value silently converted, never changed.

    >>> Train(rank=8, learning_rate=5e-4).rank
    8
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class TaskSpec(_Group):
    """What is learned. ``task: NAME`` is short for ``task: {name: NAME}``."""

    name: str = Field(min_length=1, description="a name that `star-mlx tasks` lists")
    options: dict[str, Any] = Field(
        default_factory=dict, description="the task's own options, checked by the task"
    )


class ModelSpec(_Group):
    """The base. ``model: PATH`` and ``model: owner/name@revision`` are short forms."""

    path: str = Field(
        "tiny", min_length=1, description="tiny (embedded), a folder, or owner/name on the Hub"
    )
    revision: str | None = Field(None, description="branch, tag or commit on the Hub")
    trust_remote_code: bool = Field(
        False, description="run Python code that comes with the model: only if you trust its owner"
    )


class PromptsSpec(_Group):
    """The few-shot prompt set P of Algorithm 1."""

    file: str | None = Field(
        None,
        description="YAML file of few-shot examples, relative to the recipe; null: the task's own",
    )
    k: int | None = Field(
        None, ge=0, description="draw so many examples from the training data instead of a file"
    )
    seed: int = Field(0, ge=0, description="seed of that draw")
    chat: bool = Field(
        False, description="put prompts in the model's chat template: for instruct models"
    )
    system: str | None = Field(None, description="system message of the chat template")

    @model_validator(mode="after")
    def _agree(self) -> PromptsSpec:
        if self.file is not None and self.k is not None:
            raise ValueError("prompts.file and prompts.k exclude each other: give one")
        if self.system is not None and not self.chat:
            raise ValueError("prompts.system needs prompts.chat=true")
        return self


class Schedule(_Group):
    """How long iteration n trains (reference: exponential, 40 steps and 20% more each time)."""

    kind: Literal["exponential", "linear", "epochs"] = Field(
        "exponential",
        description="exponential: start*factor^(n-1) steps; linear: start+add*(n-1) steps; "
        "epochs: base+add_epochs*(n-1) passes",
    )
    start: int = Field(40, ge=1, description="steps of iteration 1 (reference: 40)")
    factor: float = Field(1.2, gt=0, description="exponential growth (reference: 1.2)")
    add: int = Field(20, ge=0, description="linear growth, in steps (reference: 20)")
    base: float = Field(1.0, gt=0, description="epochs of iteration 1 (reference: 1.0)")
    add_epochs: float = Field(0.2, ge=0, description="growth in epochs (reference: 0.2)")


class Star(_Group):
    """The options of Algorithm 1, which ``star.star`` takes."""

    iterations: int = Field(64, ge=1, description="the last iteration, N (reference: up to 64)")
    problems: int | None = Field(
        10_000, ge=1, description="sampled each iteration; null: all (reference: 10000)"
    )
    start_iteration: int = Field(
        1, ge=1, description="the first iteration: its number sets how long it trains"
    )
    start_from: str | None = Field(
        None,
        description="run folder whose iterations before start_iteration are taken over; "
        "null: begin at the base",
    )
    rationalize: bool = Field(True, description="try failures again with the answer as a hint")
    p_rationalization: float = Field(
        1.0, ge=0, le=1, description="share of the failures to rationalize (reference: 1.0)"
    )
    p_show_hint_save: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of rationalizations trained on with their hint shown (reference: 0.0)",
    )
    few_shot_train: bool = Field(
        False, description="keep the few-shot prompt in the training examples (reference: false)"
    )
    drop_few_shot_from: int | None = Field(
        None,
        ge=1,
        description="generate without the few-shot prompt from this iteration on; "
        "null: never (reference: null)",
    )
    carry_over: int = Field(
        0, ge=0, description="train also on what the last so many iterations kept (reference: 0)"
    )
    direct: bool = Field(False, description="answers alone, no rationales: the paper's baseline")
    require_valid_steps: bool = Field(
        False, description="keep no rationale in which a step is found wrong"
    )
    reject_hint_leaks: bool = Field(
        False, description="keep no rationalization that speaks of its hint or only repeats it"
    )
    evaluate: bool = Field(True, description="measure dev accuracy after every iteration")
    on_regression: OnRegression = Field(
        "warn",
        description="where dev accuracy falls significantly below the best before or the base: "
        "go on, end the loop, or generate next with the best adapter so far",
    )
    patience: int | None = Field(
        None, ge=1, description="stop when so many iterations brought no better dev accuracy"
    )
    schedule: Schedule = Field(default_factory=lambda: Schedule())

    @model_validator(mode="after")
    def _agree(self) -> Star:
        if self.start_iteration > self.iterations:
            raise ValueError(
                f"start_iteration {self.start_iteration} is after the last one "
                f"(star.iterations={self.iterations})"
            )
        if self.start_from is not None and self.start_iteration == 1:
            raise ValueError(
                "start_from takes over iterations before start_iteration: give "
                "star.start_iteration=2 or more"
            )
        if self.patience is not None and not self.evaluate:
            raise ValueError("patience needs dev accuracies: give star.evaluate=true")
        return self

    def few_shot(self, n: int) -> bool:
        """Whether the few-shot prompt is in front in iteration n."""
        return self.drop_few_shot_from is None or n < self.drop_few_shot_from


class Generate(_Group):
    """How rationales are generated."""

    max_tokens: int = Field(256, ge=1, description="most tokens of a completion")
    temperature: float = Field(
        0.0, ge=0, description="0 is greedy (reference: 0.01, nearly so; high ones do harm)"
    )
    top_p: float = Field(0.9, gt=0, le=1, description="nucleus sampling (reference: 0.9)")
    samples: int = Field(
        1, ge=1, description="direct attempts at each problem; distinct right rationales are kept"
    )
    batch_size: int = Field(32, ge=1, description="completions decoded at once")
    stop_repeats: bool = Field(
        False, description="end greedy completions that go round in a circle, as cut off"
    )
    chunk: int = Field(
        256, ge=1, description="problems journalled at a time: what an interruption can cost"
    )

    @model_validator(mode="after")
    def _differ(self) -> Generate:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(
                f"{self.samples} samples at temperature 0 are all the same: give a temperature, "
                "such as generate.temperature=0.7"
            )
        return self


class Train(_Group):
    """How an adapter is trained, always from the base."""

    rank: int = Field(16, ge=1, description="rank of the LoRA matrices")
    scale: float = Field(2.0, gt=0, description="factor of the LoRA product (alpha/rank)")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in front of the LoRA matrices")
    layers: int = Field(-1, ge=-1, description="last so many layers are adapted; -1: all")
    keys: tuple[str, ...] | None = Field(
        None, strict=False, description="modules of a layer to adapt; null: every linear one"
    )
    learning_rate: float = Field(
        1e-4, gt=0, description="Adam's peak rate (reference: 1e-6, for all weights)"
    )
    warmup: int = Field(
        100, ge=0, description="steps in which the rate rises from 0 (reference: 100)"
    )
    decay: Literal["none", "linear", "cosine"] = Field(
        "none", description="how the rate falls after warm-up"
    )
    batch_size: int = Field(80, ge=1, description="examples a step (reference: 8 x 10)")
    max_length: int = Field(
        512, ge=2, description="longest example in tokens; longer ones are refused and counted"
    )
    grad_clip: float = Field(1.0, gt=0, description="largest gradient norm (reference: 1)")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay (AdamW)")
    checkpoint: bool = Field(
        False, description="gradient checkpointing: less memory, about a third slower"
    )

    @model_validator(mode="after")
    def _some_layers(self) -> Train:
        if self.layers == 0:
            raise ValueError("layers 0 adapts nothing: give -1 for all, or 1 or more")
        if self.keys == ():
            raise ValueError("keys [] adapts nothing: give null for every linear module")
        return self


class Evaluate(_Group):
    """How an iteration is measured."""

    dev: int | None = Field(None, ge=1, description="dev problems to use; null: all")
    temperature: float | None = Field(
        None, ge=0, description="of the measurements; null: generate.temperature"
    )
    zero_shot: bool = Field(
        True, description="measure the base without examples too, as part of iteration 0"
    )
    test: bool = Field(
        False, description="measure the best iteration and the base on the test split at the end"
    )


class Recipe(_Group):
    """Everything a run is made from.

    >>> Recipe(task=TaskSpec(name="arithmetic"), star=Star(iterations=3)).star.schedule.start
    40
    """

    task: TaskSpec
    model: ModelSpec = Field(default_factory=lambda: ModelSpec())
    baseline: BaselineKind | None = Field(
        None, description="measure this instead of running the loop (star-mlx baseline)"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="what every random choice follows from")
    max_memory: float | None = Field(
        None,
        gt=0,
        description="GiB that mlx may hold, the model included: batches are made smaller to fit; "
        "null: no bound",
    )
    prompts: PromptsSpec = Field(default_factory=PromptsSpec)
    star: Star = Field(default_factory=lambda: Star())
    generate: Generate = Field(default_factory=lambda: Generate())
    train: Train = Field(default_factory=lambda: Train())
    evaluate: Evaluate = Field(default_factory=lambda: Evaluate())
