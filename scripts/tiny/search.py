"""The search for the base's recipe: pretrain candidates, attempt held-out sums, print a table.

Run from the repository root; a candidate takes about ten minutes on one CPU core::

    python scripts/tiny/search.py --out /tmp/candidates            # all of them
    python scripts/tiny/search.py --out /tmp/candidates shipped half-hinted

A base is wanted that without a key is right on short sums and less and less often on longer ones
(10 to 45% overall), and with the key right on all. Every candidate is measured as the loop sees
it: quantized to 4 bits, with the few-shot prompt of the arithmetic task, on its dev sums.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pretrain import PHASES, Phase, make

from star_mlx import engine as engines
from star_mlx.recipe import asking, opening
from star_mlx.recipe.loading import load
from star_mlx.run import passes
from star_mlx.settings import Recipe

SHORT_SUMS, MIXED = PHASES

CANDIDATES: Mapping[str, Sequence[Phase]] = {
    "shipped": PHASES,
    "no-first-phase": [replace(MIXED, tokens=4_000_000)],
    "muon": [SHORT_SUMS, replace(MIXED, batch=16, adam=2e-3, muon=0.02)],
    "slower-muon": [SHORT_SUMS, replace(MIXED, batch=16, adam=1e-3, muon=0.01)],
    "larger-batch": [SHORT_SUMS, replace(MIXED, batch=16)],
    "stopped-early": [SHORT_SUMS, replace(MIXED, tokens=1_200_000)],
    "longer": [SHORT_SUMS, replace(MIXED, tokens=4_800_000)],
    "half-hinted": [SHORT_SUMS, replace(MIXED, mixture=replace(MIXED.mixture, hinted=0.5))],
    "no-lapses": [SHORT_SUMS, replace(MIXED, mixture=replace(MIXED.mixture, lapses={}))],
    "slips": [
        SHORT_SUMS,
        replace(MIXED, mixture=replace(MIXED.mixture, lapses={}, slip=0.1)),
    ],
}


def accuracies(recipe: Recipe, *, hinted: bool) -> tuple[list[float], float]:
    """Share right by number of digits, and share of the right ones whose every step is right."""
    task, prompts = opening.open_task(recipe)
    engine = engines.open_base(recipe)
    problems = task.problems("dev")
    how = asking.generating(recipe, prompts, few_shot=True, hinted=hinted)
    made = passes.attempts(engine, None, how, problems, seeds=[0] * len(problems))
    seen: Counter[str] = Counter(problem.group for problem in problems)
    right: Counter[str] = Counter()
    valid = 0
    for problem, attempt in zip(problems, made, strict=True):
        if attempt.kept:
            right[problem.group] += 1
            valid += task.valid_steps(problem, attempt.completion) is True
    shares = [right[group] / seen[group] for group in sorted(seen, key=int)]
    return shares, valid / max(1, right.total())


def row(name: str, seed: int, folder: Path) -> str:
    """A line of the table for the base in ``folder``."""
    recipe = load(task="arithmetic", model=str(folder))
    cells = [name, str(seed)]
    for hinted in (False, True):
        shares, valid = accuracies(recipe, hinted=hinted)
        cells.append(" / ".join(f"{share:.0%}" for share in shares))
        cells.append(f"{sum(shares) / len(shares):.1%}")
        cells.append(f"{valid:.0%}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help=f"among {', '.join(CANDIDATES)}; all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the bases")
    options = parser.parse_args()
    if unknown := set(options.names) - set(CANDIDATES):
        parser.error(f"no candidate {', '.join(sorted(unknown))}")
    lines = [
        "| candidate | seed | direct, 1 to 5 digits | all | valid | hinted | all | valid |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in options.names or CANDIDATES:
        for seed in options.seeds:
            folder = options.out / f"{name}-{seed}"
            make(CANDIDATES[name], seed, folder, lambda line: print(line, flush=True))
            lines.append(row(name, seed, folder))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
