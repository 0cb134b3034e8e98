"""The findings of a measurement: counts with intervals, pass@k, votes, comparisons; as data and
in words."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from star_mlx.formatting import class_order, interval
from star_mlx.measure import accuracy
from star_mlx.measure.paired import majority, paired, pass_at_k
from star_mlx.store.results import Against, Result, Share, Vote
from star_mlx.types import Attempt, Problem, Split, Task


def summary(
    task: Task, problems: Sequence[Problem], made: Sequence[Attempt], split: Split, samples: int
) -> Result:
    """The counts of a measurement.

    With one sample, what a metrics line has. With k: ``accuracy`` is the mean over the samples, its
    interval by the spread between problems (a sample is not a new problem), and ``pass_at_k`` and
    ``maj_at_k`` for 1, 2, 4, ... and k.
    """
    failures = sum(a.answer is None for a in made)
    undecided = sum(bool(a.undecided) for a in made) or None
    truncated = sum(a.finish == "length" for a in made)
    tokens = sum(len(a.token_ids) for a in made)
    if samples == 1:
        one = accuracy.measured(accuracy.tally(split, problems, made), task.classes)
        counts = {name: Share(c.n, c.correct) for name, c in one.by_class.items()}
        return Result(
            split, one.n, one.accuracy, one.ci95, counts, failures, truncated, tokens,
            classes=task.classes, correct=one.correct, undecided=undecided,
        )  # fmt: skip
    k = samples
    groups = [made[i : i + k] for i in range(0, len(made), k)]
    shares = [sum(a.correct for a in group) / k for group in groups]
    ks = sorted({k, *(2**i for i in range(k.bit_length()) if 2**i <= k)})
    by_class: dict[str, list[float]] = {}
    for problem, share in zip(problems, shares, strict=True):
        by_class.setdefault(problem.group, []).append(share)
    means = {name: Share(len(s), accuracy=_mean(s)) for name, s in by_class.items()}
    return Result(
        split, len(groups), _mean(shares), _spread(shares), means, failures, truncated, tokens,
        classes=task.classes,
        undecided=undecided,
        samples=k,
        pass_at_k={str(j): _mean([pass_at_k(k, round(s * k), j) for s in shares]) for j in ks},
        maj_at_k={str(j): _majority(task, problems, groups, j) for j in ks},
    )  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    return round(statistics.fmean(values), 6)


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
) -> Vote:
    """maj@j from the first j samples of each problem."""
    right, n = (
        sum(_voted(task, p, g[:j]) for p, g in zip(problems, groups, strict=True)),
        len(groups),
    )
    return Vote(right, round(right / n, 6), accuracy.ci95(right, n))


def _spread(shares: Sequence[float]) -> tuple[float, float]:
    """Wilson's 95% interval of the mean over problems, by their effective number.

    Samples of a problem are correlated, so k of them are worth less than k problems. The variance
    between problems gives the number of independent answers (the design effect, Kish 1965), which
    is at least the number of problems.
    """
    n, mean = len(shares), statistics.fmean(shares)
    variance = statistics.variance(shares) if n > 1 else 0.0
    effective = max(n, n * mean * (1 - mean) / variance) if variance else n
    return accuracy.ci95(mean * effective, effective)


def compare(name: str, new: Mapping[str, bool], old_name: str, old: Mapping[str, bool]) -> Against:
    """Two models on the same problems: the counts, the exact McNemar p and a sentence."""
    pair = paired(old, new)
    return Against(old_name, **pair.as_json(), words=pair.words(name, old_name))


def sentence(result: Result) -> str:
    """A result in words: accuracy, interval, n, and what it was compared with."""
    return "; ".join([_alone(result), *(pair.words for pair in result.against)])


def _alone(result: Result) -> str:
    return (
        f"{result.of}, {result.split}: {100 * result.accuracy:.1f}% "
        f"[{interval(accuracy.ends(result), 1)}] of n = {result.n}"
    )


def report(result: Result, file: str = "") -> list[str]:
    """A result as lines for a person; ``file`` is where it was written, if it was."""
    lines = [_alone(result)]
    for name in sorted(result.by_class, key=class_order):
        if name:
            counts = result.by_class[name]
            ends = ""  # unknown for the mean of several samples
            if counts.correct is not None:
                ends = f" [{interval(accuracy.wilson(counts.correct, counts.n), 1)}]"
            found = f"{100 * counts.share:.1f}%{ends}"
            lines.append(f"  {result.classes} {name}: {found} of n = {counts.n}")
    for j, share in (result.pass_at_k or {}).items():
        vote = (result.maj_at_k or {})[j]
        lines.append(
            f"  pass@{j} {100 * share:.1f}%, maj@{j} {100 * vote.accuracy:.1f}% "
            f"[{interval(vote.ci95, 1)}]"
        )
    lost = result.parse_failures
    lines.append(f"  {lost} attempt{'s' * (lost != 1)} without a readable answer")
    if result.undecided:
        lines.append(f"  {result.undecided} undecided, which count as not right")
    lines += [pair.words for pair in result.against]
    if (result.test_reads or 0) > 1:
        lines.append(
            f"the test split has now been read {result.test_reads} times in this run: a model "
            "chosen by it can no longer be measured by it"
        )
    if file:
        lines.append(f"written to {file}")
    return lines
