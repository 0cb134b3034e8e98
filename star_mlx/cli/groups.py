"""The command ``star-mlx`` itself: its commands in groups, and ``-v`` for each of them."""

from __future__ import annotations

import traceback
from typing import Any

import click

from star_mlx.cli import mistakes
from star_mlx.errors import StarError

_VERBOSE = "star_mlx.verbose"


def _set_verbose(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        ctx.find_root().meta[_VERBOSE] = True


def verbose_option(*, hidden: bool) -> click.Option:
    """``-v``, which every command takes too."""
    return click.Option(
        ["-v", "--verbose"],
        is_flag=True,
        expose_value=False,
        hidden=hidden,
        callback=_set_verbose,
        help="Show where in the code an error arose.",
    )


class Grouped(click.Group):
    """A group whose help lists its commands by what they are for."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.params.append(verbose_option(hidden=False))
        self.groups: dict[str, list[str]] = {}

    def add_group(self, title: str, *commands: click.Command) -> None:
        """Add commands under a title."""
        self.groups[title] = []
        for command in commands:
            self.add_command(command)
            command.params.append(verbose_option(hidden=True))
            self.groups[title].append(command.name or "")

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order of the help."""
        return [name for names in self.groups.values() for name in names]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, group by group, with their names in one column."""
        width = max(map(len, self.commands))
        for title, names in self.groups.items():
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (f"{name:<{width}}", self.commands[name].get_short_help_str(limit=200))
                        for name in names
                    ]
                )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; a mistyped one is answered with the nearest."""
        if args[0][:1] != "-" and args[0] not in self.commands and not ctx.resilient_parsing:
            raise click.UsageError(mistakes.no_command(args[0], self.commands), ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; with ``-v``, print where its error arose."""
        try:
            return super().invoke(ctx)
        except StarError:
            if ctx.meta.get(_VERBOSE):
                traceback.print_exc()
            raise
