"""Options and output shared by the commands that do one step of an iteration."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from star_mlx.cli.recipe_options import Given

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


def again(given: Given) -> str:
    """The recipe options as they were given, as arguments for the next command."""
    return shlex.join(given.words())


def tell(summary: Mapping[str, Any], line: str, following: str, as_json: bool) -> None:
    """Print one line about the result and the next command, or the counts as JSON."""
    if as_json:
        click.echo(json.dumps(summary))
        return
    from star_mlx.formatting import harmless, program

    click.echo(harmless(line))
    click.echo(harmless(f"next: {program()} {' '.join(following.split())}"))
