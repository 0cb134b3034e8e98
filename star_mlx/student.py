"""The model of Algorithm 1 bound to a run: what it finished is neither lost nor done twice."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from star_mlx import evaluate, metrics
from star_mlx.prompts import Prompts
from star_mlx.recipe import Recipe
from star_mlx.store import Kind, Store
from star_mlx.types import (
    Amount,
    Attempt,
    Completion,
    Decoding,
    Emit,
    Engine,
    Evaluation,
    Example,
    Iteration,
    NothingKept,
    Notice,
    Phase,
    PhaseStarted,
    Problem,
    Progress,
    Sampled,
    Task,
    Trained,
)

_PHASE: dict[Kind, Phase] = {"direct": "generate", "hinted": "rationalize", "dev": "evaluate"}


class Student:
    """``types.Model`` on an engine, with a run folder behind it and events in front."""

    def __init__(
        self,
        recipe: Recipe,
        task: Task,
        prompts: Prompts,
        engine: Engine,
        folder: Store,
        emit: Emit,
    ) -> None:
        self._recipe, self._task, self._prompts = recipe, task, prompts
        self._engine, self._folder, self._emit = engine, folder, emit
        self._decoding = decoding(recipe, task)
        self._dev = task.problems("dev")[: recipe.evaluate.dev]
        self._seconds: dict[tuple[int, Phase], float] = {}

    def attempt(
        self,
        problems: Sequence[Problem],
        adapter: Path | None,
        *,
        iteration: int,
        hinted: bool,
        few_shot: bool,
    ) -> list[Attempt]:
        if hinted and self._prompts.direct:  # no rationale to find: the hint is the completion
            return [self._given(problem) for problem in problems]
        kind: Kind = "hinted" if hinted else "direct"
        return self._attempt(problems, adapter, iteration, kind, few_shot)

    def example(
        self, problem: Problem, attempt: Attempt, *, iteration: int, show_hint: bool
    ) -> Example:
        if show_hint:
            prompt = self._prompts.generation(problem, hinted=True)
        else:
            few_shot = self._recipe.star.few_shot_train
            prompt = self._prompts.training(problem.question, few_shot=few_shot)
        return Example(
            id=problem.id,
            prompt=prompt,
            completion=attempt.completion,
            source="rationalized" if attempt.hinted else "direct",
            token_ids=attempt.token_ids,
            iteration=iteration,
            hint_shown=show_hint,
        )

    def train(self, examples: Sequence[Example], amount: Amount, *, iteration: int) -> Trained:
        if done := self._folder.trained(iteration):
            return done
        if not examples:
            raise NothingKept(
                f"iteration {iteration} kept no example: no answer was right, with or without a "
                "hint. Try easier problems, better few-shot examples (prompts.file), a larger "
                "generate.max_tokens, star.rationalize=true, or a stronger model"
            )
        self._folder.save_examples(iteration, examples)
        lora = self._recipe.train.lora()
        self._emit(
            PhaseStarted(iteration, "train", amount.steps_for(len(examples), lora.batch_size))
        )
        start = time.perf_counter()

        def progress(step: int, steps: int, loss: float, tokens: int) -> None:
            seconds = time.perf_counter() - start
            self._emit(Progress(iteration, "train", step, steps, tokens, seconds, loss))

        with self._folder.adapter_folder(iteration) as out:
            seed = _seed(self._recipe.seed, iteration, "train")
            trained = self._engine.train(
                examples, lora, amount, seed=seed, out=out, progress=progress
            )
        if trained.too_long:
            text = (
                f"iteration {iteration}: {len(trained.too_long)} of {len(examples)} examples were "
                f"refused, being longer than train.max_length={lora.max_length} tokens"
            )
            self._emit(Notice("warning", text))
        return self._folder.save_trained(iteration, trained)

    def evaluate(
        self, adapter: Path | None, *, iteration: int, few_shot: bool
    ) -> Evaluation | None:
        if not self._recipe.star.evaluate:
            return None
        attempts = self._attempt(self._dev, adapter, iteration, "dev", few_shot)
        return evaluate.tally("dev", self._dev, attempts)

    def iteration_zero(self) -> dict[str, Any]:
        """The metrics line of the base with its few-shot prompt: evaluated only."""
        line: dict[str, Any] = {"iteration": 0}
        if evaluation := self.evaluate(None, iteration=0, few_shot=True):
            line["eval"] = evaluate.as_json(evaluation, self._task.classes)
            line["seconds"] = {"evaluate": round(self._seconds[0, "evaluate"], 3)}
        return {**line, "peak_memory_bytes": self._engine.peak_memory()}

    def metrics(self, iteration: Iteration) -> dict[str, Any]:
        """The metrics line of an iteration that just ended."""
        n = iteration.number
        return metrics.line(
            iteration,
            self._task,
            solved_before=self._folder.solved,
            seconds={phase: s for (number, phase), s in self._seconds.items() if number == n},
            peak_memory=self._engine.peak_memory(),
        )

    def _attempt(
        self,
        problems: Sequence[Problem],
        adapter: Path | None,
        iteration: int,
        kind: Kind,
        few_shot: bool,
    ) -> list[Attempt]:
        """Attempt problems chunk by chunk; a chunk that is on disk is read, not made again."""
        phase = _PHASE[kind]
        if not problems:
            self._seconds[iteration, phase] = 0.0
            return []
        self._emit(PhaseStarted(iteration, phase, len(problems)))
        attempts: list[Attempt] = []
        size = self._recipe.generate.chunk
        taken, tokens = 0.0, 0
        for index, first in enumerate(range(0, len(problems), size)):
            chunk = problems[first : first + size]
            stored = self._folder.chunk(iteration, kind, index)
            if stored is None:
                start = time.perf_counter()
                at = _At(self._emit, iteration, phase, first, len(problems), tokens, taken)
                made = self._generate(chunk, adapter, iteration, kind, few_shot, at)
                stored = made, time.perf_counter() - start
                self._folder.save_chunk(iteration, kind, index, *stored)
                self._show(iteration, chunk, made)
            attempts += stored[0]
            taken += stored[1]
            tokens += sum(len(a.token_ids) for a in stored[0])
            done = first + len(chunk)
            self._emit(Progress(iteration, phase, done, len(problems), tokens, taken))
        self._seconds[iteration, phase] = taken
        return attempts

    def _generate(
        self,
        problems: Sequence[Problem],
        adapter: Path | None,
        iteration: int,
        kind: Kind,
        few_shot: bool,
        at: _At,
    ) -> list[Attempt]:
        hinted = kind == "hinted"
        completions = self._engine.generate(
            [self._prompts.generation(p, hinted=hinted) for p in problems],
            self._decoding,
            prefix=self._prompts.few_shot(hinted=hinted) if few_shot else "",
            adapter=adapter,
            seeds=[_seed(self._recipe.seed, iteration, kind, p.id) for p in problems],
            progress=at,
        )
        pairs = zip(problems, completions, strict=True)
        return [judge(self._task, p, completion, hinted=hinted) for p, completion in pairs]

    def _given(self, problem: Problem) -> Attempt:
        text = self._task.worked(None, problem.answer)
        completion = Completion(text, tuple(self._engine.encode(text)), "stop")
        return judge(self._task, problem, completion, hinted=True)

    def _show(self, iteration: int, problems: Sequence[Problem], made: Sequence[Attempt]) -> None:
        """Show the chunk's first attempt: which one it is does not depend on its verdict."""
        problem, attempt = problems[0], made[0]
        shown = {
            "id": attempt.id,
            "hinted": attempt.hinted,
            "completion": attempt.completion,
            "answer": attempt.answer,
            "correct": attempt.correct,
            "finish": attempt.finish,
            "tokens": len(attempt.token_ids),
        }
        self._emit(Sampled(iteration, problem.question.text, problem.answer, shown))


