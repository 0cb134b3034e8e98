"""``star-mlx tasks``: list the tasks."""

from __future__ import annotations

import click

from star_mlx.cli import completion
from star_mlx.cli.setting_text import settings, write


@click.command()
@click.argument("name", required=False, shell_complete=completion.tasks)
def tasks(name: str | None) -> None:
    """List the tasks and shipped recipes, or the options of a task."""
    from star_mlx.recipe.loading import shipped
    from star_mlx.tasks import names, options

    described = names()
    if name is not None:
        formatter = click.HelpFormatter()
        with formatter.section(f"task.options of {name}"):
            write(formatter, settings(options(name), "task.options."))
        click.echo(formatter.getvalue().rstrip())
        return
    width = max(map(len, described))
    for task, text in described.items():
        click.echo(f"{task:<{width}}  {text}")
    click.echo("\noptions of a task: star-mlx tasks NAME")
    click.echo(f"shipped recipes: {', '.join(shipped())}")
