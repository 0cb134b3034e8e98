"""A pass over problems: which model attempts them, with which seeds, and how they are judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from star_mlx.answers import thinking
from star_mlx.events import Emit, Progress
from star_mlx.prompts import Prompts
from star_mlx.recipe.asking import Asking, PromptBatch
from star_mlx.run.completing import complete
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
    asked = AskedChunk.of([(asking, range(len(problems)))], problems, seeds)
    return asked.judged(complete(engine, adapter, asked.batches, progress))


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


@dataclass(frozen=True, slots=True)
class AskedChunk:
    """Problems with the prompts in which they are asked, group by group.

    ``batches`` are all that is needed to complete the prompts, here or in another process.
    """

    problems: Sequence[Problem]
    groups: Sequence[tuple[Asking, Sequence[int]]]
    batches: tuple[PromptBatch, ...]

    @classmethod
    def of(
        cls,
        groups: Sequence[tuple[Asking, Sequence[int]]],
        problems: Sequence[Problem],
        seeds: Sequence[int],
    ) -> AskedChunk:
        """The problems, of which those of a group, named by their places, are asked in one way."""
        batches = [
            asking.prompted([problems[place] for place in places], [seeds[p] for p in places])
            for asking, places in groups
        ]
        return cls(problems, groups, tuple(batches))

    def judged(self, completions: Sequence[Completion]) -> list[Attempt]:
        """The attempts, in the order of the problems, that the completions of the batches are."""
        asked = [
            (place, asking, batch.prefix + text)
            for (asking, places), batch in zip(self.groups, self.batches, strict=True)
            for place, text in zip(places, batch.prompts, strict=True)
        ]
        made = {
            place: judge(
                asking.prompts.task,
                self.problems[place],
                completion,
                hinted=asking.hinted,
                prompt=prompt,
            )
            for (place, asking, prompt), completion in zip(asked, completions, strict=True)
        }
        return [made[place] for place in range(len(self.problems))]


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
