"""A data file of many rows: what a loop on it costs, and how much memory it takes.

    python benchmarks/many_rows.py write FILE [--rows 10000000]
    python benchmarks/many_rows.py loop FILE DIR [--problems 100]

``write`` makes a JSONL file of questions, rationales and answers. ``loop`` runs an iteration on a
few of its problems with the scripted engine, or resumes the run, and prints one line of JSON: the
processor seconds until the first problem is asked and until the end, and the peak memory.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import sys
import time
from pathlib import Path

from star_mlx.engine.scripted import Asked, ScriptedEngine
from star_mlx.events import Event, PhaseStarted
from star_mlx.recipe import loading
from star_mlx.run import loop

_SUM = re.compile(r"has (\d+) apples and buys (\d+)")


def write(path: Path, rows: int) -> None:
    """Rows of about 250 bytes, no two alike."""
    with open(path, "w", encoding="utf-8") as file:
        for number in range(rows):
            a, b = number, number * 7 % 1000
            file.write(
                f'{{"id": "row-{number:08d}", "question": "Mary has {a} apples and buys {b} more '
                f'at the market. How many apples does she have now?", "rationale": "She had {a} '
                f"apples and bought {b}. Together that is {a} + {b} = {a + b}. The answer is "
                f'{a + b}.", "answer": "{a + b}"}}\n'
            )


def reply(asked: Asked) -> str:
    """Right if the first number is odd, or with a hint."""
    a, b = map(int, _SUM.findall(asked.prompt)[-1])
    right = a % 2 or f"({a + b})" in asked.prompt
    return f" She has {a} and {b}, so {a} + {b}. The answer is {a + b if right else a}."


def run(data: Path, folder: Path, problems: int) -> dict[str, float]:
    """An iteration; the processor seconds until the first question and until the end."""
    made = loading.load(
        None,
        task="jsonl",
        overrides=[
            f"task.options.path={data}",
            "task.options.fields={id: id, question: question, answer: answer, "
            "rationale: rationale}",
            "task.options.read={kind: last-number}",
            "task.options.dev=200",
            "prompts.k=2",
            "star.iterations=1",
            f"star.problems={problems}",
            "star.schedule.start=5",
            "evaluate.dev=100",
        ],
    )
    asked: list[float] = []

    def emit(event: Event) -> None:
        if isinstance(event, PhaseStarted):
            asked.append(time.process_time())

    loop.run(made, folder, emit, engine=ScriptedEngine(reply))
    end = time.process_time()
    return {"first": round((asked or [end])[0], 1), "end": round(end, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("what", choices=["write", "loop"])
    parser.add_argument("data", type=Path, metavar="FILE")
    parser.add_argument("run", type=Path, nargs="?", metavar="DIR")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--problems", type=int, default=100)
    given = parser.parse_args()
    if given.what == "write":
        write(given.data, given.rows)
        return
    seconds = run(given.data, given.run, given.problems)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps({**seconds, "peak": peak * unit}))


if __name__ == "__main__":
    main()
