"""The verdict on a run, in plain sentences: whether it helped, how sure that is, what it cost, and
what to try next if it did not help.

The same sentences end the loop and open the report and the model card.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from star_mlx.errors import RunError
from star_mlx.formatting import duration, interval, percent, program
from star_mlx.measure import advice, baselines, compare, findings
from star_mlx.measure.accuracy import ends, wilson
from star_mlx.measure.baselines import Baseline
from star_mlx.measure.paired import Paired, p_words, paired
from star_mlx.store.metrics import Measured, Metrics
from star_mlx.store.reading import RunRecord
from star_mlx.store.results import Result
from star_mlx.store.which import most_accurate

# "helped" and "worse" are significant at the 5% level; with "perhaps" more answers are right, but
# not significantly. "unknown" is a run that cannot be judged, such as a baseline.
Decision = Literal["helped", "perhaps", "no difference", "worse", "unknown"]

NAMED = {
    "few-shot": "the base with its examples (few-shot)",
    "zero-shot": "the base without examples (zero-shot)",
    "direct": "training on answers alone (direct)",
    "sft": "training on the data's own rationales (sft)",
    "rft": "training on its own right rationales of one round (rft)",
}
_BEGINS: Mapping[Decision, str] = {
    "helped": "Training helped",
    "perhaps": "Training perhaps helped",
    "no difference": "No difference was seen",
    "worse": "Training did harm",
}


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """The verdict on a run.

    ``sentences`` say it in words, and ``advice`` has a line for each thing to try next.
    ``iteration`` is the iteration that was judged and ``against`` the baseline it was compared
    with; both are None if the run cannot be judged.
    """

    decision: Decision
    sentences: tuple[str, ...]
    advice: tuple[str, ...] = ()
    iteration: int | None = None
    against: str | None = None
    pair: Paired | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """The sentences and the advice, each as a line."""
        return (*self.sentences, *(f"To try next: {line}" for line in self.advice))

    def as_json(self) -> dict[str, Any]:
        """The verdict as plain data."""
        return {
            "decision": self.decision,
            "sentences": list(self.sentences),
            "advice": list(self.advice),
            "iteration": self.iteration,
            "against": self.against,
            "pair": self.pair.as_json() if self.pair else None,
        }


def of_run(
    record: RunRecord, *, run: str | None = None, iteration: int | None = None
) -> RunVerdict:
    """Judge a run by an iteration, against the best of the baselines that were measured.

    Args:
        record: the run.
        run: the run's folder in the commands of the sentences, for other people to read; by default
            its path, and star-mlx as the user runs it.
        iteration: the iteration; by default the one with the best dev accuracy.
    """
    evaluate = f"star-mlx evaluate {shlex.quote(run)}" if run else _evaluate(record)
    if kind := record.recipe.get("baseline"):
        return RunVerdict("unknown", (_of_baseline(record, str(kind)),))
    measured = [(line.iteration, line.dev) for line in record.metrics if line.dev and line.dev.n]
    trained = [(number, dev) for number, dev in measured if number]
    best_number = most_accurate({n: dev.accuracy for n, dev in trained})
    number = best_number if iteration is None else iteration
    dev = dict(trained).get(number) if number else None
    if number is None or dev is None:
        return RunVerdict("unknown", (_unmeasured(record, evaluate),))
    try:
        right = compare.dev_verdicts(record, number)
        others = _others(record, dict(measured))
    except RunError as error:
        return RunVerdict("unknown", (f"Whether training helped is not known: {error}",))
    others = [other for other in others if other.verdicts.keys() & right.keys()]
    if not others:
        return RunVerdict(
            "unknown", (_without_baseline(record, number, dev, evaluate),), iteration=number
        )
    best = max(others, key=lambda other: other.eval.accuracy)
    pair = paired(best.verdicts, right)
    decision = decide(pair)
    said = [_judged(decision, number, best.name, pair, len(others), _bare(record))]
    among = len(trained) if number == best_number else 1
    said += _reading(record, number, best.name, among, evaluate)
    said.append(_cost(record.metrics))
    tips = () if decision == "helped" else advice.what_next(record, number, pair)
    return RunVerdict(decision, tuple(said), tips, number, best.name, pair)


def decide(pair: Paired) -> Decision:
    """The decision from the paired verdicts of a baseline and an iteration.

    ============================== =============
    significantly more right       helped
    significantly fewer right      worse
    more right, not significantly  perhaps
    otherwise                      no difference
    ============================== =============
    """
    if pair.verdict == "not different":
        return "perhaps" if pair.better > pair.worse else "no difference"
    return "helped" if pair.verdict == "better" else "worse"


def _others(record: RunRecord, measured: Mapping[int, Measured]) -> list[Baseline]:
    """The baselines with verdicts, the base as the loop asks it first."""
    found = list(baselines.of_run(record))
    if 0 in measured:
        found.insert(0, Baseline("few-shot", measured[0], compare.dev_verdicts(record, 0)))
    return found


def _bare(record: RunRecord) -> bool:
    """Whether the loop asks the base without examples."""
    return bool((record.recipe.get("prompts") or {}).get("k") == 0)


# --------------------------------------------------------------------------- sentences


def _judged(
    decision: Decision, number: int, name: str, pair: Paired, baselines: int, bare: bool
) -> str:
    old, new = compare.first_right(pair), compare.second_right(pair)
    named = "the base" if bare and name == "few-shot" else NAMED[name]
    best = f"{named}, the best of {baselines} baselines" if baselines > 1 else named
    points = round(100 * (new - old) / pair.n, 1)
    by = f"{points:+.1f} points" if points else "no difference in all"
    chance = ", which may be chance" if points and pair.verdict == "not different" else ""
    problems = "1 dev problem" if pair.n == 1 else f"{pair.n} dev problems"
    return (
        f"{_BEGINS[decision]}: iteration {number} answers {_share(new, pair.n)} of {problems} "
        f"right, against {_share(old, pair.n)} for {best}: {by}{chance}, with {pair.better} more "
        f"right and {pair.worse} fewer (exact McNemar test, {p_words(pair.p)})."
    )


def _share(correct: int, n: int) -> str:
    return f"{percent(correct / n, 1)}% [{interval(wilson(correct, n), 1)}]"


def _evaluate(record: RunRecord) -> str:
    return f"{program()} evaluate {shlex.quote(str(record.path))}"


def _reading(record: RunRecord, number: int, name: str, among: int, evaluate: str) -> list[str]:
    """What the test split says, or how to ask it."""
    if found := _tested(record, number):
        words = "; ".join(pair.words for pair in found.against)
        return [
            f"On the test split, which took no part in choosing it, iteration {number} answers "
            f"{percent(found.accuracy, 1)}% [{interval(ends(found), 1)}] of {found.n} problems "
            f"right{f': {words}' if words else ''}."
        ]
    chosen = (
        f"Iteration {number} was chosen as the best of {among} on these same problems, so its "
        "accuracy may be a little too high; "
        if among > 1
        else ""
    )
    if not _has_test(record):
        return [f"{chosen}this data has no test split (task.options.test)."] if chosen else []
    command = f"{evaluate} --iteration {number} --split test --against {name}"
    text = f"{chosen}the test split gives the honest figure: {command}"
    return [text[0].upper() + text[1:]]


def _tested(record: RunRecord, number: int) -> Result | None:
    """The last measurement of an iteration on the test split, with one sample a problem."""
    found = [
        result
        for _, result in record.results()
        if result and result.split == "test" and result.iteration == number
        and result.samples is None and result.of != "zero-shot"
    ]  # fmt: skip
    return found[-1] if found else None


def _has_test(record: RunRecord) -> bool:
    """Whether the run's data has a test split, as far as its recipe says."""
    options = (record.recipe.get("task") or {}).get("options") or {}
    return "test" not in options or options["test"] is not None


