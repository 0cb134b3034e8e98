"""Checks of a recipe on all of its problems, before the hours of a run are spent."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from star_mlx.errors import TaskError
from star_mlx.run.at_hand import AtHand
from star_mlx.run.plan import RunPlan, completions
from star_mlx.types import Problem

READ_BACK = 2000  # problems whose answers are read back: comparing expressions takes time


@dataclass(frozen=True, slots=True)
class Remark:
    """The result of one check. ``ok`` is False if something is to be mended or known."""

    what: str  # such as "too long"
    ok: bool
    text: str


def checks(at: AtHand, plan: RunPlan, folder: Path) -> list[Remark]:
    """Every check, in the order of display.

    Args:
        folder: where the run will be written.
    """
    if at.problems is None or at.dev is None:
        raise TaskError(
            f"the data of the task {at.task.name} is not on this machine: give --data, or star-mlx "
            "loop fetches it"
        )
    problems = [*at.problems, *at.dev]
    return [
        *_lengths(at, plan, problems),
        _cut_off(at, problems),
        _unreadable(at, problems),
        _hints(at, at.problems),
        *_few_shot(at, plan),
        Remark("steps", not plan.warnings, "; ".join(plan.warnings) or _steps(plan)),
        _disk(plan, folder),
    ]


def _of(count: int, total: int, one: str) -> str:
    """``"3 of 800 prompts"``."""
    return f"{count or 'none'} of {total} {one}"


def _about(at: AtHand) -> str:
    return "" if at.counted else " (estimated from characters: the model is not on this machine)"


# --------------------------------------------------------------------------- length


def _lengths(at: AtHand, plan: RunPlan, problems: Sequence[Problem]) -> Iterator[Remark]:
    """Prompts that do not fit into the model's context, and rows that do not fit max_length."""
    made, train = at.recipe.generate, at.recipe.train
    prompts = at.count([_asked(at, problem) for problem in problems])
    whole = [plan.lengths.few_shot + n for n in prompts]
    if plan.sizes is not None:
        context = plan.sizes.context
        refused = sum(n >= context for n in whole)
        short = sum(context - made.max_tokens < n < context for n in whole)
        text = f"{_of(refused, len(whole), 'prompts')} reach the model's context of {context}"
        if refused:
            text += ": a run stops at the first. Use fewer few-shot examples, or leave them out"
        elif short:
            text = f"{_of(short, len(whole), 'prompts')} leave less than generate.max_tokens="
            text += f"{made.max_tokens} in the model's context of {context}"
        yield Remark("too long", not refused and not short, text)
    completion = plan.lengths.completion or 0
    front = plan.lengths.few_shot if at.recipe.star.few_shot_train else 0
    rows = [front + n + completion + 1 for n in prompts[: len(at.problems or ())]]
    long = sum(n > train.max_length for n in rows)
    text = f"{_of(long, len(rows), 'training rows')} exceed train.max_length={train.max_length}"
    if long:
        text += f": they would be left out. The longest has about {max(rows)} tokens"
    yield Remark("too long", not long, text + _about(at))


def _asked(at: AtHand, problem: Problem) -> str:
    """The prompt of a problem without the few-shot examples."""
    if at.templated:
        return at.prompts.training(problem.question, few_shot=False)
    return at.prompts.asked(problem.question)


def _cut_off(at: AtHand, problems: Sequence[Problem]) -> Remark:
    """Rationales that are longer than a completion may be, or contain a text that ends it."""
    limit = at.recipe.generate.max_tokens
    own, whose = completions(at, problems), "rationales of the data"
    if not own:
        own, whose = completions(at, at.prompts.examples), "few-shot examples"
    if not own:
        return Remark("cut off", True, "there is no rationale by which to judge")
    long = sum(n > limit for n in at.count(own))
    stops = Counter(stop for text in own for stop in at.prompts.stop if stop in text)
    texts = []
    if long:
        texts.append(
            f"{_of(long, len(own), whose)} are longer than generate.max_tokens={limit}: "
            f"completions like these are cut off and not kept{_about(at)}"
        )
    for stop, count in stops.items():
        texts.append(
            f"{_of(count, len(own), whose)} contain {stop!r}, which ends a completion: the model "
            "would be cut off there"
        )
    good = f"{_of(0, len(own), whose)} are longer than generate.max_tokens={limit}{_about(at)}"
    return Remark("cut off", not texts, "; ".join(texts) or good)


