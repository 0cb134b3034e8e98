"""Keep what a dry run would send, in a folder to look at."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from star_mlx.errors import RunError


def check(out: Path) -> None:
    """Refuse a folder in which something would be overwritten.

    Raises:
        RunError: it has files in it, or is a file.
    """
    try:
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return
    except OSError as error:
        raise RunError(f"{out} cannot be read: {error.strerror or error}") from None
    what = "is not empty" if out.is_dir() else "is a file"
    raise RunError(f"{out} {what}: give --out a folder that is empty or does not exist")


def keep(made: Path, out: Path) -> None:
    """Copy the folder ``made`` to ``out``, whole or not at all.

    Raises:
        RunError: it cannot be written.
    """
    out = out.absolute()
    beside = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        copy = beside / "kept"
        shutil.copytree(made, copy)
        if out.exists():
            out.rmdir()
        copy.rename(out)
    except OSError as error:
        raise RunError(
            f"{out} cannot be written: {error.strerror or error}; give another --out"
        ) from None
    finally:
        if beside:
            shutil.rmtree(beside, ignore_errors=True)
