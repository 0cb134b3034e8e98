"""The model of Algorithm 1 bound to a run: finished work is neither lost nor done twice."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from star_mlx.answers import thinking
from star_mlx.errors import NothingKept, TrainingDiverged
from star_mlx.events import Emit, Notice, PhaseStarted, Sampled
from star_mlx.measure import accuracy
from star_mlx.measure.baselines import TRAINED
from star_mlx.prompts import Prompts
from star_mlx.recipe import asking
from star_mlx.recipe.asking import Asking, ChunkWork
from star_mlx.run import metrics, passes
from star_mlx.run.completing import Progressing, complete_all, seed
from star_mlx.run.fit import fit
from star_mlx.run.passes import AskedChunk, At, Pass, judge
from star_mlx.settings import Recipe
from star_mlx.store.metrics import Metrics, Served
from star_mlx.store.writing import Store
from star_mlx.types import (
    Amount,
    Attempt,
    Completion,
    Engine,
    Evaluation,
    Example,
    Iteration,
    Phase,
    Problem,
    Task,
    Trained,
)


class Learner:
    """``types.Model`` on an engine. It keeps its work in a run folder and emits events."""

    def __init__(
        self,
        recipe: Recipe,
        task: Task,
        prompts: Prompts,
        engine: Engine,
        folder: Store,
        emit: Emit,
    ) -> None:
        self.recipe, self.prompts, self._task = recipe, prompts, task
        self.engine, self._folder, self._emit = engine, folder, emit
        self._seconds: dict[tuple[int, Phase], float] = {}
        self._ids: dict[int, int] = {}  # token id -> the one object used for it
        self._shown: set[str] = set()  # problems of which an attempt without hint was shown
        self._failed: dict[str, Attempt] = {}  # the failures of this iteration's generation
        self._begun = False  # whether a chunk was generated
        # problem id -> its prompts, of the problems that are asked with others than ``prompts``
        self.prompts_of: dict[str, Prompts] = {}

    def on(self, task: Task, prompts: Prompts, emit: Emit | None = None) -> Learner:
        """The same model and folder for another task, and if it is given another receiver."""
        emit = emit or self._emit
        return Learner(self.recipe, task, prompts, self.engine, self._folder, emit)

    def spent(self, iteration: int, phase: Phase) -> float:
        """The seconds of all passes of a phase, those of earlier sessions included."""
        return self._seconds.get((iteration, phase), 0.0)

    def attempt(
        self,
        problems: Sequence[Problem],
        adapter: Path | None,
        *,
        iteration: int,
        hinted: bool,
        few_shot: bool,
    ) -> list[Attempt]:
        if hinted and self.prompts.direct:  # no rationale to find: the hint is the completion
            return [self._told(problem) for problem in problems]
        return self.walk(
            problems,
            Pass(
                iteration=iteration,
                kind="hinted" if hinted else "direct",
                phase="rationalize" if hinted else "generate",
                adapter=adapter,
                asking=asking.generating(
                    self.recipe, self.prompts, few_shot=few_shot, hinted=hinted
                ),
                samples=1 if hinted else self.recipe.generate.samples,
            ),
        )

    def example(
        self, problem: Problem, attempt: Attempt, *, iteration: int, show_hint: bool
    ) -> Example:
        prompts = self.prompts_of.get(problem.id, self.prompts)
        return example(
            self.recipe, prompts, problem, attempt, iteration=iteration, show_hint=show_hint
        )

    def given(self, problem: Problem, *, iteration: int) -> Example:
        """The example of the data's own rationale, or with ``direct`` of its answer alone."""
        rationale = None if self.prompts.direct else problem.rationale
        text = self.prompts.completion(rationale, problem.answer)
        return Example(
            id=problem.id,
            prompt=self.prompts.training(
                problem.question, few_shot=self.recipe.star.few_shot_train
            ),
            completion=text,
            source="given",
            token_ids=tuple(self.engine.encode(text)),
            iteration=iteration,
        )

    def train(self, examples: Sequence[Example], amount: Amount, *, iteration: int) -> Trained:
        self._shown, self._failed = set(), {}
        if done := self._folder.trained(iteration):
            return done
        if not examples:
            raise NothingKept(self._nothing_kept(iteration))
        self._folder.save_examples(iteration, examples)
        warned = amount.steps is not None and not self.recipe.baseline  # at the start of the loop
        try:
            with self._folder.adapter_folder(iteration) as out:
                trained, steps = fit(
                    self.engine, self.recipe, examples, amount, iteration, out=out,
                    emit=self._emit, warned=warned,
                )  # fmt: skip
        except TrainingDiverged as error:
            raise TrainingDiverged(
                f"iteration {iteration}: {error}{self._instead(iteration)}"
            ) from error
        self._folder.save_steps(iteration, steps)
        return self._folder.save_trained(iteration, trained)

    def _instead(self, iteration: int) -> str:
        """How to keep what is there of a run whose training has to be given up."""
        run, before = self._folder.path, iteration - 1
        if iteration <= self.recipe.star.start_iteration or self.recipe.baseline:
            return ", in a new run"
        kept = f"iteration {before}" if before == 1 else f"iterations 1 to {before}"
        return (
            f". {run} keeps {kept}: a new run goes on from there with "
            f"star.start_from={run} and star.start_iteration={iteration}"
        )

    def _nothing_kept(self, iteration: int) -> str:
        again = self.recipe.star.rationalizes(iteration)
        hint = ", with or without a hint" if again else ""
        text = f"iteration {iteration} kept no example: no answer was right{hint}. "
        if any(line.examples for line in self._folder.metrics):
            return text + (
                "Earlier iterations kept some, so their training did harm: try a lower "
                "train.learning_rate or fewer steps (star.schedule), or go back to a better "
                "iteration with star.on_regression=rollback"
            )
        more = "" if again else "star.rationalize=true, "
        return text + (
            "Try easier problems, better few-shot examples (prompts.file), a larger "
            f"generate.max_tokens, {more}or a stronger model"
        )

    def evaluate(
        self, adapter: Path | None, *, iteration: int, few_shot: bool
    ) -> Evaluation | None:
        if not self.recipe.star.evaluate:
            return None
        how = asking.measuring(self.recipe, self.prompts, iteration, few_shot=few_shot)
        return self._dev("dev", how, adapter, iteration)

    def iteration_zero(self) -> Metrics:
        """The metrics line of the base: with its few-shot prompt, and without examples."""
        dev = zero_shot = None
        seconds: dict[Phase, float] | None = None
        measured = self.recipe.baseline not in TRAINED  # the others measure the base
        few_shot = self.recipe.star.few_shot(0)
        if measured and (found := self.evaluate(None, iteration=0, few_shot=few_shot)):
            dev = accuracy.measured(found, self._task.classes)
            if self.recipe.evaluate.zero_shot and not self.prompts.zero_shot:
                how = asking.zero_shot(self.recipe, self.prompts)
                plain = self._dev("zero-shot", how, None, 0)
                zero_shot = accuracy.measured(plain, self._task.classes)
            seconds = {"evaluate": round(self._seconds[0, "evaluate"], 3)}
        return Metrics(
            iteration=0,
            dev=dev,
            zero_shot=zero_shot,
            served=self._folder.served(0) or None,
            seconds=seconds,
            peak_memory_bytes=self.engine.peak_memory(),
        )

    def metrics(self, iteration: Iteration) -> Metrics:
        """The metrics line of an iteration that just ended."""
        n = iteration.number
        return metrics.line(
            iteration,
            self._task,
            solved_before=self._folder.solved,
            seconds={phase: s for (number, phase), s in self._seconds.items() if number == n},
            peak_memory=self.engine.peak_memory(),
            served=self._folder.served(n),
        )

    def _dev(self, kind: str, how: Asking, adapter: Path | None, iteration: int) -> Evaluation:
        problems = self._task.problems("dev")[: self.recipe.evaluate.dev]
        note = "" if kind == "dev" else "without examples"
        attempts = self.walk(problems, Pass(iteration, kind, "evaluate", adapter, how, note=note))
        return accuracy.tally("dev", problems, attempts)

    def walk(self, problems: Sequence[Problem], how: Pass) -> list[Attempt]:
        """Attempt problems chunk by chunk; a chunk already on disk is read instead.

        The ``samples`` attempts at one problem are consecutive.
        """
        n, phase = how.iteration, how.phase
        before = self._seconds.setdefault((n, phase), 0.0)
        if not problems:
            return []
        total = len(problems) * how.samples
        self._folder.begin()
        self._emit(PhaseStarted(n, phase, total, how.note))
        attempts: list[Attempt] = []
        at = passes.begun(n, phase, total)
        inside = At(self._emit, at, self.engine.memory)
        made = self._made(problems, how, lambda done, tokens: inside(done, tokens))
        for index in range(math.ceil(len(problems) / self.recipe.generate.per_chunk)):
            stored = self._folder.chunk(n, how.kind, index)
            if stored is None:
                start, served = time.perf_counter(), self._served()
                inside = At(self._emit, at, self.engine.memory)
                chunk, found = next(made)
                stored = found, time.perf_counter() - start
                self._folder.save_chunk(n, how.kind, index, *stored, self._served() - served)
                self._show(how, chunk, found)
                self._warn(how, chunk, found)
            attempts += map(self._slim, stored[0])
            at = replace(passes.after(at, *stored), memory=self.engine.memory())
            self._emit(at)
        self._seconds[n, phase] = before + at.seconds
        if phase == "generate":
            self._failed = {a.id: a for a in reversed(attempts) if not a.correct}
        return attempts

    def served(self) -> Served:
        """The work of servers for all finished chunks, also of processes before this one."""
        return self._folder.served()

    def _served(self) -> Served:
        """The work of servers in this process so far, if any generate."""
        found: Served = getattr(self.engine, "served", Served())
        return found

    def _warn(self, how: Pass, problems: Sequence[Problem], made: Sequence[Attempt]) -> None:
        """Warn if most of the first chunk was cut off while the model was thinking."""
        if self._begun or not made:
            return
        self._begun = True
        prompt = how.asking.prompt(problems[0])
        cut = sum(a.finish == "length" and thinking.thinks(a.completion, prompt) for a in made)
        if 2 * cut > len(made):
            tokens = self.recipe.generate.max_tokens
            text = (
                f"{cut} of the first {len(made)} completions were cut off inside their thinking, "
                f"after generate.max_tokens={tokens} tokens: turn thinking off with "
                "--set prompts.template='{enable_thinking: false}', bound it with "
                "generate.thinking_tokens, or give a larger generate.max_tokens"
            )
            self._emit(Notice("warning", text))

    def _slim(self, attempt: Attempt) -> Attempt:
        """The same attempt with one object for equal token ids, which takes a third of the
        memory."""
        ids = attempt.token_ids
        return replace(attempt, token_ids=tuple(map(self._ids.setdefault, ids, ids)))

    def _made(
        self, problems: Sequence[Problem], how: Pass, progress: Progressing
    ) -> Iterator[tuple[Sequence[Problem], list[Attempt]]]:
        """The problems of each chunk that is not on disk, once for each attempt at them, and the
        attempts. They are made when they are asked for, or ahead of that if several processes
        share the work."""
        asked: deque[AskedChunk] = deque()  # those that are given out, and not judged yet

        def jobs() -> Iterator[ChunkWork]:
            size = self.recipe.generate.per_chunk
            for index, first in enumerate(range(0, len(problems), size)):
                if not self._folder.has_chunk(how.iteration, how.kind, index):
                    several = range(how.samples)
                    chunk = [p for p in problems[first : first + size] for _ in several]
                    groups = passes.groups(chunk, how.asking, self.prompts_of)
                    asked.append(AskedChunk.of(groups, chunk, self._seeds(chunk, how)))
                    yield ChunkWork(how.adapter, asked[-1].batches)

        for completions in complete_all(self.engine, jobs(), progress):
            chunk = asked.popleft()
            yield chunk.problems, self._filtered(chunk.problems, chunk.judged(completions), how)

    def _filtered(
        self, problems: Sequence[Problem], made: list[Attempt], how: Pass
    ) -> list[Attempt]:
        if how.phase == "evaluate":
            return made
        star = self.recipe.star
        pairs = zip(problems, made, strict=True)
        return [passes.filtered(self._task, star, problem, attempt) for problem, attempt in pairs]

    def _seeds(self, problems: Sequence[Problem], how: Pass) -> list[int]:
        parts = (self.recipe.seed, how.iteration, how.kind)
        if how.samples == 1:
            return [seed(*parts, p.id) for p in problems]
        return [seed(*parts, p.id, i % how.samples) for i, p in enumerate(problems)]

    def _told(self, problem: Problem) -> Attempt:
        text = self.prompts.completion(None, problem.answer)
        completion = Completion(text, tuple(self.engine.encode(text)), "stop")
        return judge(self._task, problem, completion, hinted=True)

    def _show(self, how: Pass, problems: Sequence[Problem], made: Sequence[Attempt]) -> None:
        """Emit the chunk's first attempt, whatever its verdict, and the second attempts at problems
        of which the first was shown."""
        if how.phase == "generate":
            self._shown.add(problems[0].id)
        for index, (problem, attempt) in enumerate(zip(problems, made, strict=True)):
            if index and not (how.phase == "rationalize" and problem.id in self._shown):
                continue
            first = self._failed.get(problem.id) if attempt.hinted else None
            text, gold = problem.question.as_text(" "), problem.answer
            before = _as_shown(first) if first else None
            shown = _as_shown(attempt)
            self._emit(Sampled(how.iteration, text, gold, shown, how.phase, before))


def _as_shown(attempt: Attempt) -> dict[str, Any]:
    found = {
        "id": attempt.id,
        "hinted": attempt.hinted,
        "completion": attempt.completion,
        "answer": attempt.answer,
        "correct": attempt.correct,
        "finish": attempt.finish,
        "rejected": attempt.rejected,
        "tokens": len(attempt.token_ids),
    }
    return {**found, "undecided": attempt.undecided} if attempt.undecided else found


def example(
    recipe: Recipe,
    prompts: Prompts,
    problem: Problem,
    attempt: Attempt,
    *,
    iteration: int,
    show_hint: bool,
) -> Example:
    """The example of an attempt, as ``types.Model.example``; needs no model."""
    few_shot = recipe.star.few_shot_train
    if show_hint:
        prompt = prompts.generation(problem, hinted=True, few_shot=few_shot)
    else:
        prompt = prompts.training(problem.question, few_shot=few_shot)
    return Example(
        id=problem.id,
        prompt=prompt,
        completion=attempt.completion,
        source="rationalized" if attempt.hinted else "direct",
        token_ids=attempt.token_ids,
        iteration=iteration,
        hint_shown=show_hint,
    )
