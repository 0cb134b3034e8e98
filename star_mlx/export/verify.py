"""Compare the logits of an exported model with those of the trained one, on the run's own prompts.

Both models are computed in float32 on the CPU, on all positions of the first dev problems as asked
in the run, with the run's completions if they are short.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from star_mlx.engine import blas

blas.load()  # before the first import of mlx
import mlx.core as mx  # noqa: E402
import mlx.nn as nn  # noqa: E402

from star_mlx.engine import adapter_file as weights  # noqa: E402
from star_mlx.engine.adapter import Switch  # noqa: E402
from star_mlx.errors import ModelError  # noqa: E402
from star_mlx.events import Emit, PhaseStarted, Progress  # noqa: E402
from star_mlx.export import dense, torch_model  # noqa: E402
from star_mlx.export.prompt import Setup  # noqa: E402
from star_mlx.export.source import ExportSource  # noqa: E402
from star_mlx.export.torch_model import Logits  # noqa: E402
from star_mlx.store import names  # noqa: E402
from star_mlx.types import Attempt  # noqa: E402

PROMPTS, COMPLETION = (
    20,
    64,
)  # numbers of prompts, and of tokens of a completion; longer ones are left out
POSITIONS = 6000  # in all, so that long few-shot prompts do not take an hour
PACKAGES = ("star-mlx", "mlx", "mlx-lm", "torch", "transformers", "peft")


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two models' logits: the largest difference of one logit, and the number of
    positions at which both have the same largest; ``size`` is the largest absolute logit."""

    prompts: int
    positions: int
    largest: float
    equal: int
    size: float


def rows(source: ExportSource, setup: Setup) -> list[list[int]]:
    """Token ids of the run's prompts, with its short completions."""
    problems = setup.task.problems("dev")[: setup.recipe.evaluate.dev][:PROMPTS]
    blocks = source.record.rows(source.iteration, names.DEV, Attempt)
    made = {row.id: list(row.token_ids) for block in blocks for row in block}
    found = []
    for problem in problems:
        completion = made.get(problem.id, [])
        ids = setup.text.prompt(setup.asking.prompt(problem))
        found.append(ids + (completion if len(completion) <= COMPLETION else []))
        if sum(map(len, found)) >= POSITIONS:
            break
    return found


def compare(
    texts: Sequence[Sequence[int]], ours: Logits, theirs: Logits, iteration: int, emit: Emit
) -> Difference:
    """The difference over all positions of all texts. A NaN makes ``largest`` NaN."""
    emit(PhaseStarted(iteration, "evaluate", len(texts)))
    start, positions, equal = time.perf_counter(), 0, 0
    largest = size = np.float32(0)
    for done, ids in enumerate(texts, 1):
        a, b = ours(ids), theirs(ids)
        if a.shape != b.shape:
            raise ModelError(f"the models have logits of shapes {a.shape} and {b.shape}")
        largest = np.maximum(largest, np.abs(a - b).max())
        size = np.maximum(size, np.abs(a).max())
        equal += int((a.argmax(-1) == b.argmax(-1)).sum())
        positions += len(ids)
        seconds = time.perf_counter() - start
        emit(Progress(iteration, "evaluate", done, len(texts), positions, seconds))
    return Difference(len(texts), positions, float(largest), equal, float(size))


def judge(found: dict[str, Any], what: str, force: bool) -> None:
    """Refuse a model that differs by more than its bound, unless forced.

    Raises:
        ModelError: it differs.
    """
    if not found["within_bound"] and not force:
        raise ModelError(
            f"{what} differs from the trained model by up to "
            f"{found['max_abs_logit_difference']:.2g} in a logit on {found['prompts']} prompts, "
            f"but only {found['bound']:g} is allowed; nothing was written (--force "
            "writes it anyway)"
        )


def peft(
    source: ExportSource, setup: Setup, folder: Path, names: set[str], bound: float, emit: Emit
) -> dict[str, Any]:
    """Compare the adapter in mlx with the PEFT adapter in ``folder``, whose tensors have these
    ``names``, in torch, on the same base."""
    start = time.perf_counter()
    texts = rows(source, setup)
    plain = folder / "base.partial"
    with dense.in_float32(source.base, source.trust_remote_code) as model:
        dense.save(source, model, plain)
        theirs = torch_model.with_adapter(torch_model.base(plain), folder, names)
        adapted(model, source)
        difference = compare(
            texts, of_mlx(model), torch_model.logits(theirs), source.iteration, emit
        )
    del theirs
    shutil.rmtree(plain)
    return entry(source, difference, bound, "mlx with the adapter", "torch with peft", start)


def entry(
    source: ExportSource, found: Difference, bound: float, ours: str, theirs: str, start: float
) -> dict[str, Any]:
    """The content of parity.json."""
    return {
        "compared": [ours, theirs],
        "dtype": "float32",
        "prompts": found.prompts,
        "positions": found.positions,
        "max_abs_logit_difference": found.largest,
        "max_abs_logit": found.size,
        "equal_argmax": found.equal / found.positions if found.positions else 1.0,
        "bound": bound,
        "within_bound": found.largest <= bound,  # false for NaN
        "base": source.base_told,
        "iteration": source.iteration,
        "adapter_sha256": _sha256(source.adapter / weights.WEIGHTS),
        "versions": {name: _version(name) for name in PACKAGES},
        "seconds": round(time.perf_counter() - start, 1),
    }


def adapted(model: nn.Module, source: ExportSource) -> None:
    """Put the adapter on a bare base, as layers of its own."""
    Switch(model, lambda size: False).use(source.adapter)


def of_mlx(model: nn.Module) -> Logits:
    """Token ids -> logits of an mlx model."""

    def logits(ids: Sequence[int]) -> Any:
        return np.array(model(mx.array([list(ids)]))[0].astype(mx.float32))

    return logits


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
