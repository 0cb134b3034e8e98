"""The reference that completions are compared with: mlx-lm one problem at a time, in float32.

It is no contestant, and not timed: float32 weights of the same values, and a real BLAS, so that it
ends in minutes. Work settings: ``problems``, how many.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common import Ends, Phase, main, tokenizer

from star_mlx.engine import blas

blas.load()  # before mlx

import mlx.core as mx  # noqa: E402
from mlx_lm import load as load_model  # noqa: E402
from mlx_lm import stream_generate  # noqa: E402


def load(work: dict[str, Any]) -> dict[str, Phase]:
    mx.disable_compile()
    model, tokens = load_model(str(Path(work["dequantized"])))

    def generation(phase: dict[str, Any]) -> dict[str, Any]:
        ends = Ends(tokenizer(work), phase["stop"], work["eos"])
        found = []
        for ids in phase["ids"][: work["settings"]["problems"]]:
            row: list[int] = []
            for response in stream_generate(model, tokens, ids, max_tokens=phase["max_tokens"]):
                row.append(response.token)
                if ends.ended(row):
                    break
            found.append(row)
        return {"completions": found}

    return {"generation": generation}


if __name__ == "__main__":
    main(load, ["mlx", "mlx-lm"])
