"""Several ranks that train together over mlx's ring on this machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_mlx.engine import open_engine
from star_mlx.settings import Train
from star_mlx.store import names
from star_mlx.types import Amount, Step
from tests import tiny_random
from tests.test_engine_train import examples

pytestmark = pytest.mark.slow

ROWS, STEPS, BATCH = 40, 7, 7  # neither batches nor epochs divide evenly
SETTINGS = {
    "rank": 4,
    "learning_rate": 1e-2,
    "warmup": 2,
    "batch_size": BATCH,
    "max_length": 512,
    "save_every": 1e-9,
}


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def together(base: Path, out: Path, number: int, *, cut: int = 0) -> list[str]:
    """Train on so many ranks; what each printed."""
    hosts = out.with_suffix(".json")
    hosts.write_text(json.dumps([[f"127.0.0.1:{port}"] for port in free_ports(number)]))
    asked = json.dumps({"settings": SETTINGS, "rows": ROWS, "steps": STEPS, "cut": cut})
    command = [sys.executable, "-m", "tests.ranks_training", str(base), str(out), asked]
    ranks = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "MLX_HOSTFILE": str(hosts), "MLX_RANK": str(rank)},
        )
        for rank in range(number)
    ]  # fmt: skip
    try:
        said = [rank.communicate(timeout=120)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0] * number
    return said


def weights(adapter: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return load_file(adapter / names.WEIGHTS)


def assert_close(found: Path, wanted: Path) -> None:
    """To a hundredth of one step of AdamW, which makes much of a gradient that is almost zero."""
    one, other = weights(found), weights(wanted)
    assert one.keys() == other.keys()
    for name in one:
        atol = SETTINGS["learning_rate"] / 100
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=atol, err_msg=name)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_random.write(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def engine(base: Path) -> Any:
    return open_engine(str(base))


def train(engine: Any, out: Path) -> list[Step]:
    told: list[Step] = []
    rows, amount = examples(engine, ROWS), Amount(steps=STEPS)
    engine.train(rows, Train(**SETTINGS), amount, seed=5, out=out, progress=told.append)
    return told


@pytest.fixture(scope="module")
def alone(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Step]]:
    out = tmp_path_factory.mktemp("alone")
    return out, train(engine, out)


def test_the_adapter_of_several_ranks_is_that_of_one_to_rounding(base, alone, tmp_path):
    """Also if the training was stopped, and goes on with another number of ranks."""
    out = tmp_path / "out"
    together(base, out, 2, cut=4)
    assert (out / "0" / names.TRAINING).is_file()
    assert not (out / "1" / names.TRAINING).is_file()  # that of rank 0 is the one
    said = together(base, out, 3)
    assert len(set(said)) == 1  # losses, norms and tokens, to the last digit
    files = [(out / f"{rank}" / names.WEIGHTS).read_bytes() for rank in range(3)]
    assert len(set(files)) == 1
    assert_close(out / "0", alone[0])
    steps = json.loads(said[0].rpartition(" ")[0])
    assert len(steps) == STEPS
    for (loss, norm), step in zip(steps, alone[1], strict=True):
        assert (loss, norm) == pytest.approx((step.loss, step.gradient_norm), rel=1e-4)
