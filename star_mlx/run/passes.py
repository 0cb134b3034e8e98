"""A pass over problems: which model attempts them, with which seeds, and how they are judged."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from star_mlx.answers import thinking
from star_mlx.events import Emit, Progress
from star_mlx.prompts import Prompts
from star_mlx.recipe.asking import Asking
from star_mlx.settings import Star
from star_mlx.tasks import why_undecided
from star_mlx.types import Attempt, Completion, Engine, Phase, Problem, Task


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass over problems: the model, how it is asked, and where its attempts are kept.

    ``note`` is that of ``PhaseStarted``.
    """

    iteration: int
    kind: str  # the name in the file and the journal entries
    phase: Phase
    adapter: Path | None
    asking: Asking
    samples: int = 1
    note: str = ""


class At:
    """Turns progress inside a chunk into progress of the phase, which ``before`` the chunk was as
    given."""

    def __init__(self, emit: Emit, before: Progress, memory: Callable[[], tuple[int, int]]) -> None:
        self._emit, self._before, self._memory = emit, before, memory
        self._began = time.perf_counter() - before.seconds

    def __call__(self, done: int, tokens: int) -> None:
        self._emit(
            replace(
                self._before,
                done=self._before.done + done,
                tokens=self._before.tokens + tokens,
                seconds=time.perf_counter() - self._began,
                memory=self._memory(),
            )
        )


def begun(iteration: int, phase: Phase, total: int) -> Progress:
    """A pass at its beginning."""
    kept = None if phase == "evaluate" else 0
    return Progress(iteration, phase, 0, total, 0, 0.0, judged=0, right=0, kept=kept)


def after(at: Progress, made: Sequence[Attempt], seconds: float) -> Progress:
    """A pass after one more chunk, which took ``seconds``. All attempts at a problem are in one
    chunk."""
    kept = {(a.id, a.completion.strip()) for a in made if a.kept}
    return replace(
        at,
        done=at.done + len(made),
        tokens=at.tokens + sum(len(a.token_ids) for a in made),
        seconds=at.seconds + seconds,
        judged=at.done + len(made),
        right=(at.right or 0) + sum(a.correct for a in made),
        kept=None if at.kept is None else at.kept + len(kept),
    )


def attempts(
    engine: Engine,
    adapter: Path | None,
    asking: Asking,
    problems: Sequence[Problem],
    *,
    seeds: Sequence[int],
    progress: Callable[[int, int], None] = lambda done, tokens: None,
) -> list[Attempt]:
    """Ask a model problems and judge its completions, one attempt at each, in order.

    Args:
        engine, adapter: the model; the adapter None is the base.
        asking: how it is asked.
        problems: the problems; the same one may occur several times.
        seeds: one per problem.
        progress: see ``Engine.generate``.
    """
    prefix, prompts = asking.batch(problems)
    generate = functools.partial(engine.generate, prefix=prefix, adapter=adapter)
    bound = asking.thinking_tokens
    if bound is None or bound >= asking.decoding.max_tokens:  # as in a short trial
        completions = generate(prompts, asking.decoding, seeds=seeds, progress=progress)
    else:
        completions = _bounded(engine, generate, asking, prefix, prompts, seeds, progress)
    task = asking.prompts.task
    triples = zip(problems, prompts, completions, strict=True)
    return [
        judge(task, problem, made, hinted=asking.hinted, prompt=prefix + prompt)
        for problem, prompt, made in triples
    ]


def groups(
    problems: Sequence[Problem], asking: Asking, prompts_of: Mapping[str, Prompts]
) -> list[tuple[Asking, list[int]]]:
    """How problems are asked, with the places of those that are asked so: as ``asking`` says, but
    with prompts of their own if they have any (by id in ``prompts_of``)."""
    found: dict[int, tuple[Asking, list[int]]] = {}
    for place, problem in enumerate(problems):
        prompts = prompts_of.get(problem.id, asking.prompts)
        group = found.setdefault(id(prompts), (replace(asking, prompts=prompts), []))
        group[1].append(place)
    return list(found.values())


