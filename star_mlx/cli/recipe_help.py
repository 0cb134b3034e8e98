"""The help of commands that take a recipe: the options of settings have their own section, and
``--help-all`` also lists every setting."""

from __future__ import annotations

from typing import Any

import click

from star_mlx.cli.setting_options import BRIEF, SettingOption

_ALL = "star_mlx.help_all"


class RecipeCommand(click.Command):
    """A command whose help has the options of settings in a section of their own.

    ``seldom`` are the names of parameters that only ``--help-all`` lists.
    """

    def __init__(self, *args: Any, seldom: tuple[str, ...] = (), **more: Any) -> None:
        super().__init__(*args, **more)
        self.seldom = seldom

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, then those of settings."""
        everything = ctx.meta.get(_ALL, False)
        ctx.meta[BRIEF] = bool(self.seldom) and not everything
        shown = [p for p in self.get_params(ctx) if everything or p.name not in self.seldom]
        of_settings = [p for p in shown if isinstance(p, SettingOption)]
        for title, params in (
            ("Options", [p for p in shown if p not in of_settings]),
            ("Settings", of_settings),
        ):
            options = [p for p in params if isinstance(p, click.Option)]
            if rows := [row for p in options if (row := p.get_help_record(ctx))]:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write every setting, if ``--help-all`` asks for it."""
        if not ctx.meta.get(_ALL, False):
            return
        from star_mlx.cli import setting_text
        from star_mlx.recipe.loading import shipped

        with formatter.section("All settings (--set KEY=VALUE, or KEY: VALUE in a recipe file)"):
            setting_text.write(formatter, setting_text.settings())
        formatter.write_paragraph()
        formatter.write_text(f"Shipped recipes: {', '.join(shipped())}.")


def _help_all(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        ctx.meta[_ALL] = True
        click.echo(ctx.get_help())
        ctx.exit()


help_all_option = click.option(
    "--help-all",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_help_all,
    help="Show all options and all settings.",
)
