"""What is asked of which model: the task, the base, and the prompts."""

from __future__ import annotations

from datetime import date
from types import NoneType
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from star_mlx.settings.group import SettingsGroup

Products = Literal["float32", "bfloat16"]
# Names that are arguments of applying a template, or that it gets from the prompts.
_OWN_ARGUMENTS = {
    *("self", "conversation", "messages", "tools", "documents", "chat_template", "padding"),
    *("add_generation_prompt", "continue_final_message", "tokenize", "sanitize_control_tokens"),
    *("truncation", "max_length", "return_tensors", "return_dict", "tokenizer_kwargs"),
    *("return_assistant_tokens_mask", "strftime_now", "raise_exception"),
}


class TaskSpec(SettingsGroup):
    """The task to learn. ``task: NAME`` is short for ``task: {name: NAME}``."""

    name: str = Field(min_length=1, description="a name listed by `star-mlx tasks`")
    options: dict[str, Any] = Field(
        default_factory=dict, description="the task's own options, checked by the task"
    )


class ModelSpec(SettingsGroup):
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


class PromptsSpec(SettingsGroup):
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
