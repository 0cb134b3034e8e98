"""Words for mistyped commands and options, with what was probably meant."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from star_mlx.formatting import clipped

# Names by which other programs know an option or a setting of star-mlx.
_ELSEWHERE = {
    "iters": "iterations",
    "num-iterations": "iterations",
    "num-epochs": "epochs",
    "num-train-epochs": "epochs",
    "num-problems": "problems",
    "max-new-tokens": "max-tokens",
    "max-seq-length": "max-length",
    "warmup-steps": "warmup",
    "warmup-ratio": "warmup",
    "lr-scheduler-type": "decay",
    "lora-rank": "rank",
    "lora-r": "rank",
    "lora-layers": "layers",
    "num-layers": "layers",
    "lora-dropout": "dropout",
    "lora-scale": "scale",
    "grad-checkpoint": "checkpoint",
    "gradient-checkpointing": "checkpoint",
    "max-grad-norm": "grad-clip",
    "per-device-train-batch-size": "batch-size",
    "temp": "temperature",
    "output-dir": "run",
    "out-dir": "run",
    "model-name": "model",
    "dataset": "data",
}


MEMORY = (
    "this process got no more memory: close other programs, or allow it more (`ulimit -v`); what "
    "was finished is kept"
)


def undecodable(given: Iterable[str]) -> str:
    """What to say of the first argument that is not UTF-8; nothing if all are. The files of a run,
    in which such names are written, are UTF-8."""
    for word in given:
        try:
            word.encode()
        except UnicodeEncodeError:
            shown = clipped(word.encode("utf-8", "backslashreplace").decode())
            return f"the argument {shown} is not UTF-8: give that file or folder another name"
    return ""


def too_long(error: OSError) -> str:
    """What to say of a name that is too long for the file system."""
    return f"the name {clipped(str(error.filename))} is too long for a file: give a shorter one"


_EXTRA = re.compile(r"Got unexpected extra arguments? \((.*)\)")
_NUMBER = re.compile(r" is not a valid (integer|float)(?: range)?")


def no_command(name: str, commands: Iterable[str]) -> str:
    """The words for a command that does not exist."""
    near = difflib.get_close_matches(name, commands, n=2)
    meant = f": did you mean {' or '.join(near)}?" if near else ""
    return f"there is no command {name}{meant}"


def usage(error: click.UsageError, arguments: Sequence[str]) -> str:
    """The words for an error in the arguments of a command."""
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        return _no_option(error.option_name, error.ctx.command, arguments)
    if split := _split_setting(arguments, error.message):
        return split
    if (extra := _EXTRA.fullmatch(error.message)) and error.ctx is not None:
        return _no_argument(extra[1], error.ctx.command)
    return _NUMBER.sub(_number, error.format_message())


def _number(found: re.Match[str]) -> str:
    return " is not a whole number" if found[1] == "integer" else " is not a number"


def _split_setting(arguments: Sequence[str], message: str) -> str:
    """The words for ``--set KEY VALUE``, of which click only says that VALUE is one too many."""
    for option, key, value in zip(arguments, arguments[1:], arguments[2:], strict=False):
        if option == "--set" and "=" not in key and f"({value}" in message:
            return f"--set {key} {value}: write --set {key}={value}"
    return ""


def _no_argument(word: str, command: click.Command) -> str:
    """The words for an argument that a command does not take."""
    from star_mlx.recipe.loading import shipped
    from star_mlx.store import names
    from star_mlx.tasks import TASKS

    options = {name for param in command.params for name in param.opts}
    meant = ""
    if (Path(word) / names.RECIPE).is_file():
        meant = "--run"
    elif word in TASKS:
        meant = "--task"
    elif word in shipped() or word.endswith((".yaml", ".yml")):
        meant = "--recipe"
    guess = f": did you mean {meant} {shlex.quote(word)}?" if meant in options else ""
    return f"{command.name} does not take the argument {word}{guess}"


def _no_option(option: str, command: click.Command, arguments: Sequence[str]) -> str:
    """The words for an option that a command does not have."""
    options = [name for param in command.params for name in (*param.opts, *param.secondary_opts)]
    wanted = option.lstrip("-").replace("_", "-")
    wanted = _ELSEWHERE.get(wanted, wanted)
    said = f"there is no option {option}"
    if f"--{wanted}" in options:
        return f"{said}: did you mean --{wanted}?"
    if "--set" in options and (keys := _settings(wanted)):
        value = _value(option, arguments)
        sets = " or ".join(f"--set {key}={value}" for key in keys)
        return f"{option} is a setting: give {sets}"
    if near := _near(wanted, [name.lstrip("-") for name in options if name[:2] == "--"]):
        return f"{said}: did you mean --{near}?"
    if "--set" in options and (near := _near(wanted, list(_all_settings()))):
        sets = " or ".join(f"--set {key}={_value(option, arguments)}" for key in _settings(near))
        return f"{said}: did you mean {sets}?"
    return f"{said}; star-mlx settings lists all settings" if "--set" in options else said


def _near(name: str, names: Sequence[str]) -> str:
    """The name that is most like another, if one is much like it or continues it."""
    if found := difflib.get_close_matches(name, names, n=1, cutoff=0.75):
        return found[0]
    longer = [other for other in names if len(name) > 2 and other.startswith(name)]
    return longer[0] if len(longer) == 1 else ""


def _settings(name: str) -> list[str]:
    """The key paths of the settings, or else of a task's options, with this last name."""
    return _all_settings().get(name, [])


def _all_settings() -> dict[str, list[str]]:
    """The last names of settings and of tasks' options, written as options are, and their paths."""
    from star_mlx import tasks
    from star_mlx.cli.setting_text import settings

    found: dict[str, list[str]] = {}
    for one in settings():
        found.setdefault(one.key.rpartition(".")[2].replace("_", "-"), []).append(one.key)
    for task in tasks.TASKS:
        for name in tasks.options(task).model_fields:
            found.setdefault(name.replace("_", "-"), [f"task.options.{name}"])
    return found


def _value(option: str, arguments: Sequence[str]) -> str:
    """The value that was given to an unknown option, as a word of a shell."""
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if word.startswith(f"{option}="):
            return shlex.quote(word.partition("=")[2])
        if word == option and following and not following.startswith("-"):
            return shlex.quote(following)
    return "VALUE"
