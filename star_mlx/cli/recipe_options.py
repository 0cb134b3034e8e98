"""The options of the commands that take a recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from star_mlx.errors import RunError
from star_mlx.store import names

if TYPE_CHECKING:
    from star_mlx.settings import Recipe


@dataclass(frozen=True, slots=True)
class Given:
    """The values of the options; None if one was not given."""

    task: str | None
    recipe: str | None
    overrides: tuple[str, ...]
    data: str | None
    model: str | None
    trust_remote_code: bool | None
    seed: int | None

    def load(self, run: Path | None = None, **more: Any) -> Recipe:
        """The recipe: that of --recipe, else of the run, else the shipped one named as the task.

        --task MODULE:CLASS allows that class to be imported; if the run exists, the class is the
        run's task.
        """
        from star_mlx.recipe import loading as recipes

        given, base = asdict(self), None
        if self.task is not None and ":" in self.task:
            from star_mlx.tasks import own

            click.get_current_context().with_resource(own.offered(self.task))
            if run is not None and self.recipe is None and (run / names.RECIPE).is_file():
                given["task"] = None
        if given["task"] is None and self.recipe is None and run is not None:
            if not (run / names.RECIPE).is_file():
                raise RunError(
                    f"there is no run to resume in {run}: give --task or --recipe to start one"
                )
            from star_mlx.recipe.opening import resume_recipe

            base = recipes.resolved(resume_recipe(run))
        return recipes.load(given.pop("recipe"), base=base, **{**given, **more})


_OPTIONS = (
    click.option("--task", help="The task to learn: a name (see star-mlx tasks) or a recipe file."),
    click.option(
        "--recipe", metavar="FILE", help="A recipe file, or the name of a shipped recipe."
    ),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set one setting of the recipe; may be repeated.",
    ),
    click.option(
        "--data", metavar="PATH", help="The task's data [default: downloaded from the Hub]."
    ),
    click.option("--model", help="The base: tiny, a folder, or owner/name[@revision] on the Hub."),
    click.option(
        "--trust-remote-code",
        is_flag=True,
        default=None,
        help="Allow Python code that comes with the model to run.",
    ),
    click.option("--seed", type=int, help="The seed of every random choice."),
)


def recipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of ``Given``, and ``given`` as its first argument."""

    @wraps(command)
    def called(**values: Any) -> Any:
        given = Given(**{name: values.pop(name) for name in Given.__dataclass_fields__})
        return command(given, **values)

    for option in reversed(_OPTIONS):
        called = option(called)
    return called
