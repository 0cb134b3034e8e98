"""The typed recipe: every setting of a run, declared once, here.

A recipe is a YAML file with the keys of ``Recipe``; ``recipe.loading`` reads one. Each group is
frozen, and the algorithm and the engine take these very groups. Defaults are the hyperparameters of
the paper and of its authors' code ("the reference" below; Zelikman et al. 2022, arXiv 2203.14465,
and https://github.com/ezelikman/STaR) where they have them.
"""

from __future__ import annotations

from datetime import date
from types import NoneType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

BaselineKind = Literal["zero-shot", "few-shot", "direct", "sft", "rft"]
OnRegression = Literal["warn", "stop", "rollback"]
Products = Literal["float32", "bfloat16"]
MaxMemory = float | Literal["none"] | None  # GiB, no limit, or a share of the device's memory
Size = Annotated[int, Field(ge=1)] | Literal["auto"]  # a number, or the device's own
Warmup = Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, lt=1)]  # steps, or a share
# Names that are arguments of applying a template, or that it gets from the prompts.
_OWN_ARGUMENTS = {
    *("self", "conversation", "messages", "tools", "documents", "chat_template", "padding"),
    *("add_generation_prompt", "continue_final_message", "tokenize", "sanitize_control_tokens"),
    *("truncation", "max_length", "return_tensors", "return_dict", "tokenizer_kwargs"),
    *("return_assistant_tokens_mask", "strftime_now", "raise_exception"),
}


