"""JSON lines and writes that are whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from star_mlx.errors import ModelError, RunError

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def json_line(row: Mapping[str, Any]) -> bytes:
    """One object as a line; a lone surrogate, which UTF-8 has no form for, becomes its escape."""
    return _ENCODER.encode(row).encode("utf-8", "backslashreplace") + b"\n"


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file; none where it does not exist.

    Raises:
        RunError: a line that is not JSON, by number.
    """
    if not path.exists():
        return
    with open(path, encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, 1):
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                raise RunError(f"{path}, line {number} is not JSON: the file is damaged") from None


def replace(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file whole: beside its place, flushed to the disk, then renamed into it.

    ``data`` may come in parts, so that all of it need not be in memory at once.
    """
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        file.writelines([data] if isinstance(data, bytes) else data)
        flush(file)
    os.replace(partial, path)
    flush_folder(path.parent)


def flush(file: IO[bytes]) -> None:
    """Force what was written to the disk."""
    file.flush()
    os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Force a folder's names (a rename, a new file) to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def partial_folder(out: Path, work: str) -> Path:
    """The name that a model's folder has until it is whole, where ``out`` is free to be written;
    ``work`` is what writes it, in a word.

    Raises:
        ModelError: ``out`` exists and is not an empty folder, or other work was left half done.
    """
    try:
        taken = out.exists() and not (out.is_dir() and not any(out.iterdir()))
    except OSError as error:
        raise ModelError(f"{out} cannot be written: {error.strerror or error}") from error
    if taken:
        raise ModelError(f"{out} exists and is not an empty folder: give another --out")
    partial = out.with_name(out.name + ".partial")
    if partial.exists():
        raise ModelError(f"{partial} is left of another {work}: delete it if none is running")
    return partial


@contextmanager
def whole_folder(partial: Path, out: Path) -> Iterator[None]:
    """A folder that is filled under the name ``partial``, flushed to the disk and renamed; removed
    where anything fails.

    Raises:
        ModelError: it cannot be written.
    """
    try:
        partial.mkdir(parents=True)
        yield
        for path in partial.rglob("*"):
            if path.is_file():
                with open(path, "rb") as file:
                    os.fsync(file.fileno())
        os.replace(partial, out)
        flush_folder(out.parent)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError):
            raise ModelError(f"{out} cannot be written: {error.strerror or error}") from error
        raise
