"""Compare two models on the same problems, and combine several samples of one problem.

Pure functions that use only the standard library; the interval of a proportion is
``accuracy.wilson``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

ALPHA = 0.05  # p from which a difference is not significant
LEAST = 0.0001  # the smallest p-value that is shown as a number

PairedVerdict = Literal["better", "worse", "not different"]


def mcnemar(better: int, worse: int) -> float:
    """The exact two-sided p-value of McNemar's test (McNemar 1947), from the discordant pairs.

    Twice the smaller tail of a binomial with p = 1/2, at most 1; 1 if there are no such pairs.
    Computed in integers, so that no number of pairs overflows; it is 0.0 only if it is below the
    smallest float.

    Raises:
        ValueError: a negative number of pairs.
    """
    if better < 0 or worse < 0:
        raise ValueError(f"numbers of pairs cannot be negative: {better}, {worse}")
    n, few = better + worse, min(better, worse)
    tail = term = 1  # C(n, 0)
    for i in range(few):
        term = term * (n - i) // (i + 1)
        tail += term
    return min(1.0, 2 * tail / (1 << n))


@dataclass(frozen=True, slots=True)
class Paired:
    """Two models on the same ``n`` problems: right in both, in only one (``better`` counts those
    that only the new model has right, ``worse`` the reverse), in neither; ``p`` is McNemar's."""

    n: int
    both: int
    better: int
    worse: int
    neither: int
    p: float

    @property
    def verdict(self) -> PairedVerdict:
        """Whether the new model is better, worse or not different, at the 5% level."""
        if self.p >= ALPHA:
            return "not different"
        return "better" if self.better > self.worse else "worse"

    def words(self, new_name: str, old_name: str) -> str:
        """One sentence, such as "iteration 3 is not different from few-shot: 7 more right, 5 fewer,
        p = 0.77 (n = 500)"."""
        if self.n == 0:
            return f"{new_name} and {old_name} have no problem in common"
        than = "from" if self.verdict == "not different" else "than"
        return (
            f"{new_name} is {self.verdict} {than} {old_name}: {self.better} more right, "
            f"{self.worse} fewer, {p_words(self.p)} (n = {self.n})"
        )

    def as_json(self) -> dict[str, Any]:
        """The counts, ``p`` and the verdict as plain data."""
        return {**asdict(self), "verdict": self.verdict}


def paired(old: Mapping[str, bool], new: Mapping[str, bool]) -> Paired:
    """Compare the verdicts on the problems, by id, that both have."""
    ids = old.keys() & new.keys()
    both = sum(old[i] and new[i] for i in ids)
    better = sum(new[i] and not old[i] for i in ids)
    worse = sum(old[i] and not new[i] for i in ids)
    neither = len(ids) - both - better - worse
    return Paired(len(ids), both, better, worse, neither, mcnemar(better, worse))


def holm(ps: Sequence[float]) -> list[float]:
    """The p-values of several tests, corrected for their number (Holm 1979), in the same order.

    If those below ``ALPHA`` are called different, the chance that any of them is not is below
    ``ALPHA``. The smallest p is multiplied by the number of tests, the next by one less, and so on;
    none becomes smaller than the one before it, nor larger than 1.
    """
    corrected = [1.0] * len(ps)
    least = 0.0
    for place, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        least = max(least, min(1.0, ps[index] * (len(ps) - place)))
        corrected[index] = least
    return corrected


def pass_at_k(n: int, c: int, k: int) -> float:
    """The probability that one of ``k`` samples is right, from ``n`` samples with ``c`` right.

    The unbiased estimator 1 - C(n-c, k) / C(n, k) of Chen et al. 2021 (arXiv 2107.03374), eq. 1.

    Raises:
        ValueError: not 1 <= k <= n, or not 0 <= c <= n.
    """
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {max(k, 1)} samples and k >= 1; there are {n}")
    if not 0 <= c <= n:
        raise ValueError(f"{c} of {n} samples cannot be right")
    ways = math.comb(n, k)
    return (ways - math.comb(n - c, k)) / ways


def majority(answers: Sequence[str | None], equal: Callable[[str, str], bool]) -> str | None:
    """The most frequent answer, as it was first given; None if there are no votes.

    Samples without an answer do not vote; of answers with equal votes the first given wins.
    Source: self-consistency, Wang et al. 2022 (arXiv 2203.11171).
    """
    votes: list[tuple[str, int]] = []
    for answer in answers:
        if answer is None:
            continue
        for i, (leader, count) in enumerate(votes):
            if equal(leader, answer):
                votes[i] = (leader, count + 1)
                break
        else:
            votes.append((answer, 1))
    return max(votes, key=lambda vote: vote[1])[0] if votes else None  # max keeps the first


def p_words(p: float) -> str:
    """A p-value in a sentence: ``"p = 0.77"``, to two digits."""
    return "p < 0.0001" if p < LEAST else f"p = {_on_its_side(p, 2, 'g')}"


def p_cell(p: float) -> str:
    """A p-value in a column: ``"0.7744"``, to four decimals."""
    return "<0.0001" if p < LEAST else _on_its_side(p, 4, "f")


def _on_its_side(p: float, digits: int, form: str) -> str:
    """A number to ``digits`` digits, or more if it would otherwise look like ``ALPHA``."""
    shown = (f"{p:.{n}{form}}" for n in range(digits, 18))
    return next(text for text in shown if (float(text) < ALPHA) == (p < ALPHA))
