"""How near the engine comes to what the BLAS can do: reading 64 prompts of 64 tokens.

    python benchmarks/floor.py --model FOLDER [--rows 64] [--tokens 64] [--repeats 5]

Prints the BLAS's peak (2048 x 2048 float32 products on all processors), the rate at which prompts
are read, counted as 2 operations for every weight of the linear layers and token, and their ratio.
The peak is measured before and after, since shared machines change under one's hands.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from star_mlx.engine import blas, open_engine
from star_mlx.types import Decoding


def peak() -> float:
    """GFLOP/s of a product of 2048 x 2048 float32 matrices on all processors."""
    import mlx.core as mx

    n = 2048
    blas.use_threads(blas.processors())
    a, b = mx.random.normal((n, n)), mx.random.normal((n, n))
    mx.eval(a, b)
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        mx.eval(a @ b)
        seconds.append(time.perf_counter() - start)
    return 2 * n**3 / min(seconds) / 1e9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="folder of a Llama-type model in MLX")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    config = json.loads((Path(given.model) / "config.json").read_text())
    h, heads = config["hidden_size"], config["num_attention_heads"]
    width = config.get("head_dim") or h // heads
    keys = config.get("num_key_value_heads", heads) * width
    weights = config["num_hidden_layers"] * (
        2 * h * heads * width + 2 * h * keys + 3 * h * config["intermediate_size"]
    )
    operations = 2.0 * weights * given.rows * given.tokens
    engine = open_engine(given.model)
    prompts = [f"{i % 10}" + " one" * (given.tokens - 1) for i in range(given.rows)]
    if {len(engine.encode(prompt)) for prompt in prompts} != {given.tokens}:
        parser.error("the tokenizer has no token for a digit or for ' one'")
    decoding = Decoding(1, (), batch_size=given.rows)
    peaks, seconds = [peak()], []
    for _ in range(given.repeats):
        start = time.perf_counter()
        engine.generate(
            prompts, decoding, prefix="", adapter=None, seeds=[0] * given.rows,
            progress=lambda done, tokens: None,
        )  # fmt: skip
        seconds.append(time.perf_counter() - start)
    peaks.append(peak())
    rates = [operations / s / 1e9 for s in seconds]
    print(f"peak of the BLAS: {min(peaks):.0f} to {max(peaks):.0f} GFLOP/s")
    print(
        f"reading {given.rows} x {given.tokens} tokens: {statistics.median(seconds):.2f} s, "
        f"{statistics.median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f}) GFLOP/s"
    )
    print(f"share of the peak: {statistics.median(rates) / max(peaks):.2f}")


if __name__ == "__main__":
    main()
