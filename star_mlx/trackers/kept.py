"""``RUN/trackers.json``: the run of each tracker for this one, and what was logged to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from star_mlx.errors import RunError
from star_mlx.store import names
from star_mlx.store.files import replace

Kept = dict[str, dict[str, Any]]  # by the tracker's name


def read(run: Path) -> Kept:
    """Read the file of a run; empty if there is none.

    Raises:
        RunError: the file is damaged.
    """
    path = _path(run)
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: {"iteration": -1, "step": 0, **entry} for name, entry in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        raise RunError(
            f"{path} cannot be read or is damaged: delete it to have the trackers begin new runs"
        ) from None


def write(run: Path, kept: Kept) -> None:
    replace(_path(run), json.dumps(kept, indent=1).encode() + b"\n")


def _path(run: Path) -> Path:
    return run / names.TRACKERS
