"""What a bound on memory does: smaller batches, the same answers, a refusal in one line."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from star_mlx.engine import open_engine
from star_mlx.errors import ModelError
from star_mlx.settings import Train
from star_mlx.types import Amount, Decoding, Example
from tests import tiny_random

PREFIX = "Input: 1 2\nTarget: ab\n\n" * 4
PROMPTS = [f"Input: {i} and {i * i}\n" for i in range(24)]
DECODING = Decoding(max_tokens=40, stop=(), batch_size=24)
LORA = Train(
    rank=4, scale=2.0, dropout=0.0, layers=-1, keys=None, learning_rate=1e-3, warmup=0,
    decay="none", batch_size=16, max_length=512, grad_clip=1.0, weight_decay=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_random.write(tmp_path_factory.mktemp("base")))


def complete(engine: Any) -> tuple[list[str], int]:
    engine.peak_memory()
    found = engine.generate(
        PROMPTS, DECODING, prefix=PREFIX, adapter=None, seeds=[0] * len(PROMPTS),
        progress=lambda done, tokens: None,
    )  # fmt: skip
    return [c.text for c in found], engine.peak_memory()


@pytest.mark.slow
def test_a_bound_makes_batches_smaller_and_changes_no_answer(folder: str) -> None:
    import mlx.core as mx

    from star_mlx.engine.memory import MARGIN

    gc.collect()  # what other tests left
    engine = open_engine(folder)
    free, peak = complete(engine)
    held = mx.get_active_memory()
    del engine  # the bounded one takes its place
    gc.collect()
    bound = (held + (peak - held) // 2) / MARGIN  # whatever else this process holds
    bounded = open_engine(folder, max_memory=bound / 2**30)
    texts, least = complete(bounded)
    assert texts == free
    assert least < peak
    assert least <= bound


def test_training_keeps_to_a_bound(folder: str, tmp_path: Path) -> None:
    import mlx.core as mx

    from star_mlx.engine.memory import MARGIN

    def train(engine: Any, out: Path) -> int:
        rows = [
            Example(str(i), f"q{i}\n", "a" * 60, "direct", tuple(engine.encode("a" * 60)), 1)
            for i in range(16)
        ]
        engine.peak_memory()
        engine.train(rows, LORA, Amount(steps=2), seed=0, out=out, progress=lambda *step: None)
        return int(engine.peak_memory())

    gc.collect()  # what other tests left
    engine = open_engine(folder)
    free = train(engine, tmp_path / "free")
    held = mx.get_active_memory()
    del engine  # the bounded one takes its place
    gc.collect()
    bound = (held + (free - held) * 2 // 3) / MARGIN  # whatever else this process holds
    bounded = train(open_engine(folder, max_memory=bound / 2**30), tmp_path / "bounded")
    assert bounded < free
    assert bounded <= bound
    one, other = (mx.load(str(tmp_path / n / "adapters.safetensors")) for n in ("free", "bounded"))
    assert all(mx.allclose(one[k], other[k], atol=1e-4) for k in one)


def test_a_bound_that_holds_no_row_is_refused_in_one_line(folder: str, tmp_path: Path) -> None:
    engine = open_engine(folder, max_memory=1e-6)
    with pytest.raises(ModelError, match=r"^max_memory=1e-06 \(GiB\) is too small to decode one"):
        complete(engine)
    row = Example("e", "q\n", "aaa", "direct", tuple(engine.encode("aaa")), 1)
    with pytest.raises(ModelError, match="is too small to train on a row of"):
        engine.train([row], LORA, Amount(steps=1), seed=0, out=tmp_path, progress=lambda *a: None)
