"""Measure a model of a run on a split: accuracy, several samples, and paired comparisons.

The attempts are kept in the run folder like the loop's own, so that an interrupted measurement goes
on where it stopped and one made before is read, not made again. Every result is a file in
``RUN/results/``, named by its time.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from typing import Any

from star_mlx import evaluate, store
from star_mlx.files import json_line
from star_mlx.files import replace as replace_file
from star_mlx.prepare import opened
from star_mlx.recipe import Recipe
from star_mlx.statistics import majority, paired, pass_at_k
from star_mlx.student import Pass, Student, measuring
from star_mlx.types import Attempt, Emit, Engine, Problem, RunError, Split, Task

TRAINED = ("direct", "sft")  # baselines with an adapter of their own, in RUN/baselines/KIND


@dataclass(frozen=True, slots=True)
class How:
    """What is measured: a split, ``limit`` problems of it, ``samples`` attempts at each."""

    split: Split = "dev"
    samples: int = 1
    temperature: float | None = None
    limit: int | None = None

    def kind(self, zero_shot: bool) -> str:
        """The name of the file the attempts are kept in."""
        parts = [
            "zero-shot" if zero_shot else "",
            self.split,
            "" if self.limit is None else f"n{self.limit}",
            "" if self.samples == 1 else f"k{self.samples}",
            "" if self.temperature is None else f"t{self.temperature:g}",
        ]
        return "-".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Of:
    """Whose attempts: an iteration of a run (0 is the base), with or without examples.

    ``adapter`` is where the iteration's adapter is, if it is not in the run.
    """

    name: str
    number: int
    zero_shot: bool = False
    adapter: Path | None = None


def which(record: store.RunRecord, name: str) -> Of:
    """``"3"``, ``"best"``, ``"last"``, ``"few-shot"`` (iteration 0) or ``"zero-shot"``.

    Raises:
        RunError: it is none of these, or the run has no such iteration.
    """
    if name == "zero-shot":
        return Of(name, 0, zero_shot=True)
    if name == "few-shot":
        return Of(name, 0)
    if name in ("best", "last"):
        number = record.best if name == "best" else record.last
    elif name.isdecimal():
        number = int(name)
    else:
        raise RunError(
            f"no iteration {name!r}: give a number, best, last, few-shot, zero-shot, or with "
            "--against also direct, sft, or another run's folder"
        )
    record.adapter(number)
    return Of(f"iteration {number}" if number else "iteration 0 (the base)", number)


def attempts(
    student: Student, folder: store.Store, problems: Sequence[Problem], of: Of, how: How
) -> list[Attempt]:
    """The attempts of a model at problems, ``how.samples`` at each, standing together."""
    recipe, prompts = student.recipe, student.prompts
    zero_shot = of.zero_shot or prompts.zero_shot
    if zero_shot:
        prompts = replace(prompts, examples=(), zero_shot=True)
    decoding = measuring(recipe, prompts)
    if how.temperature is not None:
        decoding = replace(decoding, temperature=how.temperature)
    adapter = of.adapter or (folder.adapter(of.number) if of.number else None)
    few_shot = student.few_shot(of.number) and not zero_shot
    kind = how.kind(of.zero_shot)
    if (how.split, how.samples, how.temperature) == ("dev", 1, None) and not of.zero_shot:
        kind = kind if how.limit not in (None, recipe.evaluate.dev) else "dev"
    return student.walk(
        problems,
        Pass(
            of.number, kind, "evaluate", adapter, prompts, decoding, few_shot, samples=how.samples
        ),
    )


def chosen(task: Task, recipe: Recipe, how: How) -> Sequence[Problem]:
    """The problems of the split, the first ``how.limit`` of them; by default as many as the recipe
    measures on dev, and all of test."""
    limit = how.limit
    if limit is None and how.split == "dev":
        limit = recipe.evaluate.dev
    return task.problems(how.split)[:limit]


def entry(
    task: Task,
    problems: Sequence[Problem],
    made: Sequence[Attempt],
    of: Of,
    how: How,
    record: store.RunRecord,
) -> dict[str, Any]:
    """A result as its file has it; ``test_reads`` counts this one too."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    found: dict[str, Any] = {
        "time": now,
        "run": str(record.path),
        "of": of.name,
        "iteration": of.number,
        "temperature": how.temperature,
        **summary(task, problems, made, how),
        "rows_left_out": len(task.skipped()),
        "against": [],
    }
    if how.split == "test":
        found["test_reads"] = test_reads(record.path) + 1
    return found