class _At:
    """Progress inside a chunk -> progress of the phase."""

    def __init__(
        self,
        emit: Emit,
        iteration: int,
        phase: Phase,
        done: int,
        total: int,
        tokens: int,
        taken: float,
    ) -> None:
        self._emit, self._iteration, self._phase, self._total = emit, iteration, phase, total
        self._done, self._tokens, self._began = done, tokens, time.perf_counter() - taken

    def __call__(self, done: int, tokens: int) -> None:
        seconds = time.perf_counter() - self._began
        done, tokens = self._done + done, self._tokens + tokens
        self._emit(Progress(self._iteration, self._phase, done, self._total, tokens, seconds))


def judge(task: Task, problem: Problem, completion: Completion, *, hinted: bool) -> Attempt:
    """Read the completion's answer and compare it; the task's exceptions propagate."""
    answer = task.read(completion.text)
    return Attempt(
        id=problem.id,
        hinted=hinted,
        completion=completion.text,
        answer=answer,
        correct=answer is not None and task.equal(answer, problem.answer),
        finish=completion.finish,
        token_ids=completion.token_ids,
    )


def decoding(recipe: Recipe, task: Task) -> Decoding:
    """How the recipe decodes this task."""
    g = recipe.generate
    return Decoding(g.max_tokens, task.stop, g.temperature, g.top_p, g.batch_size)


def _seed(*parts: object) -> int:
    """A seed in [0, 2**32) from what it is for, the same on every machine."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