def _cost(metrics: Sequence[Metrics]) -> str:
    count = sum(line.iteration > 0 for line in metrics)
    many = "1 iteration" if count == 1 else f"{count} iterations"
    seconds = sum(line.total_seconds for line in metrics)
    return f"The run took {duration(seconds)} for {many}."


def _of_baseline(record: RunRecord, kind: str) -> str:
    lines = [line for line in record.metrics if line.dev and line.dev.n]
    named = NAMED.get(kind, kind)
    if not lines or not (dev := lines[-1].dev):
        return f"This is a baseline, {named}; it is not measured on dev."
    return (
        f"This is a baseline, {named}: {_share(dev.correct, dev.n)} of {dev.n} dev problems right."
    )


def _unmeasured(record: RunRecord, evaluate: str) -> str:
    if not record.last:
        return "No iteration is finished yet, so nothing can be said of the training."
    if later := _compared_later(record):
        return f"No iteration was measured on dev in the run. Measured later: {later}."
    return (
        "Whether training helped is not known, since no iteration was measured on dev: "
        f"{evaluate} --iteration last --against few-shot measures the last one."
    )


def _compared_later(record: RunRecord) -> str:
    """The last comparison on dev that was made after the run, in words; empty if there is none."""
    made = [result for _, result in record.results() if result and result.split == "dev"]
    found = [result for result in made if result.against and result.samples is None]
    return findings.sentence(found[-1]) if found else ""


def _without_baseline(record: RunRecord, number: int, dev: Measured, evaluate: str) -> str:
    alone = (
        f"Iteration {number} answers {_share(dev.correct, dev.n)} of {dev.n} dev problems right. "
    )
    if later := _compared_later(record):
        return f"{alone}Compared later: {later}."
    return (
        f"{alone}Whether training helped is not known, since no baseline was measured on them: "
        f"{evaluate} --iteration {number} --against few-shot compares them."
    )
