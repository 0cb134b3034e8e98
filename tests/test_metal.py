"""The benchmark for GPUs, small and on this machine: all ways are measured and in the table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, str]:
    """What it wrote, and what it printed."""
    out = tmp_path_factory.mktemp("metal") / "out"
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/metal.py"), "--small",
         "--model", str(out / "no such model"), "--out", str(out)],
        capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MLX_DISABLE_COMPILE": "1"},  # it takes long
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return (
        json.loads((out / "metal.json").read_text("utf-8")),
        (out / "metal.md").read_text("utf-8"),
        done.stdout,
    )


def test_every_way_is_measured(measured):
    results, page, printed = measured
    assert printed.endswith(page)
    lines = [line for line in results["measurements"] if line["model"] == "tiny"]
    assert {line["part"] for line in lines} == {"decoding", "training", "with an adapter"}
    ways = [line["way"] for line in lines]
    assert {"as it is", "prefix copied", "mlx_lm.batch_generate", "mlx_lm.lora"} <= set(ways)
    assert {"beside the weights", "folded into them", "compiled", "not compiled"} <= set(ways)
    for line in lines:
        assert line["tokens"] > 0 and line["tokens_per_second"][0] > 0 and line["peak_bytes"] > 0
        assert f"| tiny | {line['part']} | {line['way']} | " in page


def test_all_ways_do_the_same_work(measured):
    results, _, _ = measured
    for part in ("decoding", "training"):
        tokens = {
            line["tokens"]
            for line in results["measurements"]
            if line["part"] == part and "mlx_lm" not in line["way"]
        }
        assert len(tokens) == 1, part


def test_an_adapter_is_folded_in_only_one_of_the_ways(tmp_path):
    """The engine keeps the function that decides it, so that function is the one replaced."""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT / "benchmarks")!r})
import metal
from star_mlx.engine import adapter
base = metal.load(metal.resolve.find("tiny"))
folds = []
def fold(model, wanted):
    folds.append(wanted(1))
    return []
adapter.fold = fold
for way in metal.ways(base, metal.Work(metal.SMALL), metal.Path({str(tmp_path)!r})):
    if way[1] == "as it is" and way[0] == "training" or way[0] == "with an adapter":
        metal.measure(way, "tiny", metal.SMALL, 1e12)
print(folds)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.strip() == "[False, True]", done.stderr


def test_the_machine_is_named_and_a_missing_model_is_a_line(measured):
    results, page, _ = measured
    at = results["about"]
    assert at["device"] and at["system"] and at["memory_bytes"] > 0
    assert {"mlx", "mlx-lm", "star-mlx"} <= set(at["versions"])
    assert page.startswith(f"{at['device']} (")
    assert "no such model" in page and "no folder" in page
