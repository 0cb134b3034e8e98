"""Where the full data files are, for the tests that want all rows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def data_file(name: str) -> Path:
    """A file such as ``gsm8k/train.jsonl`` under ``STAR_MLX_DATA`` or ``../shared/data``.

    The test that asks is skipped where the file is not there.
    """
    folder = os.environ.get("STAR_MLX_DATA")
    root = Path(folder) if folder else Path(__file__).parents[2] / "shared" / "data"
    if not (root / name).is_file():
        pytest.skip(f"{root / name} is not there: set STAR_MLX_DATA to the folder of the data")
    return root / name
