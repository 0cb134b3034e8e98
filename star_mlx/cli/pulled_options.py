"""Options of the commands that accept a pulled folder instead of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def pulled_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --model and --trust-remote-code."""
    for add in (
        click.option(
            "--trust-remote-code",
            is_flag=True,
            help="Allow Python code that comes with the base of a pulled adapter to run.",
        ),
        click.option(
            "--model",
            metavar="DIR",
            help="The base of a pulled adapter, if it is not on the Hub.",
        ),
    ):
        command = add(command)
    return command