def on(
    task: Task, student: Student, folder: store.Store, how: How, numbers: Sequence[int]
) -> list[dict[str, Any]]:
    """The results of some iterations, the first compared with every other."""
    record = store.read(folder.path)
    models = [which(record, str(number)) for number in dict.fromkeys(numbers)]
    asked = chosen(task, student.recipe, how)
    made = {of: attempts(student, folder, asked, of, how) for of in models}
    results = [entry(task, asked, made[of], of, how, record) for of in models]
    right = {of: verdicts(task, asked, made[of], how.samples) for of in models}
    first, *others = models
    for of in others:
        results[0]["against"].append(compare(first.name, right[first], of.name, right[of]))
    return results


def sentence(result: Mapping[str, Any]) -> str:
    """A result in words: accuracy, interval, n, and what it was compared with."""
    low, high = (f"{100 * x:.1f}" for x in result["ci95"])
    text = (
        f"{result['of']}, {result['split']}: {100 * result['accuracy']:.1f}% "
        f"[{low}-{high}] of n = {result['n']}"
    )
    return "; ".join([text, *(pair["words"] for pair in result["against"])])


def report(result: Mapping[str, Any]) -> list[str]:
    """A result as lines for a person."""
    lines = [sentence({**result, "against": []})]
    for name, counts in result["by_class"].items():
        if name:
            share = counts.get("accuracy", counts.get("correct", 0) / counts["n"])
            lines.append(f"  {result['classes']} {name}: {100 * share:.1f}% of {counts['n']}")
    for j, share in result.get("pass_at_k", {}).items():
        vote = result["maj_at_k"][j]
        low, high = (f"{100 * x:.1f}" for x in vote["ci95"])
        lines.append(
            f"  pass@{j} {100 * share:.1f}%, maj@{j} {100 * vote['accuracy']:.1f}% [{low}-{high}]"
        )
    lines.append(f"  {result['parse_failures']} attempts without a readable answer")
    lines += [pair["words"] for pair in result["against"]]
    if result.get("test_reads", 0) > 1:
        lines.append(
            f"the test split has now been read {result['test_reads']} times in this run: what is "
            "chosen by it is no longer measured by it"
        )
    if "file" in result:
        lines.append(f"written to {result['file']}")
    return lines


def summary(
    task: Task, problems: Sequence[Problem], made: Sequence[Attempt], how: How
) -> dict[str, Any]:
    """The counts of a measurement.

    With one sample: the ``eval`` entry of a metrics line. With k: ``accuracy`` is the mean over the
    samples, its interval from the spread between problems (a sample is not a new problem), and
    ``pass_at_k`` and ``maj_at_k`` for 1, 2, 4, ... and k.
    """
    extra = {
        "parse_failures": sum(a.answer is None for a in made),
        "truncated": sum(a.finish == "length" for a in made),
        "tokens": sum(len(a.token_ids) for a in made),
    }
    if how.samples == 1:
        return {
            **evaluate.as_json(evaluate.tally(how.split, problems, made), task.classes),
            **extra,
        }
    k = how.samples
    groups = [made[i : i + k] for i in range(0, len(made), k)]
    shares = [sum(a.correct for a in group) / k for group in groups]
    ks = sorted({k, *(2**i for i in range(k.bit_length()) if 2**i <= k)})
    by_class: dict[str, list[float]] = {}
    for problem, share in zip(problems, shares, strict=True):
        by_class.setdefault(problem.group, []).append(share)
    return {
        "split": how.split,
        "n": len(groups),
        "samples": k,
        "accuracy": round(statistics.fmean(shares), 6),
        "ci95": _spread(shares),
        "classes": task.classes,
        "by_class": {
            c: {"n": len(s), "accuracy": round(statistics.fmean(s), 6)} for c, s in by_class.items()
        },
        "pass_at_k": {
            str(j): round(statistics.fmean(pass_at_k(k, round(s * k), j) for s in shares), 6)
            for j in ks
        },
        "maj_at_k": {str(j): _majority(task, problems, groups, j) for j in ks},
        **extra,
    }


def verdicts(
    task: Task, problems: Sequence[Problem], made: Sequence[Attempt], samples: int
) -> Mapping[str, bool]:
    """Problem id -> right or not: of its one attempt, or of the majority of its samples."""
    if samples == 1:
        return {a.id: a.correct for a in made}
    groups = [made[i : i + samples] for i in range(0, len(made), samples)]
    return {p.id: _voted(task, p, g) for p, g in zip(problems, groups, strict=True)}