class _Group(BaseModel):
    """A frozen group of settings. Unknown keys are refused, and values are not converted.

    >>> Train(rank=8, learning_rate=5e-4).rank
    8
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class TaskSpec(_Group):
    """The task to learn. ``task: NAME`` is short for ``task: {name: NAME}``."""

    name: str = Field(min_length=1, description="a name listed by `star-mlx tasks`")
    options: dict[str, Any] = Field(
        default_factory=dict, description="the task's own options, checked by the task"
    )


class ModelSpec(_Group):
    """The base model. ``model: PATH`` and ``model: owner/name@revision`` are short forms."""

    path: str = Field(
        "tiny", min_length=1, description="tiny (embedded), a folder, or owner/name on the Hub"
    )
    revision: str | None = Field(None, description="branch, tag or commit on the Hub")
    trust_remote_code: bool = Field(
        False, description="run Python code that comes with the model; only if you trust its owner"
    )
    products: Products = Field(
        "float32",
        description="number type of the factors in products with the base's weights, on a CPU: "
        "bfloat16 is several times as fast on processors with instructions for it, but rounds; "
        "see docs/performance.md",
    )


class PromptsSpec(_Group):
    """The few-shot prompt set P of Algorithm 1."""

    file: str | None = Field(
        None,
        description="YAML file of few-shot examples, relative to the recipe; null: those of the "
        "task",
    )
    k: int | None = Field(
        None, ge=0, description="draw this many examples from the training data, instead of a file"
    )
    seed: int = Field(0, ge=0, description="seed of that draw")
    chat: bool = Field(
        False, description="format prompts with the model's chat template, for instruct models"
    )
    system: str | None = Field(None, description="system message of the chat template")
    ask: str | None = Field(
        None,
        description="how a problem is asked: a text with {question}, which includes its choices; "
        "null: as the task does",
    )
    hint: str | None = Field(
        None,
        description="how a problem is asked with its answer as a hint: a text with {question} and "
        "{answer}; null: as the task does, or with prompts.ask, the answer in parentheses after "
        "the question",
    )
    template: dict[str, Any] = Field(
        default_factory=dict,
        description="arguments of the chat template, such as {enable_thinking: false}; --dry-run "
        "shows their effect",
    )
    date: str | None = Field(
        None,
        description="the day that a chat template takes for today, such as 2026-01-31; null: the "
        "day the run begins",
    )

    @field_validator("template")
    @classmethod
    def _plain(cls, template: dict[str, Any]) -> dict[str, Any]:
        for name, value in template.items():
            if not name.isidentifier() or name in _OWN_ARGUMENTS:
                raise ValueError(
                    f"{name!r} cannot be an argument of a chat template: give the name of a "
                    "variable that the template reads, such as enable_thinking"
                )
            if not isinstance(value, str | int | float | NoneType):
                raise ValueError(
                    f"{name} should be true, false, a number, a text or null, but is {value!r}"
                )
        return template

    @field_validator("date", mode="before")
    @classmethod
    def _day(cls, day: Any) -> Any:
        if type(day) is date:  # as YAML reads it without quotes
            return day.isoformat()
        if not isinstance(day, str):
            return day
        try:
            if date.fromisoformat(day).isoformat() == day:
                return day
        except ValueError:
            pass
        raise ValueError(f"{day!r} is no date: write year-month-day, such as '2026-01-31'")

    @field_validator("ask", "hint")
    @classmethod
    def _filled(cls, text: str | None, info: ValidationInfo) -> str | None:
        """Refuse a wording without a place that it needs, or with one that is not filled."""
        needed = ("question",) if info.field_name == "ask" else ("question", "answer")
        if text is None:
            return None
        shown = " and ".join(f"{{{place}}}" for place in needed)
        if lacks := next((place for place in needed if f"{{{place}}}" not in text), None):
            raise ValueError(f"it lacks {{{lacks}}}: give a text with {shown}")
        for place in ("answer", "choices", "rationale"):
            if place not in needed and f"{{{place}}}" in text:
                more = " ({question} includes the choices)" if place == "choices" else ""
                raise ValueError(f"it has {{{place}}}, but only {shown} can be filled in{more}")
        return text

    @model_validator(mode="after")
    def _agree(self) -> PromptsSpec:
        if self.file is not None and self.k is not None:
            raise ValueError("prompts.file and prompts.k exclude each other: give one")
        for name in ("system", "template", "date"):
            if getattr(self, name) not in (None, {}) and not self.chat:
                raise ValueError(f"prompts.{name} needs prompts.chat=true")
        return self


class Schedule(_Group):
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


class Star(_Group):
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


class Generate(_Group):
    """How rationales are generated."""

    max_tokens: int = Field(256, ge=1, description="maximum length of a completion, in tokens")
    thinking_tokens: int | None = Field(
        None,
        ge=1,
        description="end the thinking of a completion after this many of its tokens; null: never",
    )
    temperature: float = Field(
        0.0,
        ge=0,
        description="sampling temperature; 0 is greedy (reference: 0.01, nearly greedy; high "
        "values do harm)",
    )
    top_p: float = Field(0.9, gt=0, le=1, description="nucleus sampling (reference: 0.9)")
    samples: int = Field(
        1,
        ge=1,
        description="attempts per problem without a hint; each distinct right rationale is kept",
    )
    batch_size: Size = Field(
        32, description="completions decoded at once; auto: as this device does best"
    )
    stop_repeats: bool = Field(
        False, description="end a greedy completion that repeats itself, and count it as cut off"
    )
    chunk: Size = Field(
        256,
        description="problems saved at a time; an interruption loses at most these; auto: as this "
        "device does best",
    )

    @model_validator(mode="after")
    def _differ(self) -> Generate:
        if self.thinking_tokens is not None and self.thinking_tokens >= self.max_tokens:
            raise ValueError(
                f"thinking_tokens={self.thinking_tokens} leaves no room for an answer in "
                f"max_tokens={self.max_tokens}, which counts both: give a larger max_tokens"
            )
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(
                f"{self.samples} samples at temperature 0 are all the same: give a temperature, "
                "such as generate.temperature=0.7"
            )
        return self

    @property
    def automatic(self) -> tuple[str, ...]:
        """The names of the settings that are ``auto``."""
        return tuple(name for name in ("batch_size", "chunk") if getattr(self, name) == "auto")

    @property
    def at_once(self) -> int:
        """``batch_size``, or its default for ``auto`` on an unknown device."""
        return 32 if self.batch_size == "auto" else self.batch_size

    @property
    def per_chunk(self) -> int:
        """``chunk``, or its default for ``auto`` on an unknown device."""
        return 256 if self.chunk == "auto" else self.chunk

    def sized(self, rows: int, completions: int) -> Generate:
        """The same with numbers for ``auto``: rows at once, and completions in a chunk."""
        numbers = {"batch_size": rows, "chunk": max(1, completions // self.samples)}
        return self.model_copy(update={name: numbers[name] for name in self.automatic})


class Train(_Group):
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


class RowsSpec(_Group):
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


class Augment(_Group):
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


class Evaluate(_Group):
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


class Endpoints(_Group):
    """Servers that generate in place of the local model; see docs/endpoints.md."""

    urls: tuple[str, ...] = Field(
        (),
        strict=False,
        description="OpenAI-compatible servers that generate, such as "
        "http://127.0.0.1:8000/v1; []: this machine does",
    )
    model: str | None = Field(
        None,
        min_length=1,
        description="name of the model at the servers; null: that of the base, or the only one "
        "there is",
    )
    at_once: int = Field(32, ge=1, description="requests at each server at a time")
    timeout: float = Field(
        600.0,
        gt=0,
        description="seconds that a completion may take before it is asked for again",
    )
    give_up_after: float = Field(
        300.0,
        ge=0,
        description="seconds for which a server that fails is asked again before it is put aside",
    )
    min_equal: float = Field(
        0.5,
        ge=0,
        le=1,
        description="refuse to begin if a smaller share of 8 greedy completions of a server are "
        "those of the local model; 0: begin all the same",
    )

    @field_validator("urls")
    @classmethod
    def _servers(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(server_url, urls)))


def server_url(text: str) -> str:
    """The address of an OpenAI-compatible server, which ends in /v1 unless another path is given.

    Raises:
        ValueError: it is none, or holds a password. The password is not in the message.
    """
    try:
        parts = urlsplit(text.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(
            "this is not the address of a server: write it as http://127.0.0.1:8000/v1"
        )
    if "@" in parts.netloc:
        raise ValueError(
            f"the address of {host} holds a user or a password, which a recipe would keep: leave "
            "it out, and give the key in the environment variable STAR_MLX_ENDPOINT_KEY"
        )
    if parts.query or parts.fragment:
        raise ValueError(f"the address of {host} goes on after ? or #: leave that out")
    path = parts.path.rstrip("/").removesuffix("/completions").removesuffix("/chat")
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"


class Recipe(_Group):
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
