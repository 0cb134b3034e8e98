"""The benchmark for GPUs, small and on this machine: all ways are measured and in the table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import tiny_random
from tests.hub import Hub, client_environment

ROOT = Path(__file__).parent.parent
MODEL = "someone/small-4bit"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, str]:
    """What it wrote, and what it printed, with a model of a Hub on this machine."""
    folder = tmp_path_factory.mktemp("metal")
    out = folder / "out"
    with Hub() as hub:
        hub.add(MODEL, tiny_random.write(folder / "model", bits=4))
        done = subprocess.run(
            [sys.executable, str(ROOT / "benchmarks/metal.py"), "--small",
             "--model", MODEL, "--out", str(out)],
            capture_output=True, text=True,
            env=client_environment(
                hub.url, folder / "home", MLX_DISABLE_COMPILE="1",  # it takes long
            ),
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return (
        json.loads((out / "metal.json").read_text("utf-8")),
        (out / "metal.md").read_text("utf-8"),
        done.stdout,
    )


@pytest.mark.parametrize("model", ["tiny", MODEL])
def test_every_way_is_measured(measured, model):
    results, page, printed = measured
    assert printed.endswith(page)
    lines = [line for line in results["measurements"] if line["model"] == model]
    assert {line["part"] for line in lines} == {"decoding", "training", "with an adapter"}
    ways = [line["way"] for line in lines]
    assert {"as it is", "prefix copied", "mlx_lm.batch_generate", "mlx_lm.lora"} <= set(ways)
    assert {"beside the weights", "folded into them", "compiled", "not compiled"} <= set(ways)
    for line in lines:
        assert line["tokens"] > 0 and line["tokens_per_second"][0] > 0 and line["peak_bytes"] > 0
        assert f"| {model} | {line['part']} | {line['way']} | " in page


@pytest.mark.parametrize("model", ["tiny", MODEL])
def test_all_ways_do_the_same_work(measured, model):
    results, _, _ = measured
    for part in ("decoding", "training"):
        tokens = {
            line["tokens"]
            for line in results["measurements"]
            if (line["model"], line["part"]) == (model, part) and "mlx_lm" not in line["way"]
        }
        assert len(tokens) == 1, part


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Where it wrote, with a model that cannot be had and no ways; and the lines that are printed,
    of which the first says in which ways an adapter was folded."""
    out = tmp_path_factory.mktemp("patched")
    code = f"""
import sys
sys.path.insert(0, {str(ROOT / "benchmarks")!r})
import metal
from star_mlx.engine import adapter
base = metal.load(metal.resolve.find("tiny"))
folds = []
def fold(model, wanted, whole):
    folds.append(wanted(1))
    return []
adapter.fold = fold
for way in metal.ways(base, metal.Work(metal.SMALL), metal.Path({str(out)!r})):
    if way[1] == "as it is" and way[0] == "training" or way[0] == "with an adapter":
        metal.measure(way, "tiny", metal.SMALL, 1e12)
print(folds)
metal.ways = lambda *given: iter(())
metal.main(["--small", "--model", {str(out / "none")!r}, "--out", {str(out)!r}])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env={**os.environ, "MLX_DISABLE_COMPILE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out, done.stdout.splitlines(keepends=True)


def test_an_adapter_is_folded_in_only_one_of_the_ways(patched):
    """The engine keeps the function that decides it, so that function is the one replaced."""
    assert patched[1][0] == "[False, True]\n"


def test_a_model_that_cannot_be_had_is_a_line(patched):
    out, (_, *page) = patched
    [line] = json.loads((out / "metal.json").read_text("utf-8"))["measurements"]
    assert line["model"].endswith("none") and "no folder" in line["error"]
    assert line["error"] in (out / "metal.md").read_text("utf-8") == "".join(page)


def test_the_machine_is_named(measured):
    results, page, _ = measured
    at = results["about"]
    assert at["device"] and at["system"] and at["memory_bytes"] > 0
    assert {"mlx", "mlx-lm", "star-mlx"} <= set(at["versions"])
    assert page.startswith(f"{at['device']} (")
