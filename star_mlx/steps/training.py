"""Train an adapter on the rows of a file, of star-mlx or from elsewhere."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from star_mlx import engine as engines
from star_mlx.data import OnBadRow
from star_mlx.errors import RunError
from star_mlx.events import Emit, Notice
from star_mlx.recipe import loading, opening
from star_mlx.run.fit import fit
from star_mlx.settings import Recipe
from star_mlx.star import amount as scheduled
from star_mlx.steps import foreign_rows, step_files
from star_mlx.steps.step_files import Summary, quiet
from star_mlx.store import files, names
from star_mlx.types import Amount, Engine, Trained


def train(
    recipe: Recipe,
    examples: Path,
    out: Path,
    *,
    iteration: int | None = None,
    amount: Amount | None = None,
    on_bad_row: OnBadRow = "fail",
    emit: Emit = quiet,
    engine: Engine | None = None,
) -> Summary:
    """Train a fresh adapter on the base, on rows of star-mlx or from elsewhere.

    Args:
        recipe: the base, the seed, ``rows`` and ``train``; its task is not used.
        examples: the rows; see ``foreign_rows``. The recipe's ``rows`` says which of them.
        out: the adapter's folder, which must not exist or be empty; written atomically.
        iteration: sets the seed and the amount; by default that of the rows, 1 for foreign ones.
        amount: how long to train; by default as in the recipe's schedule for the iteration.
        on_bad_row: whether a row that cannot be used is an error or is left out.
        emit, engine: as in ``generate``.

    Raises:
        StarError: an error that the user can fix.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise RunError(f"{out} exists and is not empty: give another --out, or remove it")
    step_files.check_parent(out)
    read = _rows(recipe, examples, on_bad_row)
    for notice in _about(read, recipe):
        emit(notice)
    number = iteration or read.iteration
    engine = engine or engines.open_base(recipe)
    made = foreign_rows.examples(read, engine, number, opening.template(recipe, engine))
    amount = amount or scheduled(recipe.star.schedule, number)
    partial = out.with_name(out.name + names.PARTIAL)
    files.training_folder(partial)
    try:
        trained, _ = fit(engine, recipe, made, amount, number, out=partial, emit=emit)
        done = _summary(number, read, trained)
        if read.formats.keys() != {foreign_rows.OWN}:
            about = {**done, "file": str(examples), "recipe": loading.resolved(recipe)}
            step_files.write(partial / names.TRAINED_ON, [about])
        os.replace(partial, out)
    finally:
        if not (partial / names.TRAINING).is_file():  # from which the same command goes on
            shutil.rmtree(partial, ignore_errors=True)
    files.flush_folder(out.parent)
    return {**done, "out": str(out)}


def _summary(number: int, read: foreign_rows.ForeignRows, trained: Trained) -> Summary:
    numbers = {k: v for k, v in dataclasses.asdict(trained).items() if k != "adapter"}
    return {
        "command": "train",
        "iteration": number,
        "examples": len(read),
        "used": len(read) - len(trained.too_long),
        "formats": read.formats,
        "types": read.types,
        "rows": read.chosen.total,
        **numbers,
        "skipped": list(read.chosen.skipped),
    }


def _rows(recipe: Recipe, path: Path, on_bad_row: OnBadRow) -> foreign_rows.ForeignRows:
    """The rows of a file that a recipe trains on. In a chat a query is not split."""
    ask: foreign_rows.Ask = foreign_rows.alpaca
    choice = recipe.rows
    if recipe.prompts.chat:
        ask = foreign_rows.user_turn(recipe.prompts.system)
        choice = choice.model_copy(update={"split_query": False})
    return foreign_rows.read(path, ask=ask, on_bad_row=on_bad_row, choice=choice, seed=recipe.seed)


def _about(read: foreign_rows.ForeignRows, recipe: Recipe) -> Iterator[Notice]:
    """What is said of rows before they are trained on."""
    chosen, wanted = read.chosen, recipe.rows
    if chosen.skipped:
        first = chosen.skipped[0]
        yield Notice("warning", f"{len(chosen.skipped)} rows left out; first: {first}")
    if wanted.sample is not None and wanted.sample > chosen.usable:
        text = f"there are {chosen.usable:,} rows, fewer than rows.sample={wanted.sample}: all are"
        yield Notice("info", f"{text} trained on")
    if wanted.sample is not None or wanted.types is not None:
        types = ", ".join(f"{count:,} {name}" for name, count in read.types.items())
        text = f"{len(read):,} of {chosen.total:,} rows of {read.path}"
        yield Notice("info", f"{text}: {types}" if types else text)
