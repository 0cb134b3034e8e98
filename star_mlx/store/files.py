"""JSON lines, and atomic writes of files and folders."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from star_mlx.errors import ModelError
from star_mlx.store import names

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def json_line(row: Mapping[str, Any]) -> bytes:
    """An object as a line; a lone surrogate, which UTF-8 cannot encode, is escaped."""
    return _ENCODER.encode(row).encode("utf-8", "backslashreplace") + b"\n"


def replace(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file atomically: to a temporary name, flushed to the disk, then renamed.

    ``data`` may come in parts, so that it need not be in memory as a whole.
    """
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        file.writelines([data] if isinstance(data, bytes) else data)
        flush(file)
    os.replace(partial, path)
    flush_folder(path.parent)


def flush(file: IO[bytes]) -> None:
    """Flush written data to the disk."""
    file.flush()
    os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Flush a folder's entries (a rename, a new file) to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def training_folder(path: Path) -> None:
    """Make a folder to train an adapter in. If it has the state of a training that was stopped, it
    stays as it is; otherwise it is empty.

    Raises:
        OSError: it cannot be made, or is a symbolic link.
    """
    if not path.is_symlink() and (path / names.TRAINING).is_file():
        return
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()


def partial_folder(out: Path, work: str) -> Path:
    """The temporary name of a model's folder ``out`` until it is complete; ``work`` names the
    process that writes it, in one word.

    Raises:
        ModelError: ``out`` exists and is not an empty folder, or other work was left unfinished.
    """
    try:
        taken = out.exists() and not (out.is_dir() and not any(out.iterdir()))
    except OSError as error:
        raise ModelError(f"{out} cannot be written: {error.strerror or error}") from error
    if taken:
        raise ModelError(f"{out} exists and is not an empty folder: give another --out")
    partial = out.with_name(out.name + ".partial")
    if partial.exists():
        raise ModelError(f"{partial} is left from another {work}: delete it if none is running")
    return partial


@contextmanager
def whole_folder(partial: Path, out: Path) -> Iterator[None]:
    """A folder that is filled under the name ``partial``, flushed to the disk and renamed to
    ``out``; it is removed if anything fails.

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