# --------------------------------------------------------------------------- answers


def _unreadable(at: AtHand, problems: Sequence[Problem]) -> Remark:
    """Right answers, written as the examples write them, that are not read as right."""
    some = problems[:READ_BACK]
    wrong = [problem for problem in some if not reads_back(at, problem)]
    text = f"all {len(some)} right answers are read back"
    if wrong:
        first = f"the first: {wrong[0].answer[:60]!r} of {wrong[0].id}"
        text = f"{_of(len(wrong), len(some), 'right answers')} cannot be read back, {first}. "
        text += "These problems can never be right: see task.options.read"
    return Remark("unreadable", not wrong, text)


def reads_back(at: AtHand, problem: Problem) -> bool:
    """Whether a problem's answer is read from a completion that ends in it."""
    text = at.prompts.completion(None, problem.answer)
    read = at.task.read(text, problem.question)
    return read is not None and at.task.equal(read, problem.answer)


def _hints(at: AtHand, problems: Sequence[Problem]) -> Remark:
    """Problems whose prompt with the hint is the same as without."""
    if not at.recipe.star.rationalize or at.prompts.direct:
        return Remark("hint", True, "failures are not tried again with a hint")
    some = problems[:READ_BACK]
    ways = [[at.prompts.turns(p, hinted=h, few_shot=False) for p in some] for h in (False, True)]
    same = sum(plain == hinted for plain, hinted in zip(*ways, strict=True))
    text = f"all {len(some)} prompts with hint show it"
    if same:
        text = f"{_of(same, len(some), 'prompts with hint')} do not show it: see task.options.hint"
    return Remark("hint", not same, text)


def _few_shot(at: AtHand, plan: RunPlan) -> Iterator[Remark]:
    """Examples that are dev problems, that all have one answer, or that fill the context."""
    shots, dev = at.prompts.examples, {problem.question for problem in at.dev or ()}
    if not shots:
        yield Remark("few-shot", True, "there are no examples: the model is asked in words")
        return
    texts = []
    if leaked := sum(shot.question in dev for shot in shots):
        texts.append(f"{_of(leaked, len(shots), 'examples')} are dev problems: put others there")
    if len(shots) > 2 and shots[0].question.choices and len({s.answer for s in shots}) == 1:
        texts.append(f"all {len(shots)} examples have the answer {shots[0].answer}: vary it")
    if plan.sizes and 2 * plan.lengths.few_shot > plan.sizes.context:
        texts.append("they fill more than half of the model's context")
    number = f"{len(shots)} example{'s' * (len(shots) > 1)}"
    good = f"{number} of {plan.lengths.few_shot} tokens in all, none of them a dev problem"
    yield Remark("few-shot", not texts, "; ".join(texts) or good)


# --------------------------------------------------------------------------- the run


def _steps(plan: RunPlan) -> str:
    first = plan.iterations[:1]
    taken = first[0].steps_taken if first else None
    if taken is None:
        return "there is no iteration to come"
    low, high = taken
    return (
        f"iteration {first[0].iteration} takes {low if low == high else f'{low} to {high}'} steps"
    )


def _disk(plan: RunPlan, folder: Path) -> Remark:
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    needed = plan.disk_bytes[1] if plan.disk_bytes else 0
    text = f"{needed / 1e9:.2g} GB needed at most, {free / 1e9:.3g} GB free"
    return Remark("disk", needed < free, text)
