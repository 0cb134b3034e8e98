"""What a run will do, told before it begins: steps, rates, rows, tokens, seconds, memory, disk.

How many rows will be kept is not known before a run, so a plan gives what follows if a quarter and
if all of the problems are kept.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from star_mlx.augment.kinds import REWRITTEN
from star_mlx.engine import estimate, rate
from star_mlx.engine.estimate import Sizes
from star_mlx.recipe import asking
from star_mlx.run import few_steps
from star_mlx.run.at_hand import AtHand
from star_mlx.run.timing import Timing
from star_mlx.star import amount, sample
from star_mlx.store import rows
from star_mlx.types import Attempt, Example, Problem

SAMPLE = 300  # problems whose tokens are counted
FEWEST = 4  # a quarter is kept at least, it is assumed

Range = tuple[int, int]  # if few problems are kept, and if all are


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens: of the few-shot prompt, of a problem's prompt after it (the mean and the longest of a
    sample), and of a completion as the examples show it; None if there is no example to go by."""

    few_shot: int
    prompt: int
    longest: int
    completion: int | None


@dataclass(frozen=True, slots=True)
class Planned:
    """An iteration to come; None for what is not known. ``seconds`` needs a measurement."""

    iteration: int
    steps: int | None  # as set; None for a schedule by epochs
    epochs: float | None
    problems: int | None
    rows: Range | None = None
    steps_taken: Range | None = None
    peak_rate: tuple[float, float] | None = None
    generated_tokens: Range | None = None
    trained_tokens: Range | None = None
    disk_bytes: Range | None = None
    seconds: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The iterations to come, the sizes that they have in common, and what is wrong with them."""

    iterations: tuple[Planned, ...]
    finished: tuple[int, ...]  # iterations that the run folder has already
    train_problems: int | None
    dev_problems: int | None
    lengths: Lengths
    counted: bool  # tokens, by the model's tokenizer; else estimated from characters
    sizes: Sizes | None  # None if the model is not at hand
    timing: Timing | None
    base_seconds: float | None  # of iteration 0
    warnings: tuple[str, ...]

    @property
    def disk_bytes(self) -> Range | None:
        """Bytes that the iterations to come add to the run folder."""
        known = [one.disk_bytes for one in self.iterations if one.disk_bytes]
        return (sum(a for a, _ in known), sum(b for _, b in known)) if known else None

    @property
    def seconds(self) -> tuple[float, float] | None:
        """Seconds of the whole run, loading the model included."""
        known = [one.seconds for one in self.iterations if one.seconds]
        if self.timing is None or self.base_seconds is None or not known:
            return None
        before = self.timing.load_seconds + (0.0 if self.finished else self.base_seconds)
        return before + sum(a for a, _ in known), before + sum(b for _, b in known)

    def to_json(self) -> dict[str, Any]:
        """The plan as plain data, without its iterations."""
        values = {key: value for key, value in asdict(self).items() if key != "iterations"}
        return values | {"disk_bytes": self.disk_bytes, "seconds": self.seconds}


def drawn(at: AtHand) -> Sequence[Problem]:
    """Problems to show and to measure with: the first of iteration 1, or without the data the
    few-shot examples."""
    star = at.recipe.star
    if at.problems is None:
        return at.prompts.examples
    return sample(at.problems, star, at.recipe.seed, star.start_iteration)[:SAMPLE]


def plan(at: AtHand, *, finished: Sequence[int] = (), timing: Timing | None = None) -> RunPlan:
    """Plan the iterations of a recipe that are not finished."""
    star = at.recipe.star
    seen = lengths(at)
    sizes = None
    if at.model is not None:
        row = min(
            at.recipe.train.max_length, row_tokens(at, seen.longest, seen, seen.completion or 0)
        )
        sizes = estimate.sizes(
            at.model, at.recipe, prefix=seen.few_shot, longest=seen.longest, row=row
        )
    numbers = [n for n in range(star.start_iteration, star.iterations + 1) if n not in finished]
    dev = None if at.dev is None else len(at.dev)
    warning = None
    if at.problems is not None and not at.recipe.baseline:
        warning = few_steps.at_start(at.recipe, len(at.problems), numbers)
    measured = 2 if at.recipe.evaluate.zero_shot and not at.prompts.zero_shot else 1
    return RunPlan(
        iterations=tuple(_planned(at, n, seen, sizes, timing) for n in numbers),
        finished=tuple(finished),
        train_problems=None if at.problems is None else len(at.problems),
        dev_problems=dev,
        lengths=seen,
        counted=at.counted,
        sizes=sizes,
        timing=timing,
        base_seconds=None if timing is None else _dev(at) * measured * timing.attempt_seconds,
        warnings=(warning,) if warning else (),
    )


def lengths(at: AtHand) -> Lengths:
    """Count the tokens of a sample of prompts, and of completions as the data or the examples have
    them."""
    few_shot = at.recipe.star.few_shot(0) and not at.prompts.zero_shot
    shown = list(drawn(at))
    how = asking.generating(at.recipe, at.prompts, few_shot=few_shot)
    if at.templated:
        prefix, prompts = how.batch(shown)
    else:  # a chat without its template: the turns' texts
        turns = [how.turns(problem) for problem in shown]
        prefix = "\n".join(text for turn in turns[:1] for _, text in turn[:-1])
        prompts = [turn[-1][1] for turn in turns]
    counts = at.count(prompts) or [0]
    worked = completions(at, shown) or completions(at, at.prompts.examples)
    long = at.count(worked)
    mean = round(sum(long) / len(long)) if long else None
    if mean is not None:
        mean = min(mean, at.recipe.generate.max_tokens)
    [front] = at.count([prefix])
    return Lengths(front, round(sum(counts) / len(counts)), max(counts), mean)


def completions(at: AtHand, problems: Sequence[Problem]) -> list[str]:
    """Completions as the examples show them, of the problems that have a rationale."""
    if at.prompts.direct:
        return [at.prompts.completion(None, p.answer) for p in problems]
    return [at.prompts.completion(p.rationale, p.answer) for p in problems if p.rationale]


# --------------------------------------------------------------------------- an iteration


def _planned(
    at: AtHand, n: int, seen: Lengths, sizes: Sizes | None, timing: Timing | None
) -> Planned:
    star, train = at.recipe.star, at.recipe.train
    long = amount(star.schedule, n)
    problems = drawn_problems(at)
    known = Planned(n, long.steps, long.epochs, problems)
    if long.steps is not None:
        peak = rate.peak(train, long.steps)
        known = replace(known, steps_taken=(long.steps, long.steps), peak_rate=(peak, peak))
    if problems is None or at.problems is None or at.recipe.baseline:
        return known
    times = 1 + min(star.carry_over, n - star.start_iteration)
    samples = at.recipe.generate.samples
    each = min(samples, star.most_per_problem or samples)
    asked, written = questions(at, problems)
    kept = (-(-problems // FEWEST) * times, asked * each * times)
    steps = (long.steps_for(kept[0], train.batch_size), long.steps_for(kept[1], train.batch_size))
    tries = attempts(at, asked, n, presumed=written)
    length = seen.completion or at.recipe.generate.max_tokens
    if timing is not None and timing.completion_tokens:
        length = timing.completion_tokens
    row = row_tokens(at, seen.prompt, seen, length)
    batches = [
        round(long.epochs * k) if long.epochs else s * min(train.batch_size, k)
        for k, s in zip(kept, steps, strict=True)
    ]
    return replace(
        known,
        problems=asked,
        rows=kept,
        steps_taken=steps,
        peak_rate=(rate.peak(train, steps[0]), rate.peak(train, steps[1])),
        generated_tokens=(tries[0] * length, tries[1] * length),
        trained_tokens=(row * batches[0], row * batches[1]),
        disk_bytes=_disk(at, seen, length, sizes, tries, kept),
        seconds=None if timing is None else _seconds(at, timing, tries, steps),
    )


def row_tokens(at: AtHand, prompt: int, seen: Lengths, completion: int) -> int:
    """Tokens of a training row, with its end token."""
    return prompt + completion + 1 + (seen.few_shot if at.recipe.star.few_shot_train else 0)


def drawn_problems(at: AtHand) -> int | None:
    """Problems of an iteration: all of the data, or as many as are drawn of them; None if that is
    not known."""
    wanted = at.recipe.star.problems
    if at.problems is None:
        return wanted
    return len(at.problems) if wanted is None else min(len(at.problems), wanted)


def questions(at: AtHand, problems: int) -> Range:
    """Problems with their new questions, if every one can be asked, and those among them that the
    model writes itself."""
    added = at.recipe.augment.most(problems)
    written = sum(most for kind, most in added.items() if kind in REWRITTEN)
    return problems + sum(added.values()), written


def attempts(at: AtHand, problems: int, n: int, *, presumed: int = 0) -> Range:
    """Completions of iteration n: if no problem is tried again with its hint, and if all are, but
    for the ``presumed`` ones among them that the model writes itself, in a completion each."""
    star, direct = at.recipe.star, problems * at.recipe.generate.samples + presumed
    again = problems - presumed if star.rationalizes(n) and not at.prompts.direct else 0
    return direct, direct + round(again * star.p_rationalization)


def _dev(at: AtHand) -> int:
    return len(at.dev) if at.dev is not None and at.recipe.star.evaluate else 0


def _seconds(at: AtHand, timing: Timing, tries: Range, steps: Range) -> tuple[float, float]:
    """Seconds of an iteration: if hardly a problem fails any more, and if as many do as now."""
    direct, all_again = tries
    again = round((all_again - direct) * (1 - timing.right))
    each = timing.attempt_seconds
    found = [
        each * (tried + _dev(at)) + timing.step_seconds * s
        for tried, s in zip((direct, direct + again), steps, strict=True)
    ]
    return found[0], found[1]


def row_bytes(at: AtHand, seen: Lengths, length: int, vocabulary: int | None) -> Range:
    """Bytes of an attempt and of an example of ``length`` tokens, as they are written."""
    id = (vocabulary or 50_000) // 2
    ids = tuple(random.Random(0).choices(range(1, 2 * id), k=length))
    shown = list(drawn(at))[:1]
    name = shown[0].id if shown else "train-1000"
    text = (completions(at, shown) or completions(at, at.prompts.examples) or ["x" * 4 * length])[0]
    prompt = "x" * round(4 * seen.prompt)
    attempt = len(rows.attempts([Attempt(name, False, text, "72", True, "stop", ids)]))
    example = Example(name, prompt, text, "direct", ids, 1)
    return attempt, len(b"".join(rows.examples([example])))


def _disk(
    at: AtHand, seen: Lengths, length: int, sizes: Sizes | None, tries: Range, kept: Range
) -> Range:
    """Bytes on disk, by the size of a row as it is written."""
    attempt, row = row_bytes(at, seen, length, sizes.vocabulary if sizes else None)
    fixed = (sizes.adapter if sizes else 0) + attempt * _dev(at)
    return fixed + attempt * tries[0] + row * kept[0], fixed + attempt * tries[1] + row * kept[1]
