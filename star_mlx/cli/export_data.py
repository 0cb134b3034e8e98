"""``star-mlx export-data``: write the training set of attempts or of a run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from star_mlx.cli import completion
from star_mlx.cli.recipe_help import RecipeCommand
from star_mlx.cli.recipe_options import Given, recipe_options
from star_mlx.cli.step_options import again, force_option, json_option, out_option, tell


@click.command("export-data", cls=RecipeCommand)
@click.argument(
    "attempts",
    nargs=-1,
    type=click.Path(path_type=Path),
    metavar="RUN | ATTEMPTS...",
    shell_complete=completion.runs,
)
@recipe_options()
@click.option(
    "--run",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Another way to give RUN.",
)
@click.option(
    "--iteration",
    metavar="N",
    help="The iteration of the attempts [default: 1], or of the run: a number, best or last "
    "[default: best].",
)
@out_option("The JSONL file of examples.")
@click.option(
    "--format",
    "shape",
    type=click.Choice(["examples", "prompt-completion", "query-response", "messages"]),
    default="examples",
    show_default=True,
    help="Row format: examples has the tokens as they were generated, the others are text for "
    "other trainers.",
)
@click.option(
    "--carry",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Examples of an earlier iteration to include, if the recipe sets star.carry_over. May be "
    "repeated, oldest first.",
)
@force_option
@json_option
def export_data(
    given: Given,
    attempts: tuple[Path, ...],
    run: Path | None,
    iteration: str | None,
    out: Path,
    shape: Any,
    carry: tuple[Path, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Write the training examples of attempts or of a run.

    ATTEMPTS are the files of star-mlx generate and rationalize. Attempts that finished with the
    right answer are kept, each distinct rationale once.
    """
    if run is None and len(attempts) == 1 and attempts[0].is_dir():
        run, attempts = attempts[0], ()
    if (run is None) == (not attempts):
        raise click.UsageError("give either a RUN or files of ATTEMPTS")
    from star_mlx import tui
    from star_mlx.steps import export_data as exports

    if run is not None:
        if given.any() or carry:
            raise click.UsageError("a run has its own recipe: leave the recipe options out")
        done = exports.export_run(run, iteration or "best", out, format=shape, force=force)
    else:
        number = _number(iteration or "1")
        with tui.ProgressBar() as emit:
            done = exports.export(
                given.load(), attempts, out, iteration=number, carry=carry, format=shape,
                force=force, emit=emit,
            )  # fmt: skip
    n = done["iteration"]
    sources = ", ".join(f"{count} {source}" for source, count in done["sources"].items())
    line = f"iteration {n}: {done['examples']} examples ({sources}); written to {out}"
    options = again(given) if run is None else f"--model {shlex.quote(_base(run))}"
    following = f"train {shlex.quote(str(out))} {options} --iteration {n} --out adapter-{n}"
    tell(done, line, following, as_json)


def _base(run: Path) -> str:
    """The base of a run, as --model takes it."""
    from star_mlx.recipe.opening import resume_recipe

    model = resume_recipe(run).model
    return model.path if model.revision is None else f"{model.path}@{model.revision}"


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise click.UsageError(f"--iteration {text}: give a number from 1 on")
    return int(text)
