"""``star-mlx settings``: list the settings of a recipe, or search them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from star_mlx.cli import completion
from star_mlx.cli.setting_options import LOOP

if TYPE_CHECKING:
    from star_mlx.cli.setting_text import Described

Section = tuple[str, "list[Described]"]


@click.command(context_settings={"ignore_unknown_options": True})  # settings --lr
@click.argument("word", required=False, shell_complete=completion.setting_words)
@click.option("--json", "as_json", is_flag=True, help="Print the settings as JSON.")
def settings(word: str | None, as_json: bool) -> None:
    """List the settings of a recipe, or search them.

    WORD is a group, such as train, or is searched in the names and descriptions, such as lr. A
    setting is given with --set KEY=VALUE or in a recipe file. Also says where your config file is,
    which has defaults for model, runs and track.
    """
    from star_mlx.cli import config, setting_text

    sections = list(_every() if word is None else _found(word.lstrip("-")))
    options = _options()
    if not sections:
        raise click.UsageError(_nothing(word or ""))
    if as_json:
        import json

        rows = [
            {**asdict(one), "option": options.get(one.key)}
            for _, found in sections
            for one in found
        ]
        click.echo(json.dumps(rows))
        return
    formatter = click.HelpFormatter(width=click.get_current_context().terminal_width)
    for title, found in sections:
        with formatter.section(title):
            also = {key: f" (option {names})" for key, names in options.items()}
            setting_text.write(formatter, found, also)
    click.echo(formatter.getvalue().strip("\n"))
    if word is None:
        click.echo(f"\nConfig file: {config.read().words()}")


def _options() -> dict[str, str]:
    """The options of settings that have one, by the setting's key."""
    found = {short.key: ", ".join(short.names) for short in LOOP}
    found["star.schedule.kind"] = found.pop("star.schedule")
    return found


def _every() -> Iterator[Section]:
    """All settings, by their group."""
    from star_mlx.cli import setting_text

    groups: dict[str, list[Described]] = {}
    for one in setting_text.settings():
        groups.setdefault(one.key.rpartition(".")[0], []).append(one)
    for name, found in groups.items():
        yield name or "the whole run", found


def _found(word: str) -> Iterator[Section]:
    """The settings of a group, or else all that have a word in their name, their option or their
    description; options of tasks too."""
    from star_mlx import tasks
    from star_mlx.cli import setting_text

    every = list(setting_text.settings())
    if group := [one for one in every if f"{one.key}.".startswith(f"{word}.")]:
        yield word, group
        return
    options = _options()
    found = [one for one in every if _has(one, word, options.get(one.key, ""))]
    if found:
        yield f"settings with {word!r}", found
    for task in tasks.TASKS:
        own = setting_text.settings(tasks.options(task), "task.options.")
        if rows := [one for one in own if _has(one, word, "")]:
            yield f"options of the task {task} with {word!r}", rows


def _has(one: Described, word: str, options: str) -> bool:
    """Whether a setting has a word: anywhere in its name, or at the start of a word about it."""
    in_text = rf"(?<!\w){re.escape(word)}"
    return _joined(word) in _joined(one.key) or any(
        re.search(in_text, text, re.IGNORECASE) for text in (one.meaning, options)
    )


def _joined(name: str) -> str:
    """A name without case, dashes and underscores, which people mistake."""
    return name.lower().replace("-", "").replace("_", "")


def _nothing(word: str) -> str:
    """The words for a search without a result, with the names that are most like it."""
    import difflib

    from star_mlx.cli import setting_text

    names = {part for one in setting_text.settings() for part in one.key.split(".")}
    near = difflib.get_close_matches(word.replace("-", "_"), sorted(names), n=3)
    meant = f"did you mean {' or '.join(near)}?" if near else "star-mlx settings lists them all"
    return f"no setting has {word!r} in its name or description: {meant}"
