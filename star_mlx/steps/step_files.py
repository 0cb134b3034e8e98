"""The files between the steps by hand: reading them with precise errors, and writing atomically."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from star_mlx.data.rows import rows as rows_of
from star_mlx.errors import ModelError, RunError, StarError, TaskError
from star_mlx.recipe.loading import differences
from star_mlx.store import files, names, reading, rows, writing
from star_mlx.types import Attempt

Summary = dict[str, Any]  # what a step did, in plain data


def quiet(event: object) -> None:
    """Tell nobody of an event."""


def attempts(paths: Sequence[Path]) -> list[Attempt]:
    """Read the attempts in files of ``generate`` and ``rationalize``; a file may be empty.

    Raises:
        TaskError: a file cannot be read, or a row is not an attempt; names its place.
    """
    found: list[Attempt] = []
    for path in paths:
        if path.is_file() and path.suffix == ".jsonl" and not path.stat().st_size:
            continue
        for row in rows_of(path):
            if isinstance(row.values, str):
                raise TaskError(f"{row.place}: the row {row.values}")
            try:
                found.append(rows.attempt(row.values))
            except rows.Damaged as wrong:
                raise TaskError(
                    f"{row.place} is not an attempt of star-mlx generate: {wrong.why}"
                ) from None
    return found


def questions_beside(attempts: Path) -> list[rows.AddedQuestion]:
    """The questions that an iteration of a run added to its problems, from the file beside that of
    its attempts; none if there is no such file, or if the attempts are not in a run folder.

    Raises:
        RunError: it is damaged.
    """
    if attempts.resolve().parent.parent.name != names.ITERATIONS:
        return []
    found = rows.read(attempts.with_name(names.QUESTIONS), rows.AddedQuestion)
    return [question for block in found for question in block]


@contextmanager
def unfinished(out: Path, values: Mapping[str, Any], force: bool) -> Iterator[writing.Store]:
    """The run folder ``OUT.unfinished`` of a step, from which it continues if it is interrupted.

    It is removed when the block succeeds, or fails before any chunk is finished.

    Args:
        out: the file that the step makes.
        values: the values on which the step's result depends.
        force: whether to delete unfinished work of a step with other values.

    Raises:
        RunError: there is such work and no ``force``, or that step is still running.
    """
    path = out.with_name(f"{out.name}.unfinished")
    _clear(path, values, force)
    with writing.opened(path, values) as folder:
        try:
            yield folder
        except StarError:
            if not folder.has_chunks:
                shutil.rmtree(path)
            raise
    shutil.rmtree(path)


def _clear(path: Path, values: Mapping[str, Any], force: bool) -> None:
    """Delete the unfinished work of another step.

    Raises:
        RunError: there is some and no ``force``, or that step is still running.
    """
    if not (path / names.RECIPE).is_file():
        return
    then = reading.read(path).values
    if not (differ := differences(then, values)):
        return
    if not force:
        raise RunError(
            f"{path} was left by a step that differs ({'; '.join(differ[:3])}): give its options "
            "to continue it, or --force to start again"
        )
    with writing.opened(path, then):
        shutil.rmtree(path)


def check(out: Path, force: bool, option: str = "--out") -> None:
    """Check that a step may write to a file, which was given by an option.

    Raises:
        RunError: it may not.
    """
    if out.suffix != ".jsonl":
        raise RunError(f"{option} {out}: give a name that ends in .jsonl")
    if out.is_dir():
        raise RunError(f"{option} {out} is a folder: give a file")
    if out.exists() and not force:
        raise RunError(f"{out} exists: give another {option}, or --force to overwrite it")
    check_parent(out, option)


def check_parent(out: Path, option: str = "--out") -> None:
    """Check that a file can be made beside ``out``.

    Raises:
        RunError: it cannot.
    """
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK | os.X_OK):
        raise RunError(f"{option} {out}: {out.parent} is not a folder that can be written to")


def write(out: Path, lines: bytes | Iterable[Mapping[str, Any]]) -> None:
    """Write rows to a JSONL file, atomically."""
    files.replace(out, lines if isinstance(lines, bytes) else map(files.json_line, lines))


def content(adapter: Path) -> str:
    """SHA-256 of an adapter's files.

    Raises:
        ModelError: there is no such folder, or nothing in it.
    """
    digest, found = hashlib.sha256(), False
    for file in sorted(adapter.iterdir()) if adapter.is_dir() else ():
        if file.is_file():
            found = True
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    if not found:
        raise ModelError(
            f"{adapter} is not a folder with an adapter: give a folder written by star-mlx train"
        )
    return digest.hexdigest()
