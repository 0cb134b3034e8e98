"""``star-mlx tasks``: what there is to learn."""

from __future__ import annotations

import click


@click.command()
def tasks() -> None:
    """List the tasks and the shipped recipes."""
    from star_mlx.recipe import shipped
    from star_mlx.tasks import names

    described = names()
    width = max(map(len, described))
    for name, text in described.items():
        click.echo(f"{name:<{width}}  {text}")
    click.echo(f"\nshipped recipes: {', '.join(shipped())}")
