"""Options of the commands that take a pulled folder in the place of a run."""

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
            help="Run Python code that comes with the base of a pulled adapter.",
        ),
        click.option(
            "--model",
            metavar="DIR",
            help="Where the base of a pulled adapter is, if it is not on the Hub.",
        ),
    ):
        command = add(command)
    return command
