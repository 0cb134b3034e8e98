"""A rank of a training, run by ``test_ranks_mlx``: ``ranks_training.py BASE OUT ASKED``.

``ASKED`` are JSON: settings of the training, the number of rows, and the step after which the rank
stops, or 0.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from star_mlx.engine import open_engine
from star_mlx.settings import Train
from star_mlx.types import Amount, Step
from tests.test_engine_train import examples


def main(base: str, out: str, asked: str) -> None:
    engine = open_engine(base)
    from star_mlx.engine.ranks import Ranks

    ranks = Ranks("ring")
    engine.join(ranks)
    folder = Path(out) / f"{ranks.rank}"
    folder.mkdir(parents=True, exist_ok=True)
    given = json.loads(asked)
    told: list[Step] = []

    def progress(step: Step) -> None:
        told.append(step)
        if step.step == given["cut"]:
            sys.exit()

    rows = examples(engine, given["rows"])
    settings = Train(**given["settings"])
    trained = engine.train(
        rows, settings, Amount(steps=given["steps"]), seed=5, out=folder, progress=progress
    )
    print(json.dumps([[step.loss, step.gradient_norm] for step in told]), trained.tokens)


if __name__ == "__main__":
    main(*sys.argv[1:])
