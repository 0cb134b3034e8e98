"""Options that are short for a setting: ``--iterations 3`` is ``--set star.iterations=3``.

Each is one line in a table. Its meaning, type and bounds are those of the setting, so its value is
checked where all settings are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import click

from star_mlx.formatting import without_password

BRIEF = "star_mlx.brief"  # in a context's meta: whether help leaves out the keys of settings


@dataclass(frozen=True, slots=True)
class Short:
    """An option and the setting that it gives; ``value`` is the setting's, as YAML, ``meaning``
    replaces that of the setting, and ``metavar`` stands for what is given. An option with ``many``
    may be repeated, and gives a list."""

    names: tuple[str, ...]
    key: str
    value: str = "{}"
    meaning: str = ""
    metavar: str = "N"
    many: bool = False

    @property
    def parameter(self) -> str:
        """The name of the value in Python."""
        return self.names[0].split("/")[0].strip("-").replace("-", "_") + "_setting"

    def override(self, given: str) -> str:
        """``key.path=value``."""
        return f"{self.key}={self.value.replace('{}', given)}"


SEED = Short(("--seed",), "seed")
ITERATIONS = Short(("--iterations",), "star.iterations")
PROBLEMS = Short(("--problems",), "star.problems")
DRAWN = Short(("--problems", "--max-samples"), "star.problems")
RATIONALIZE = Short(("--rationalize/--no-rationalize",), "star.rationalize")
EPOCHS = Short(
    ("--epochs",),
    "star.schedule",
    "{kind: epochs, base: {}, add_epochs: 0}",
    "passes over the examples in each iteration",
)
LEARNING_RATE = Short(("--lr", "--learning-rate"), "train.learning_rate")
BATCH_SIZE = Short(("--batch-size",), "train.batch_size")
RANK = Short(("--rank",), "train.rank")
SAMPLES = Short(("--k",), "generate.samples")
NUM_REPEAT = Short(
    ("--num-repeat",),
    "generate.samples",
    meaning="answers to each question as it is (ansaug) or masked (fobar), and rewritings of it "
    "(rephrase, sv)",
)
MAX_TOKENS = Short(("--max-tokens",), "generate.max_tokens")
TEMPERATURE = Short(("--temperature",), "generate.temperature")
DECODED = Short(("--batch-size",), "generate.batch_size")
DEV = Short(("--dev",), "evaluate.dev")
TYPES = Short(("--types",), "rows.types", "[{}]", metavar="A,B")
SAMPLE = Short(("--sample",), "rows.sample")
ENDPOINT = Short(
    ("--endpoint",),
    "endpoints.urls",
    "[{}]",
    "OpenAI-compatible server that generates; may be repeated",
    metavar="URL",
    many=True,
)

LOOP = (
    ITERATIONS, PROBLEMS, RATIONALIZE, EPOCHS, LEARNING_RATE, BATCH_SIZE, RANK, MAX_TOKENS,
    TEMPERATURE, DEV, ENDPOINT, SEED,
)  # fmt: skip


PLAN = (PROBLEMS, EPOCHS, BATCH_SIZE, RANK, SAMPLES, MAX_TOKENS, DEV)


class SettingOption(click.Option):
    """The option of a ``Short``, with the words of its setting."""

    def __init__(self, names: Sequence[str], short: Short, **more: Any) -> None:
        super().__init__(names, **more)
        self.short = short

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        """The names, and the first clause of the setting's meaning with its key."""
        given = self.short.metavar
        name = f"--[no-]{self.opts[0][2:]}" if self.is_flag else f"{', '.join(self.opts)} {given}"
        meaning = self.short.meaning or described(self.short.key)
        path = self.short.key if self.short.value == "{}" else self.short.override(given)
        key = "" if ctx.meta.get(BRIEF) else f" [{path}]"
        return name, f"{meaning[0].upper()}{meaning[1:]}{key}."

    def given(self, value: Any) -> tuple[str, str]:
        """How a value was given, and the override that it stands for."""
        if self.short.many:
            shown = " ".join(f"{self.opts[0]} {without_password(one)}" for one in value)
            return shown, self.short.override(", ".join(map(json.dumps, value)))
        if self.is_flag:
            name = (self.opts if value else self.secondary_opts)[0]
            return name, self.short.override("true" if value else "false")
        return f"{self.opts[0]} {value}", self.short.override(str(value))


def setting_option(short: Short) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option of a setting, for a command that has ``recipe_options``."""
    more: dict[str, Any] = {"default": None}  # a flag that is not given is not false
    if "/" not in short.names[0]:
        more |= {"metavar": short.metavar, "type": str}
    if short.many:
        more = {**more, "default": (), "multiple": True}
    return click.option(*short.names, short.parameter, cls=SettingOption, short=short, **more)


def taken(command: click.Command, values: dict[str, Any]) -> Mapping[str, str]:
    """Take the values of a command's setting options out of ``values``: how each was given, and
    the override that it stands for."""
    found: dict[str, str] = {}
    for option in command.params:
        if isinstance(option, SettingOption) and option.name:
            value = values.pop(option.name)
            found |= dict([option.given(value)] if value not in (None, ()) else [])
    return found


@cache
def described(key: str) -> str:
    """The first clause of a setting's meaning."""
    from star_mlx.cli.setting_text import settings

    return next(one.brief() for one in settings() if one.key == key)
