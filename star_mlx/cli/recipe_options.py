"""The options of the commands that take a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from star_mlx.cli import completion
from star_mlx.cli.setting_options import SEED, Short, setting_option, taken
from star_mlx.errors import RunError
from star_mlx.store import names

if TYPE_CHECKING:
    from star_mlx.settings import Recipe


@dataclass(frozen=True, slots=True)
class Given:
    """The values of the options; None if one was not given.

    ``options`` are those that are short for a setting: how each was given, and the override that it
    stands for.
    """

    task: str | None
    recipe: str | None
    overrides: tuple[str, ...]
    data: str | None
    model: str | None
    trust_remote_code: bool | None
    options: Mapping[str, str]

    def load(self, run: Path | None = None, **more: Any) -> Recipe:
        """The recipe: that of --recipe, else of the run, else the shipped one named as the task.

        --task MODULE:CLASS allows that class to be imported; if the run exists, the class is the
        run's task. If nothing names a model, it is that of an existing run, or of the user's config
        file.
        """
        from star_mlx.cli import config
        from star_mlx.recipe import loading as recipes

        self._check_once()
        task, base, below = self.task, None, None
        if task is not None and ":" in task:
            from star_mlx.tasks import own

            click.get_current_context().with_resource(own.offered(task))
            if run is not None and self.recipe is None and (run / names.RECIPE).is_file():
                task = None
        if task is None and self.recipe is None and run is not None:
            if not (run / names.RECIPE).is_file():
                raise RunError(
                    f"there is no run to resume in {run}: give --task or --recipe to start one"
                )
            from star_mlx.recipe.opening import resume_recipe

            base = recipes.resolved(resume_recipe(run))
        elif self.model is None:
            below = config.below(run)
        values = {"task": task, "data": self.data, "model": self.model, **more}
        return recipes.load(
            self.recipe,
            trust_remote_code=self.trust_remote_code,
            overrides=self.overrides,
            options=self.options,
            base=base,
            below=below or (),
            **values,
        )

    def gives(self, key: str) -> bool:
        """Whether an option or --set gives a setting."""
        from star_mlx.recipe import layers

        texts = (*self.overrides, *self.options.values())
        return any(key in layers.leaves(layers.override(text).values) for text in texts)

    def any(self) -> bool:
        """Whether any of the options was given."""
        values = (self.task, self.recipe, self.data, self.model)
        return bool(self.overrides or self.options or any(value is not None for value in values))

    def words(self) -> list[str]:
        """The options as words of another command with the same recipe."""
        words = []
        for name in ("task", "recipe", "data", "model"):
            value = getattr(self, name)
            words += [f"--{name}", str(value)] if value is not None else []
        words += ["--trust-remote-code"] if self.trust_remote_code else []
        for text in (*self.overrides, *self.options.values()):
            words += ["--set", text]
        return words

    def _check_once(self) -> None:
        """Refuse a setting that is given both by an option of its own and by --set."""
        from star_mlx.recipe import layers

        given = {
            key: how
            for how, text in self.options.items()
            for key in layers.leaves(layers.override(text, how).values)
        }
        for text in self.overrides:
            for key in layers.leaves(layers.override(text).values):
                if how := given.get(key):
                    raise click.UsageError(
                        f"{how} and --set {text} both give {key}: leave one of them out"
                    )


_OPTIONS = (
    click.option(
        "--task",
        metavar="NAME",
        shell_complete=completion.tasks,
        help="A task (star-mlx tasks lists them) or a recipe file.",
    ),
    click.option(
        "--recipe",
        metavar="FILE",
        shell_complete=completion.recipes,
        help="A recipe file, or the name of a shipped recipe.",
    ),
    click.option(
        "--data",
        metavar="PATH",
        help="The task's data [default: from the Hub].",
    ),
    click.option(
        "--model",
        metavar="NAME",
        help="The base: tiny, a folder, or owner/name on the Hub.",
    ),
    click.option(
        "--trust-remote-code",
        is_flag=True,
        default=None,
        help="Allow Python code that comes with the model to run.",
    ),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        shell_complete=completion.settings,
        help="Set any setting (star-mlx settings); may be repeated.",
    ),
)


def recipe_options(*shorts: Short) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options of ``Given``, and ``given`` as its first argument.

    Args:
        shorts: the options that are short for a setting, besides ``--seed``.
    """

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def run_command(**values: Any) -> Any:
            options = taken(click.get_current_context().command, values)
            fields = [name for name in Given.__dataclass_fields__ if name != "options"]
            given = Given(**{name: values.pop(name) for name in fields}, options=options)
            return command(given, **values)

        called: Callable[..., Any] = run_command
        for short in reversed(shorts if SEED in shorts else (*shorts, SEED)):
            called = setting_option(short)(called)
        for option in reversed(_OPTIONS):
            called = option(called)
        return called

    return decorated
