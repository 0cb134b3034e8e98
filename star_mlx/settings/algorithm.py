"""The loop: Algorithm 1, its schedule, and the new questions that it adds."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from star_mlx.settings.group import SettingsGroup

OnRegression = Literal["warn", "stop", "rollback"]


class Schedule(SettingsGroup):
    """How long iteration n trains (reference: 40 steps, then 20% more in each iteration)."""

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


class Star(SettingsGroup):
    """The options of Algorithm 1, which ``star.star`` takes."""

    iterations: int = Field(
        64,
        ge=1,
        description="iterations to run: the number N of the last one (reference: up to 64)",
    )
    problems: int | None = Field(
        10_000,
        ge=1,
        description="problems sampled in each iteration; null: all (reference: 10000)",
    )
    start_iteration: int = Field(
        1, ge=1, description="the first iteration; its number sets how long it trains"
    )
    start_from: str | None = Field(
        None,
        description="run folder from which the iterations before start_iteration are copied; "
        "null: start from the base",
    )
    rationalize: bool = Field(True, description="try failures again with the answer as a hint")
    p_rationalization: float = Field(
        1.0,
        ge=0,
        le=1,
        description="probability that a failure is rationalized (reference: 1.0)",
    )
    p_show_hint_save: float = Field(
        0.0,
        ge=0,
        le=1,
        description="probability that a rationalization is trained on with its hint in the prompt "
        "(reference: 0.0)",
    )
    rationalize_until: int | None = Field(
        None, ge=1, description="the last iteration that rationalizes failures; null: all do"
    )
    most_rationalized: float | None = Field(
        None,
        ge=0,
        description="train on at most this many rationalizations for each example kept without a "
        "hint, drawn by the seed; null: on all",
    )
    most_per_problem: int | None = Field(
        None,
        ge=1,
        description="train on at most this many different right rationales of a problem; null: on "
        "all",
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
        0,
        ge=0,
        description="also train on the examples kept in this many previous iterations "
        "(reference: 0)",
    )
    direct: bool = Field(
        False, description="train and ask for answers without rationales: the paper's baseline"
    )
    require_valid_steps: bool = Field(
        False, description="discard rationales in which a step is found to be wrong"
    )
    reject_hint_leaks: bool = Field(
        False, description="discard rationalizations that mention the hint or only repeat it"
    )
    evaluate: bool = Field(True, description="measure dev accuracy after every iteration")
    on_regression: OnRegression = Field(
        "warn",
        description="what to do if dev accuracy falls significantly below the base or the best so "
        "far: warn and go on, stop the loop, or roll back to generating with the best adapter",
    )
    patience: int | None = Field(
        None, ge=1, description="stop after this many iterations without a better dev accuracy"
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

    def rationalizes(self, n: int) -> bool:
        """Whether iteration n tries failures again with a hint."""
        return self.rationalize and (self.rationalize_until is None or n <= self.rationalize_until)

    def few_shot(self, n: int) -> bool:
        """Whether iteration n uses the few-shot prompt."""
        return self.drop_few_shot_from is None or n < self.drop_few_shot_from


class Augment(SettingsGroup):
    """The new questions that an iteration asks besides its problems, at most so many of each kind
    for each problem."""

    rephrase: float = Field(
        0.0,
        ge=0,
        description="questions in other words, written by the model: at most this many for each "
        "problem of an iteration, so 0.5 is one for every second problem",
    )
    sv: float = Field(
        0.0,
        ge=0,
        description="statements of a question and its answer, written by the model, that ask for a "
        "number in them: at most this many for each problem",
    )
    fobar: float = Field(
        0.0,
        ge=0,
        description="questions backwards, by rule, that ask for a number of the question: at most "
        "this many for each problem",
    )
    decontaminate: bool = Field(
        True,
        description="leave out new questions that are a test problem, or share 13 words in a row "
        "with one",
    )

    @model_validator(mode="before")
    @classmethod
    def _no_ansaug(cls, values: Any) -> Any:
        if isinstance(values, dict) and "ansaug" in values:
            raise ValueError(
                "ansaug is more answers to the questions as they are: give generate.samples=N "
                "instead"
            )
        return values

    @property
    def shares(self) -> dict[str, float]:
        """The kinds that are asked, with how many for each problem."""
        kinds = {"rephrase": self.rephrase, "sv": self.sv, "fobar": self.fobar}
        return {kind: share for kind, share in kinds.items() if share}

    def most(self, problems: int) -> dict[str, int]:
        """The most questions of each kind beside so many problems."""
        return {kind: int(share * problems + 1e-9) for kind, share in self.shares.items()}
