"""``star-mlx loop --smoke``: rehearse a recipe in seconds, and keep nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from star_mlx.formatting import duration, harmless

if TYPE_CHECKING:
    from star_mlx.run.rehearsal import Rehearsal
    from star_mlx.run.tryout import Tryout
    from star_mlx.settings import Recipe


def smoke(recipe: Recipe, run: Path | None, *, as_json: bool) -> None:
    """Rehearse a recipe and print what was found."""
    from star_mlx.run.rehearsal import rehearse

    done = rehearse(recipe, run or Path("runs"))
    if as_json:
        click.echo(json.dumps(done.to_json()))
        return
    for line in _lines(recipe, done):
        click.echo(harmless(line))


def _lines(recipe: Recipe, done: Rehearsal) -> Iterator[str]:
    yield f"scripted run, {duration(done.seconds)}: every phase works"
    for line in done.iterations[1:]:
        dev = f", dev {line.dev.correct} of {line.dev.n} right" if line.dev else ""
        yield (
            f"  iteration {line.iteration}: {line.problems} problems, {line.solved} solved, "
            f"{line.rationalized} more with hint, {line.truncated} right but cut off, "
            f"{line.parse_failures} without an answer; {line.examples} trained on{dev}"
        )
    if done.model is None:
        yield f"model {recipe.model.path}: not on this machine, so it was not tried"
    else:
        yield from _model(recipe, done.model)
    yield "findings"
    for one in done.findings:
        yield f"  {'ok  ' if one.ok else 'look'}  {one.what}: {one.text}"
    wrong = sum(not one.ok for one in done.findings)
    yield f"{wrong} of {len(done.findings)} to look at" if wrong else "the recipe can be run"


def _model(recipe: Recipe, tried: Tryout) -> Iterator[str]:
    yield (
        f"model {recipe.model.path}, {duration(tried.generating_seconds)} to generate and "
        f"{duration(tried.training_seconds)} to train on {tried.trained_on}"
    )
    for one in tried.tried:
        hint = " with hint" if one.hinted else ""
        verdict = "right" if one.correct else "no answer" if one.answer is None else "wrong"
        cut = ", cut off" if one.finish == "length" else ""
        read = "" if one.answer is None else f"read {one.answer!r}, "
        seen = f"{read}right is {one.gold!r}; {one.tokens} tokens"
        yield f"  {one.problem}{hint}: {verdict}{cut}; {seen}"
        yield f"    {one.shown}"
