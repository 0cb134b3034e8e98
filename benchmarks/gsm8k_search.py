"""Look for a recipe on dev alone, by successive halving.

    python benchmarks/gsm8k_search.py --model DIR --data DIR --out DIR
    python benchmarks/gsm8k_search.py --task commonsenseqa --model DIR --data DIR --out DIR
    python benchmarks/gsm8k_search.py table --out DIR

Every candidate of the space (``spaces/TASK.yaml``, or ``--space FILE``) runs one iteration on few
problems and is measured on few dev problems; the best go on with more of both. A rung is
PROBLEMS:DEV:KEEP, KEEP being how many candidates go on to the next. ``--set`` gives a setting to
all candidates. ``OUT/trials.jsonl`` has a line for each trial, ``OUT/table.md`` the table. Started
again, the search goes on where it was: what is in ``OUT`` is not made again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from star_mlx.errors import StarError
from star_mlx.formatting import interval, percent

HERE = Path(__file__).parent
RUNGS = "64:64:8 128:100:4 256:200:1"


class Rung(NamedTuple):
    """A round of the search."""

    problems: int
    dev: int
    keep: int


def rungs(text: str) -> list[Rung]:
    """The rungs of ``"64:64:8 128:100:4"``."""
    found = [Rung(*map(int, one.split(":"))) for one in text.split()]
    if not found:
        raise ValueError("no rungs")
    return found


def space(file: Path) -> dict[str, list[str]]:
    """Candidate -> its settings, those common to all first.

    Raises:
        ValueError: the file has another form.
    """
    values = yaml.safe_load(file.read_text("utf-8"))
    common, candidates = values.get("common", []), values.get("candidates", {})
    lists = [common, *candidates.values()]
    if not candidates or not all(isinstance(part, list) for part in lists):
        raise ValueError(f"{file}: give lists of KEY=VALUE as common, and under candidates by name")
    return {str(name): [*common, *own] for name, own in candidates.items()}


def overrides(own: Sequence[str], more: Sequence[str], rung: Rung) -> list[str]:
    """The settings of a trial; the last one that gives a key counts."""
    given = [*own, *more, f"star.problems={rung.problems}", f"evaluate.dev={rung.dev}"]
    by_key = {text.partition("=")[0]: text for text in given}
    return [*by_key.values(), "evaluate.zero_shot=false"]


def order(trials: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The trials of a rung, the best first: by dev accuracy, and then by what it took to train."""
    return sorted(trials, key=lambda t: (-t["dev"]["correct"] / t["dev"]["n"], t.get("steps", 0)))


def search(
    names: dict[str, list[str]], ladder: Sequence[Rung], out: Path, settings: dict[str, Any],
    more: Sequence[str],
) -> None:  # fmt: skip
    """Run all rungs."""
    from search_trial import Workshop, run

    shop, done = Workshop(out / "work"), read(out)
    left = [*names]
    for number, rung in enumerate(ladder, 1):
        made = []
        for name in left:
            given = overrides(names[name], more, rung)
            about = {"rung": number, "name": name, "settings": given, "with": settings}
            trial = next((t for t in done if {k: t[k] for k in about} == about), None)
            if trial is None:
                print(f"rung {number}, {name}", file=sys.stderr)
                trial = {**about, **run(shop, settings, given)}
                done.append(trial)
                write(out, done)
            made.append(trial)
        left = [t["name"] for t in order(made)[: rung.keep]]
    write(out, done)


def read(out: Path) -> list[dict[str, Any]]:
    """The trials already made."""
    file = out / "trials.jsonl"
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    return [json.loads(line) for line in lines]


def write(out: Path, trials: Sequence[dict[str, Any]]) -> None:
    """Write both files whole, so that an interruption leaves the former ones."""
    out.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(trial) + "\n" for trial in trials)
    for name, text in (("trials.jsonl", lines), ("table.md", table(trials) + "\n")):
        part = out / f"{name}.part"
        part.write_text(text, "utf-8")
        part.replace(out / name)


def table(trials: Sequence[dict[str, Any]]) -> str:
    """The trials as Markdown, the last rung first, and the settings of each candidate."""
    found = []
    for rung in sorted({t["rung"] for t in trials}, reverse=True):
        these = order(t for t in trials if t["rung"] == rung)
        first = these[0]
        found += [
            f"Rung {rung}: {first['problems']} problems, n = {first['dev']['n']} dev problems.",
            "",
            "| candidate | right | with hint | rejected | kept | steps | base, % | dev, % [95%] "
            "| cut off | better, worse | p |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
            *map(_row, these),
            "",
        ]
    settings = {t["name"]: t["settings"] for t in trials}
    common = [
        s for s in next(iter(settings.values()), []) if all(s in v for v in settings.values())
    ]
    found += ["Settings of all:", "", "```", *_shown(common), "```", "", "and of each:", "", "```"]
    for name, own in settings.items():
        rest = [s for s in own if s not in common and s.partition("=")[0] not in _SIZES]
        found += [f"{name}:", *(f"  {text}" for text in _shown(rest))]
    return "\n".join([*found, "```"])


_SIZES = ("star.problems", "evaluate.dev")


def _shown(settings: Iterable[str]) -> list[str]:
    return [text.replace("\n", "\\n") for text in settings if text.partition("=")[0] not in _SIZES]


def _row(trial: dict[str, Any]) -> str:
    dev, base = trial["dev"], trial["base"]
    cells = [
        trial["name"],
        f"{trial['solved']} of {trial['problems']}",
        trial["with_hint"],
        trial["rejected"],
        trial["kept"],
        trial.get("steps", ""),
        percent(base["correct"] / base["n"], 1),
        f"{percent(dev['correct'] / dev['n'], 1)} [{interval(dev['ci95'])}]",
        dev["cut_off"],
        f"{trial['better']}, {trial['worse']}" if "better" in trial else "",
        f"{trial['p']:.3f}",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], epilog="See the beginning of the file."
    )
    parser.add_argument("what", nargs="?", choices=["run", "table"], default="run")
    parser.add_argument("--task", default="gsm8k", choices=["gsm8k", "commonsenseqa"])
    parser.add_argument("--recipe", help="recipe to vary [default: the task's]")
    parser.add_argument("--model")
    parser.add_argument("--data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--space", type=Path, help="YAML file of candidates")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these candidates alone")
    parser.add_argument("--rungs", default=RUNGS, help=f"[default: {RUNGS}]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], dest="more", metavar="KEY=VALUE")
    given = parser.parse_args()
    if given.what == "table":
        print(table(read(given.out)))
        return
    file = given.space or HERE / "spaces" / f"{given.task}.yaml"
    names = space(file)
    if unknown := set(given.only or ()) - set(names):
        parser.error(f"{file} has no candidate {sorted(unknown)[0]}: it has {', '.join(names)}")
    names = {name: own for name, own in names.items() if not given.only or name in given.only}
    settings = {"name": given.recipe or given.task, "model": given.model, "data": given.data}
    try:
        search(names, rungs(given.rungs), given.out, {**settings, "seed": given.seed}, given.more)
    except StarError as error:
        sys.exit(f"{parser.prog}: {error}")
    print(table(read(given.out)))


if __name__ == "__main__":
    main()
