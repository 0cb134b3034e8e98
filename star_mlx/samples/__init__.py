"""Finished runs that come with the package, to look at, to ask and to teach with at once.

``NAME.tar.xz`` has the run folders of a sample; ``scripts/sample_run.py`` makes it.

May import ``store`` and what is below it.
"""

from __future__ import annotations

import difflib
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from star_mlx.errors import RunError
from star_mlx.store import names

SUFFIX = ".tar.xz"


def known() -> list[str]:
    """The names of the samples."""
    return sorted(file.name.removesuffix(SUFFIX) for file in _here().glob(f"*{SUFFIX}"))


def unpack(name: str, out: Path) -> list[Path]:
    """Write the run folders of a sample below a folder, all or none, and return them.

    Raises:
        RunError: there is no such sample, ``out`` exists and is not an empty folder, or it cannot
            be written.
    """
    file = _here() / f"{name}{SUFFIX}"
    if name not in known():
        near = difflib.get_close_matches(name, known(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known())}"
        raise RunError(f"there is no sample run {name}: {hint}")
    beside = None
    try:
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise RunError(
                f"{out} exists already and is left as it is: give another --out, or remove it first"
            )
        whole = out.absolute()
        whole.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{whole.name}.", dir=whole.parent))
        made = beside / "runs"
        _extract(file, made)
        if out.exists():
            whole.rmdir()
        os.replace(made, whole)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror or error}") from None
    except tarfile.CompressionError:
        raise RunError(
            "this Python was built without lzma, which the sample runs are packed with: use one "
            "that has it"
        ) from None
    finally:
        if beside:
            shutil.rmtree(beside, ignore_errors=True)
    return sorted(path.parent for path in out.glob(f"*/{names.RECIPE}"))


def _extract(file: Path, to: Path) -> None:
    with tarfile.open(file, "r:xz") as archive:
        for member in archive:
            if content := archive.extractfile(member):  # a file: the archive has nothing else
                path = to / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())


def _here() -> Path:
    return Path(__file__).parent
