"""One iteration without a model: what everything around the model costs, in CPU time.

    python benchmarks/scripted_loop.py PROBLEMS DIR

The scripted engine answers at once, so what is left is making prompts and seeds, grading,
keeping, and writing the run folder. Prints one line of JSON: the seconds of each phase, and the
peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

from star_mlx.engine.scripted import Asked, ScriptedEngine
from star_mlx.events import Event, PhaseStarted
from star_mlx.recipe import loading
from star_mlx.run import loop
from star_mlx.tasks.arithmetic_text import scratchpad, spaced

PHASES = ("generate", "rationalize and keep", "train and finish")


def reply(asked: Asked) -> str:
    """Two sums in three right, all with a hint."""
    _, question, target, _ = asked.prompt.rsplit("Input:", 1)[1].split("\n")
    a, b = (int(side.replace(" ", "")) for side in question.split("+"))
    if target != "Target:" or (a + b) % 3:
        return f"{scratchpad(a, b)}\n{spaced(a + b)}\n\n"
    return f"<scratch>\n</scratch>\n{spaced(a)}\n\n"


def phases(problems: int, run: Path) -> dict[str, float]:
    """CPU seconds of each phase of iteration 1."""
    made = loading.load(
        None,
        task="arithmetic",
        overrides=[
            "star.iterations=1",
            f"star.problems={problems}",
            f"task.options.train={max(50_000, problems)}",
            "star.schedule.start=5",
            "star.evaluate=false",
            "generate.max_tokens=1000",
            "train.max_length=4000",
        ],
    )
    started: list[float] = []

    def emit(event: Event) -> None:
        if isinstance(event, PhaseStarted):
            started.append(time.process_time())

    loop.run(made, run, emit, engine=ScriptedEngine(reply))
    started.append(time.process_time())
    spans = zip(PHASES, started[:-1], started[1:], strict=True)
    return {phase: end - begin for phase, begin, end in spans}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("problems", type=int)
    parser.add_argument("run", type=Path, metavar="DIR")
    given = parser.parse_args()
    seconds = phases(given.problems, given.run)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps({"problems": given.problems, "cpu_seconds": seconds, "peak": peak * unit}))


if __name__ == "__main__":
    main()