def attempts_of_groups(
    engine: Engine,
    adapter: Path | None,
    groups: Sequence[tuple[Asking, Sequence[int]]],
    problems: Sequence[Problem],
    *,
    seeds: Sequence[int],
    progress: Callable[[int, int], None],
) -> list[Attempt]:
    """``attempts`` at problems of which each group is asked in its own way."""
    made: dict[int, Attempt] = {}
    for asking, places in groups:
        before, tokens = len(made), sum(len(one.token_ids) for one in made.values())
        found = attempts(
            engine,
            adapter,
            asking,
            [problems[place] for place in places],
            seeds=[seeds[place] for place in places],
            progress=functools.partial(_further, progress, before, tokens),
        )
        made.update(zip(places, found, strict=True))
    return [made[place] for place in range(len(problems))]


def _further(
    progress: Callable[[int, int], None], before: int, spent: int, done: int, tokens: int
) -> None:
    progress(before + done, spent + tokens)


def _bounded(
    engine: Engine,
    generate: Callable[..., list[Completion]],
    asking: Asking,
    prefix: str,
    prompts: Sequence[str],
    seeds: Sequence[int],
    progress: Callable[[int, int], None],
) -> list[Completion]:
    """Generate in two parts: as many tokens as thinking may take, and the rest, before which the
    thinking that goes on is ended. A completion that fills the model's context ends there."""
    bound = asking.thinking_tokens or 0
    part = replace(asking.decoding, max_tokens=bound)
    made = generate(prompts, part, seeds=seeds, progress=lambda done, tokens: progress(0, tokens))
    found = [i for i, c in enumerate(made) if c.finish == "length" and len(c.token_ids) >= bound]
    marks = [thinking.end_of(made[i].text, prompts[i]) for i in found]
    added = dict(zip(found, (f"\n{mark}\n\n" if mark else "" for mark in marks), strict=True))
    asked = {i: prompts[i] + made[i].text + end for i, end in added.items()}
    going = [i for i in found if _fits(engine, prefix + asked[i])]
    before, tokens = len(made) - len(going), sum(len(c.token_ids) for c in made)
    rest = generate(
        [asked[i] for i in going],
        replace(asking.decoding, max_tokens=asking.decoding.max_tokens - bound),
        seeds=[seed(seeds[i], "after thinking") for i in going],
        progress=lambda done, more: progress(before + done, tokens + more),
    )
    for i, more in zip(going, rest, strict=True):
        ids = (*made[i].token_ids, *engine.encode(added[i]), *more.token_ids)
        made[i] = Completion(made[i].text + added[i] + more.text, ids, more.finish)
    return made


def _fits(engine: Engine, text: str) -> bool:
    """Whether a prompt leaves room in the model's context, if that is known."""
    context = engine.describe().get("context")
    if context is None or len(text.encode()) + 2 < context:  # a token is a byte or more
        return True
    return len(engine.encode(text)) + 1 < context  # 1: a start token


def judge(
    task: Task, problem: Problem, completion: Completion, *, hinted: bool, prompt: str = ""
) -> Attempt:
    """Read the completion's answer and compare it with the problem's; the task's exceptions
    propagate. Thinking, which may have begun in the ``prompt``, is not read."""
    said = thinking.said(completion.text, prompt)
    answer = None if said is None else task.read(said, problem.question)
    correct = answer is not None and task.equal(answer, problem.answer)
    known = answer is None or correct
    return Attempt(
        id=problem.id,
        hinted=hinted,
        completion=completion.text,
        answer=answer,
        correct=correct,
        finish=completion.finish,
        token_ids=completion.token_ids,
        undecided="" if known else why_undecided(task, answer or "", problem.answer),
    )


def filtered(task: Task, star: Star, problem: Problem, attempt: Attempt) -> Attempt:
    """The attempt, with ``rejected`` set if it is right but the recipe requires more."""
    if not attempt.correct:
        return attempt
    text, rejected = attempt.completion, ""
    if star.require_valid_steps and task.valid_steps(problem, text) is False:
        rejected = "wrong step"
    elif star.reject_hint_leaks and attempt.hinted:
        rejected = "hint leak" if task.cites_hint(problem, text) else ""
    return replace(attempt, rejected=rejected)


def seed(*parts: object) -> int:
    """A seed in [0, 2**32) derived from its purpose, the same on every machine."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
