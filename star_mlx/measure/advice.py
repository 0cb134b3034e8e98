"""What to try next after a run that did not help: one line for each cause that the run shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from star_mlx.measure import power
from star_mlx.measure.paired import Paired
from star_mlx.store import names, rows
from star_mlx.store.metrics import Metrics
from star_mlx.store.reading import RunRecord

MOST = 4  # lines of advice
FEW_STEPS = 20  # optimizer steps; fewer change an adapter little
RISE = 1.5  # times the loss of the first steps, from which a training has diverged
FEW_KEPT = 0.2  # share of problems that gave an example
MANY = 0.1  # share of attempts from which a fault is worth a line
VALID = 0.8  # share of checked rationales without a wrong step, below which they are worth a line
FEW_PROBLEMS = 100  # dev problems


def what_next(record: RunRecord, number: int, pair: Paired) -> tuple[str, ...]:
    """Lines of advice, the most likely cause first.

    Args:
        record: the run.
        number: the iteration that was judged.
        pair: that iteration's dev verdicts against the baseline's.

    Raises:
        RunError: the dev attempts of the iteration are damaged.
    """
    lines = [line for line in record.metrics if line.iteration > 0]
    if pair.better + pair.neither == 0:
        return (
            "the baseline has every dev problem right, so nothing can be gained on them: harder "
            "problems",
        )
    found = [
        *_nothing_right(pair),
        *([*_diverged(record, lines)] or _few_steps(record, lines)),
        *_left_out(record, lines),
        *_kept(lines),
        *_cut_off(record, number),
        *_unreadable(lines),
        *_quality(lines),
        *(_problems(pair.n) if pair.verdict == "not different" else ()),
    ]
    if not found:
        more = "more iterations (star.iterations), another learning rate (train.learning_rate)"
        if pair.verdict == "worse":
            more = "a lower learning rate (train.learning_rate), fewer steps (star.schedule)"
        found = [f"nothing in the run stands out: try {more}, or a stronger base (model)"]
    return tuple(found[:MOST])


def _nothing_right(pair: Paired) -> Iterator[str]:
    if pair.neither == pair.n:
        yield (
            "no dev answer is right, before or after: see with star-mlx trace and star-mlx grade "
            "how answers end and what is read from them"
        )


def _diverged(record: RunRecord, lines: list[Metrics]) -> Iterator[str]:
    peak = _setting(record, "train", "learning_rate")
    for line in lines:
        first, last = (line.train.first_loss, line.train.last_loss) if line.train else (None, None)
        if first is not None and last is not None and last > RISE * first:
            yield (
                f"the training loss of iteration {line.iteration} rose from {first:.3g} to "
                f"{last:.3g}: a lower learning rate than {peak} (train.learning_rate)"
            )
            return


def _few_steps(record: RunRecord, lines: list[Metrics]) -> Iterator[str]:
    steps = max((line.steps or 0 for line in lines), default=0)
    warmup = _setting(record, "train", "warmup")
    if isinstance(warmup, int) and warmup >= steps > 0:
        yield (
            f"the learning rate never reached its peak, as the warm-up is {warmup} steps and no "
            f"training took more than {steps}: train.warmup={steps // 10}, and more steps "
            "(star.schedule, or a smaller train.batch_size)"
        )
    elif 0 < steps < FEW_STEPS:
        yield (
            f"no training took more than {steps} optimizer steps: train longer (star.schedule, or "
            "a smaller train.batch_size)"
        )


def _left_out(record: RunRecord, lines: list[Metrics]) -> Iterator[str]:
    if (left_out := _sum(lines, "too_long")) > MANY * _sum(lines, "examples"):
        yield (
            f"{left_out} examples were left out for their length: a larger train.max_length than "
            f"{_setting(record, 'train', 'max_length')}"
        )


def _kept(lines: list[Metrics]) -> Iterator[str]:
    problems, kept = _sum(lines, "problems"), _sum(lines, "examples")
    if problems and kept < FEW_KEPT * problems:
        few = "1 example was" if kept == 1 else f"{kept} examples were"
        yield (
            f"only {few} kept from {problems} problems: easier problems, better few-shot examples "
            "(prompts.file), several samples (generate.samples=4 with generate.temperature=0.7), "
            "or a stronger base"
        )


def _cut_off(record: RunRecord, number: int) -> Iterator[str]:
    made = [row for block in record.rows(number, names.DEV, rows.Outcome) for row in block]
    cut = sum(row.finish == "length" for row in made)
    if made and cut > MANY * len(made):
        yield (
            f"{cut} of {len(made)} dev answers of iteration {number} were cut off at "
            f"{_setting(record, 'generate', 'max_tokens')} tokens: a larger generate.max_tokens, "
            "or shorter few-shot examples"
        )


def _unreadable(lines: list[Metrics]) -> Iterator[str]:
    problems, failed = _sum(lines, "problems"), _sum(lines, "parse_failures")
    if problems and failed > MANY * problems:
        yield (
            f"no answer could be read from {failed} attempts at {problems} problems: see with "
            "star-mlx trace how they end, and show that ending in the few-shot examples"
        )


def _quality(lines: list[Metrics]) -> Iterator[str]:
    hinted, leaks = _sum(lines, "rationalized"), _sum(lines, "hint_leaks")
    if hinted and leaks > MANY * hinted:
        yield (
            f"{leaks} of {hinted} rationales kept with hint mention the hint or only repeat it: "
            "star.reject_hint_leaks=true"
        )
    counts = [found for line in lines for found in (line.valid_steps or {}).values()]
    checked, valid = sum(c.n for c in counts), sum(c.valid for c in counts)
    if checked and valid < VALID * checked:
        yield (
            f"{checked - valid} of {checked} kept rationales have a wrong step: "
            "star.require_valid_steps=true"
        )


def _problems(n: int) -> Iterator[str]:
    if n < FEW_PROBLEMS:
        said = power.sentence(n).removesuffix(".")
        yield f"more dev problems (evaluate.dev, or more data). {said}"


def _sum(lines: list[Metrics], name: str) -> int:
    return sum(getattr(line, name) or 0 for line in lines)


def _setting(record: RunRecord, group: str, name: str) -> Any:
    return (record.recipe.get(group) or {}).get(name)
