"""Prove a recipe: STaR with and without rationalization, its baselines, and the test split once.

    python benchmarks/gsm8k_proof.py --recipe FILE --model DIR --data DIR --out DIR \
        --iterations 3 --problems 400 --seeds 0 1 --test 600
    python benchmarks/gsm8k_proof.py table --out DIR

Everything is a command of star-mlx, printed before it runs, and everything is in run folders below
``OUT``. Started again with the same arguments, it goes on where it was. The model that is tested
against all others is that of the run with the best dev accuracy among those with rationalization.
``OUT/table.md`` is the table, ``OUT/rationales.md`` some rationales of each kind to be read.
``--task commonsenseqa`` does the same for CommonsenseQA.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from star_mlx.formatting import interval, percent
from star_mlx.recipe import opening
from star_mlx.store import reading
from star_mlx.store.metrics import Metrics

STAR = [sys.executable, "-m", "star_mlx"]
SHEET = 40  # rationales of each kind in rationales.md
# The task's own wording, without a chat template, and with it.
PLAIN = ("prompts.chat=false", "prompts.system=null", "prompts.template={}")
WORDING = ("prompts.k=null", "prompts.ask=null", "prompts.hint=null")
BASES = {  # measured alone: their name, what they are, the kind of baseline, and their settings
    "few-shot": ("few-shot, plain", "few-shot", (*WORDING, *PLAIN)),
    "few-shot-chat": ("few-shot, chat template", "few-shot", (*WORDING, "prompts.chat=true")),
    "zero-shot": ("zero-shot, plain", "zero-shot", (*WORDING, *PLAIN)),
}
TRAINED = {
    "direct": "direct: answers alone",
    "sft": "SFT: rationales of the data",
    "rft": "RFT: one round of samples",
}


@dataclass(frozen=True)
class Model:
    """A model to measure on the test split: an iteration of a run folder."""

    name: str  # of its file in OUT/test
    label: str
    run: Path
    iteration: str = "best"


def star_runs(given: argparse.Namespace) -> dict[str, Path]:
    """The loop's runs by label, those with rationalization first."""
    return {
        f"STaR{without}, seed {seed}": given.out / f"{kind}-{seed}"
        for kind, without in (("star", ""), ("plain", " without rationalization"))
        for seed in given.seeds
    }


def loops(given: argparse.Namespace) -> Iterator[list[str]]:
    """The commands that make every run."""
    sizes = [f"star.iterations={given.iterations}", f"star.problems={given.problems}"]
    common = [f"evaluate.dev={given.dev}"] * bool(given.dev) + given.more
    for folder in star_runs(given).values():
        kind, _, seed = folder.name.partition("-")
        rationalize = f"--{'no-' * (kind == 'plain')}rationalize"
        yield [*loop(given, folder, [*sizes, *common], seed), rationalize]
    first = given.out / f"star-{given.seeds[0]}"
    for kind in TRAINED if given.task == "gsm8k" else ("direct", "rft"):
        yield ["baseline", str(first), "--kind", kind, "--plain"]
    for name, (_, kind, settings) in BASES.items():
        more = [f"baseline={kind}", "evaluate.zero_shot=false", *settings]
        yield loop(given, given.out / name, [*more, *common], str(given.seeds[0]))


def loop(
    given: argparse.Namespace, folder: Path, settings: Sequence[str], seed: str
) -> list[str]:  # fmt: skip
    words = ["loop", "--recipe", given.recipe, "--run", str(folder), "--seed", seed, "--plain"]
    words += ["--model", given.model] if given.model else []
    words += ["--data", given.data] if given.data else []
    return words + [word for text in settings for word in ("--set", text)]


def models(given: argparse.Namespace) -> list[Model]:
    """Everything that is tested, the winner first."""
    runs = star_runs(given)
    winner = max((path for path in runs.values() if path.name.startswith("star")), key=dev_accuracy)
    others = sorted(runs.items(), key=lambda one: one[1] != winner)
    found = [Model(path.name, label, path) for label, path in others]
    first = given.out / f"star-{given.seeds[0]}"
    asked = opening.resume_recipe(first).prompts
    base = "base, as the recipe asks" + " (zero-shot, chat template)" * (
        asked.k == 0 and asked.chat
    )
    found.append(Model("base", base, winner, "few-shot"))
    found += [Model(name, label, given.out / name) for name, (label, *_) in BASES.items()]
    made = [(kind, first / "baselines" / kind, label) for kind, label in TRAINED.items()]
    return found + [Model(kind, label, at, "last") for kind, at, label in made if at.is_dir()]


def dev_accuracy(run: Path) -> float:
    lines = [line.dev for line in reading.read(run).metrics if line.dev]
    return max((dev.accuracy for dev in lines), default=0.0)


