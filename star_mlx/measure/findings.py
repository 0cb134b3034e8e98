"""The findings of a measurement: counts with intervals, pass@k, votes, comparisons; as data and
in words."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from star_mlx.formatting import class_order, interval
from star_mlx.measure import accuracy
from star_mlx.measure.paired import majority, paired, pass_at_k
from star_mlx.store.metrics import as_json
from star_mlx.types import Attempt, Problem, Split, Task


def summary(
    task: Task, problems: Sequence[Problem], made: Sequence[Attempt], split: Split, samples: int
) -> dict[str, Any]:
    """The counts of a measurement.

    With one sample, the ``eval`` entry of a metrics line. With k samples, ``accuracy`` is the mean
    over the samples, its interval follows from the spread between problems (a sample is not a new
    problem), and ``pass_at_k`` and ``maj_at_k`` are given for 1, 2, 4, ... and k.
    """
    extra = {
        "parse_failures": sum(a.answer is None for a in made),
        "truncated": sum(a.finish == "length" for a in made),
        "tokens": sum(len(a.token_ids) for a in made),
    }
    if samples == 1:
        counted = accuracy.measured(accuracy.tally(split, problems, made), task.classes)
        return {
            **as_json(counted),
            **extra,
        }
    k = samples
    groups = [made[i : i + k] for i in range(0, len(made), k)]
    shares = [sum(a.correct for a in group) / k for group in groups]
    ks = sorted({k, *(2**i for i in range(k.bit_length()) if 2**i <= k)})
    by_class: dict[str, list[float]] = {}
    for problem, share in zip(problems, shares, strict=True):
        by_class.setdefault(problem.group, []).append(share)
    return {
        "split": split,
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
    """Problem id -> whether its one attempt, or the majority of its samples, is right."""
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
    counts = accuracy.counted(right, len(groups))
    return {key: counts[key] for key in ("correct", "accuracy", "ci95")}


def _spread(shares: Sequence[float]) -> list[float]:
    """Wilson's 95% interval of the mean over problems, by their effective number.

    Samples of a problem are correlated, so k of them are worth less than k problems. The variance
    between problems gives the number of independent answers (the design effect, Kish 1965), which
    is at least the number of problems.
    """
    n, mean = len(shares), statistics.fmean(shares)
    variance = statistics.variance(shares) if n > 1 else 0.0
    effective = max(n, n * mean * (1 - mean) / variance) if variance else n
    return accuracy.ci95(mean * effective, effective)


def compare(
    name: str, new: Mapping[str, bool], old_name: str, old: Mapping[str, bool]
) -> dict[str, Any]:
    """Compare two models on the same problems: the counts, the exact McNemar p and a sentence."""
    pair = paired(old, new)
    return {"with": old_name, **pair.as_json(), "words": pair.words(name, old_name)}


def sentence(result: Mapping[str, Any]) -> str:
    """A result in words: accuracy, interval, n, and the comparisons."""
    text = (
        f"{result['of']}, {result['split']}: {100 * result['accuracy']:.1f}% "
        f"[{interval(result['ci95'], 1)}] of n = {result['n']}"
    )
    return "; ".join([text, *(pair["words"] for pair in result["against"])])


def report(result: Mapping[str, Any]) -> list[str]:
    """A result as lines to print."""
    lines = [sentence({**result, "against": []})]
    for name in sorted(result["by_class"], key=class_order):
        if name:
            counts = result["by_class"][name]
            share = counts.get("accuracy", counts.get("correct", 0) / counts["n"])
            lines.append(f"  {result['classes']} {name}: {100 * share:.1f}% of {counts['n']}")
    for j, share in result.get("pass_at_k", {}).items():
        vote = result["maj_at_k"][j]
        lines.append(
            f"  pass@{j} {100 * share:.1f}%, maj@{j} {100 * vote['accuracy']:.1f}% "
            f"[{interval(vote['ci95'], 1)}]"
        )
    lines.append(f"  {result['parse_failures']} attempts without a readable answer")
    lines += [pair["words"] for pair in result["against"]]
    if result.get("test_reads", 0) > 1:
        lines.append(
            f"the test split has now been read {result['test_reads']} times in this run: a model "
            "chosen by it can no longer be measured by it"
        )
    if "file" in result:
        lines.append(f"written to {result['file']}")
    return lines
