"""Options and output shared by the commands that do one step of an iteration."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from star_mlx.cli.recipe_options import Given

if TYPE_CHECKING:
    from star_mlx.settings import Recipe

iteration_option = click.option(
    "--iteration",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="The iteration that this step belongs to.",
)
adapter_option = click.option(
    "--adapter",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The adapter of the previous iteration [default: none, the base].",
)
force_option = click.option("--force", is_flag=True, help="Overwrite the existing file.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")


def out_option(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--out``, which every step needs."""
    return click.option(
        "--out", required=True, metavar="PATH", type=click.Path(path_type=Path), help=what
    )


def settled(given: Given, short: Mapping[str, Any], **more: Any) -> Recipe:
    """The recipe of the options; short options such as ``--lr`` override those of ``--set``."""
    sets = [f"{key}={value}" for key, value in short.items() if value is not None]
    return given.load(overrides=(*given.overrides, *sets), **more)


def again(given: Given, short: Mapping[str, Any] | None = None) -> str:
    """The recipe options as they were given, as arguments for the next command."""
    words: list[str] = []
    for name in ("task", "recipe", "data", "model", "seed"):
        value = getattr(given, name)
        words += [f"--{name}", str(value)] if value is not None else []
    words += ["--trust-remote-code"] if given.trust_remote_code else []
    for text in given.overrides:
        words += ["--set", text]
    for key, value in (short or {}).items():
        words += ["--set", f"{key}={value}"] if value is not None else []
    return shlex.join(words)


def tell(summary: Mapping[str, Any], line: str, following: str, as_json: bool) -> None:
    """Print one line about the result and the next command, or the counts as JSON."""
    if as_json:
        click.echo(json.dumps(summary))
        return
    from star_mlx.formatting import harmless

    click.echo(harmless(line))
    click.echo(harmless(f"next: star-mlx {' '.join(following.split())}"))