def test(given: argparse.Namespace) -> None:
    """Measure every model on the test split once, the winner last and against all others."""
    winner, *others = models(given)
    for model in [*others, winner]:
        file = given.out / "test" / f"{model.name}.json"
        if file.exists():
            continue
        words = ["evaluate", str(model.run), "--iteration", model.iteration, "--split", "test"]
        words += ["--max-samples", str(given.test)] if given.test else []
        for other in others if model == winner else ():
            words += ["--against", other.iteration if other.name == "base" else str(other.run)]
        text = called([*words, "--json"], capture=True)
        file.parent.mkdir(exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(text, "utf-8")
        part.replace(file)


def called(words: Sequence[str], *, capture: bool = False) -> str:
    """Run a command of star-mlx, and return what it printed if that is captured."""
    print("$ star-mlx " + shlex.join(words), file=sys.stderr, flush=True)
    done = subprocess.run([*STAR, *words], stdout=subprocess.PIPE if capture else None, text=True)
    if done.returncode:
        sys.exit(f"it ended with {done.returncode}; start this again to go on")
    return done.stdout or ""


# --------------------------------------------------------------------------- the page


def page(given: argparse.Namespace) -> str:
    """The tables, as Markdown, of what is there so far."""
    parts = [tested(given)] if (given.out / "test").is_dir() else []
    for label, path in star_runs(given).items():
        if (path / "metrics.jsonl").exists():
            parts.append(f"{label}:\n\n{course(path)}")
    return "\n\n".join(parts)


def tested(given: argparse.Namespace) -> str:
    """The table of the test split."""
    winner, *others = models(given)
    results = {
        model: json.loads(file.read_text("utf-8"))
        for model in (winner, *others)
        if (file := given.out / "test" / f"{model.name}.json").exists()
    }
    against = results.get(winner, {}).get("against", [])
    lines = [
        "| model | test, % [95%] | n | cut off, % | no answer | dev, % [95%] "
        "| winner better, worse | p |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for model, result in results.items():
        pair = None if model == winner else against[others.index(model)] if against else None
        of = f", {result['of']}" if model.iteration == "best" and model.name not in BASES else ""
        cells = [
            f"**{model.label}{of}**" if model == winner else model.label + of,
            f"{percent(result['accuracy'], 1)} [{interval(result['ci95'])}]",
            result["n"],
            percent(result["truncated"] / result["n"], 1),
            result["parse_failures"],
            on_dev(model),
            f"{pair['better']}, {pair['worse']}" if pair else "",
            f"{pair['p']:.2g}" if pair else "",
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def on_dev(model: Model) -> str:
    """The dev accuracy of a model, if it was measured."""
    record = reading.read(model.run)
    number = {"best": record.best, "last": record.last, "few-shot": 0}[model.iteration]
    dev = next((line.dev for line in record.metrics if line.iteration == number), None)
    return f"{percent(dev.accuracy, 1)} [{interval(dev.ci95)}] of {dev.n}" if dev else ""


def course(run: Path) -> str:
    """The iterations of a run."""
    lines = [
        "| iteration | right | with hint | rejected | trained on | steps right | train steps "
        "| dev, % [95%] | n | hours |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(_line, reading.read(run).metrics)])


def _line(line: Metrics) -> str:
    checked = [found for found in (line.valid_steps or {}).values() if found.n]
    valid = f"{sum(f.valid for f in checked)} of {sum(f.n for f in checked)}" if checked else ""
    rejected = ", ".join(f"{count} {why}" for why, count in (line.rejected or {}).items())
    cells = [
        line.iteration,
        f"{line.solved} of {line.problems}" if line.problems else "",
        "" if line.rationalized is None else line.rationalized,
        rejected,
        "" if line.examples is None else line.examples,
        valid,
        "" if line.steps is None else line.steps,
        f"{percent(line.dev.accuracy, 1)} [{interval(line.dev.ci95)}]" if line.dev else "",
        line.dev.n if line.dev else "",
        f"{line.total_seconds / 3600:.1f}",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def sheet(given: argparse.Namespace) -> str:
    """Rationales of each kind that were trained on, drawn at random, to be read by eye."""
    text = ["# Rationales to be read"]
    for label, path in star_runs(given).items():
        if not (path / "metrics.jsonl").exists():
            continue
        record = reading.read(path)
        task, _ = opening.open_task(opening.resume_recipe(path))
        known = {problem.id: problem for problem in task.problems("train")}
        rows = [
            e for line in record.metrics if line.iteration for e in record.examples(line.iteration)
        ]
        for source in ("direct", "rationalized"):
            kind = [e for e in rows if e.source == source]
            drawn = random.Random(f"{label}/{source}").sample(kind, min(SHEET, len(kind)))
            text.append(f"## {label}: {source}, {len(drawn)} of {len(kind)}")
            for e in drawn:
                problem = known[e.id]
                text.append(f"### {e.id}, iteration {e.iteration}, answer {problem.answer}")
                text += [problem.question.as_text(), "```\n" + e.completion.strip() + "\n```"]
    return "\n\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], epilog="See the beginning of the file."
    )
    parser.add_argument("what", nargs="?", choices=["run", "table"], default="run")
    parser.add_argument("--task", default="gsm8k", choices=["gsm8k", "commonsenseqa"])
    parser.add_argument("--recipe", help="[default: the task's]")
    parser.add_argument("--model")
    parser.add_argument("--data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--problems", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--dev", type=int, help="dev problems [default: the recipe's]")
    parser.add_argument("--test", type=int, help="test problems [default: all]")
    parser.add_argument("--no-test", action="store_true", help="stop before the test split")
    parser.add_argument("--set", action="append", default=[], dest="more", metavar="KEY=VALUE")
    given = parser.parse_args()
    given.recipe = given.recipe or given.task
    if given.what == "run":
        for words in loops(given):
            called(words)
            write(given)
        if not given.no_test:
            test(given)
    print(write(given))


def write(given: argparse.Namespace) -> str:
    """Write the files of what is there so far, and return the page."""
    text = page(given) + "\n"
    (given.out / "table.md").write_text(text, "utf-8")
    (given.out / "rationales.md").write_text(sheet(given), "utf-8")
    return text


if __name__ == "__main__":
    main()