def _voted(task: Task, problem: Problem, group: Sequence[Attempt]) -> bool:
    answer = majority([a.answer for a in group], task.equal)
    return answer is not None and task.equal(answer, problem.answer)


def _majority(
    task: Task, problems: Sequence[Problem], groups: Sequence[Sequence[Attempt]], j: int
) -> dict[str, Any]:
    """maj@j from the first j samples of each problem."""
    right = sum(_voted(task, p, g[:j]) for p, g in zip(problems, groups, strict=True))
    low, high = evaluate.wilson(right, len(groups))
    return {
        "correct": right,
        "accuracy": round(right / len(groups), 6),
        "ci95": [round(low, 4), round(high, 4)],
    }


def _spread(shares: Sequence[float]) -> list[float]:
    """A normal 95% interval of the mean over problems, within 0 and 1."""
    mean = statistics.fmean(shares)
    half = 1.96 * statistics.stdev(shares) / math.sqrt(len(shares)) if len(shares) > 1 else 1.0
    return [round(max(0.0, mean - half), 4), round(min(1.0, mean + half), 4)]


def compare(
    name: str, new: Mapping[str, bool], old_name: str, old: Mapping[str, bool]
) -> dict[str, Any]:
    """Two models on the same problems: the counts, the exact McNemar p and a sentence."""
    pair = paired(old, new)
    return {"with": old_name, **pair.as_json(), "words": pair.words(name, old_name)}


def save(run: Path, result: Mapping[str, Any]) -> Path:
    """Write a result to ``RUN/results/<time>-<split>-<iteration>.json``, whole or not at all."""
    folder = run / "results"
    folder.mkdir(exist_ok=True)
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    stem = f"{stamp}-{result['split']}-{result['iteration']:03d}"
    for again in count(1):
        path = folder / (f"{stem}.json" if again == 1 else f"{stem}-{again}.json")
        if not path.exists():
            break
    replace_file(path, json_line(result))
    return path


def test_reads(run: Path) -> int:
    """How many results on the test split the run holds."""
    return len(list((run / "results").glob("*-test-*.json")))


def evaluate_run(
    run: Path,
    iteration: str = "best",
    *,
    how: How,
    against: Sequence[str] = (),
    emit: Emit = lambda event: None,
    engine: Engine | None = None,
) -> dict[str, Any]:
    """Measure an iteration of a run, compare it with others, and keep the result in the run.

    Args:
        run: the run folder.
        iteration: a number, ``best``, ``last``, ``few-shot`` (iteration 0) or ``zero-shot``.
        how: the split, the samples, the temperature and the number of problems.
        against: what to compare it with, on the same problems: names as of ``iteration``, the
            baselines ``direct`` and ``sft`` of the run, or the folder of another run (its best).

    Returns:
        The result as its file has it, with that file as ``file``.

    Raises:
        StarError: no such run, iteration or baseline; or the run's base or data has changed.
    """
    with opened(run, emit, engine) as (task, student, folder):
        record = store.read(run)
        of = which(record, iteration)
        problems = chosen(task, student.recipe, how)
        made = attempts(student, folder, problems, of, how)
        result = entry(task, problems, made, of, how, record)
        right = verdicts(task, problems, made, how.samples)
        for name in against:
            other, theirs = _other(name, problems, (task, student, folder), how, emit)
            result["against"].append(compare(of.name, right, other, theirs))
        path = save(run, result)
    return {**result, "file": str(path)}


def _other(
    name: str,
    problems: Sequence[Problem],
    here: tuple[Task, Student, store.Store],
    how: How,
    emit: Emit,
) -> tuple[str, Mapping[str, bool]]:
    """What to call something to compare with, and its verdicts."""
    task, student, folder = here
    elsewhere = folder.path / "baselines" / name if name in TRAINED else Path(name)
    if name in TRAINED or elsewhere.is_dir():
        if not elsewhere.is_dir():
            raise RunError(
                f"{folder.path} has no baseline {name}: star-mlx baseline {folder.path} "
                f"--kind {name} makes it"
            )
        with opened(elsewhere, emit, student.engine) as (task, student, folder):
            of = which(store.read(elsewhere), "best" if elsewhere == Path(name) else "last")
            made = attempts(student, folder, problems, of, how)
        name = name if name in TRAINED else f"{name}, {of.name}"
    else:
        of = which(store.read(folder.path), name)
        made = attempts(student, folder, problems, of, how)
        name = of.name
    return name, verdicts(task, problems, made, how.samples)
