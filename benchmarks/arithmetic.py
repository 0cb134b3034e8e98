"""The figures of docs/results.md: the arithmetic recipe, seed by seed, with and without
rationalization.

    python benchmarks/arithmetic.py run --out DIR [--seeds 0 1 2] [--recipe arithmetic]
    python benchmarks/arithmetic.py table --out DIR

``run`` starts ``star-mlx loop`` once for every seed and kind, one after the other, in processes of
their own, and then reads the test split once with each last model, and sums of 6 to 8 digits. What
is there already is not run again. ``table`` prints Markdown from the run folders.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from star_mlx import engine as engines
from star_mlx.measure.accuracy import measured, tally, wilson
from star_mlx.recipe import opening
from star_mlx.run import loop
from star_mlx.store import reading
from star_mlx.store.metrics import as_json
from star_mlx.tasks.arithmetic import Arithmetic, ArithmeticOptions

KINDS = {"with": "--rationalize", "without": "--no-rationalize"}


def run(out: Path, recipe: str, seeds: list[int], kinds: list[str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        for kind in kinds:
            folder = out / f"{recipe}-{kind}-{seed}"
            if (folder / "wall_seconds").exists():
                continue
            command = [sys.executable, "-m", "star_mlx", "loop", "--recipe", recipe, "--plain"]
            command += [KINDS[kind], "--seed", str(seed), "--run", str(folder)]
            print(" ".join(command[1:]), flush=True)
            start = time.perf_counter()
            subprocess.run(command, check=True)
            (folder / "wall_seconds").write_text(f"{time.perf_counter() - start:.1f}\n")
            if kind == "with":
                (folder / "test.json").write_text(json.dumps(measure(folder), indent=1))


def measure(folder: Path) -> dict[str, object]:
    """The last model on the test split, and on lengths it was never trained on."""
    recipe = opening.resume_recipe(folder)
    engine = engines.open_base(recipe)
    task, _ = opening.open_task(recipe)
    longest = max(int(p.group) for p in task.problems("dev"))
    longer = Arithmetic(ArithmeticOptions(digits=(longest + 1, longest + 3), train=1))
    figures = {}
    for name, problems in (("test", task.problems("test")), ("longer", longer.problems("test"))):
        attempts = loop.attempt(folder, problems, engine=engine)
        figures[name] = as_json(measured(tally("test", problems, attempts)))
    return figures


def table(out: Path) -> None:
    for folder in sorted(p for p in out.iterdir() if (p / "recipe.yaml").exists()):
        record = reading.read(folder)
        wall = folder / "wall_seconds"
        print(f"\n### {folder.name}" + (f", {wall.read_text().strip()} s" if wall.exists() else ""))
        classes = list(record.metrics[0].by_class)
        print(
            "\n| iteration | solved | rationalized | kept | valid steps | steps | loss | dev |"
            + "".join(f" {c} |" for c in classes)
            + " seconds |"
        )
        print("|---" * (9 + len(classes)) + "|")
        for line in record.metrics:
            print("| " + " | ".join(row(as_json(line), classes)) + " |")
        if (folder / "test.json").exists():
            for name, entry in json.loads((folder / "test.json").read_text()).items():
                by_class = [f"{c} digits {interval(v)}" for c, v in entry["by_class"].items()]
                print(f"\n{name}: {interval(entry)} of {entry['n']}; {', '.join(by_class)}")


def row(line: dict, classes: list[str]) -> list[str]:
    cells = [str(line["iteration"])]
    if line["iteration"]:
        valid = line["valid_steps"]
        share = "/".join(
            f"{100 * v['valid'] / v['n']:.0f}" if v["n"] else "-" for v in valid.values()
        )
        train = line["train"]
        cells += [f"{line['solved']}/{line['problems']}", str(line["rationalized"])]
        cells += [str(line["examples"]), share, str(train["steps"])]
        cells += [f"{train['first_loss']:.3f} to {train['last_loss']:.3f}"]
    else:
        cells += [""] * 6
    cells.append(interval(line["eval"]))
    cells += [interval(line["eval"]["by_class"][c]) for c in classes]
    return [*cells, f"{sum(line.get('seconds', {}).values()):.0f}"]


def interval(entry: dict) -> str:
    low, high = wilson(entry["correct"], entry["n"])
    return f"{100 * entry['correct'] / entry['n']:.1f} [{100 * low:.0f}-{100 * high:.0f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", default="arithmetic")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    given = parser.parse_args()
    if given.what == "run":
        run(given.out, given.recipe, given.seeds, given.kinds)
    else:
        table(given.out)


if __name__ == "__main__":
    main()
