"""star-mlx itself, by the public signatures of ``types.Engine``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from common import Phase, main

from star_mlx.engine import open_engine
from star_mlx.settings import Train
from star_mlx.types import Amount, Decoding, Example


def load(work: dict[str, Any]) -> dict[str, Phase]:
    engine = open_engine(work["model"], products=work["settings"].get("products", "float32"))

    def generation(phase: dict[str, Any]) -> dict[str, Any]:
        batch_size = work["settings"]["batch_size"]
        decoding = Decoding(phase["max_tokens"], tuple(phase["stop"]), batch_size=batch_size)
        seen = 0

        def progress(done: int, tokens: int) -> None:
            nonlocal seen
            seen = tokens

        made = engine.generate(
            phase["prompts"],
            decoding,
            prefix=phase["prefix"],
            adapter=None,
            seeds=[0] * len(phase["prompts"]),
            progress=progress,
        )
        return {"completions": [c.token_ids for c in made], "decoded": seen}

    def training(phase: dict[str, Any]) -> dict[str, Any]:
        lora = Train(**phase["lora"])
        examples = [
            Example(
                r["id"], r["prompt"], r["completion"], "given", tuple(r["ids"][r["start"] : -1]), 1
            )
            for r in phase["rows"]
        ]
        losses: list[float] = []
        with tempfile.TemporaryDirectory() as out:
            trained = engine.train(
                examples,
                lora,
                Amount(epochs=1),
                seed=0,
                out=Path(out) / "adapter",
                progress=lambda step: losses.append(step.loss),
            )
        return {"tokens": trained.tokens, "losses": losses}

    return {"generation": generation, "training": training}


if __name__ == "__main__":
    main(load, ["star-mlx", "mlx", "mlx-cpu", "mlx-lm", "scipy-openblas32", "numpy"])
