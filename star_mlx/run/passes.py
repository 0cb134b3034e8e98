"""One way through problems: how they are asked, decoded, judged and seeded."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from star_mlx.events import Emit, Progress
from star_mlx.prompts import Prompts
from star_mlx.settings import Recipe
from star_mlx.types import Attempt, Completion, Decoding, Phase, Problem, Task


@dataclass(frozen=True, slots=True)
class Pass:
    """One way through problems: who attempts them, how they are asked, and where it is kept."""

    iteration: int
    kind: str  # names the file and the journal entries
    phase: Phase
    adapter: Path | None
    prompts: Prompts
    decoding: Decoding
    few_shot: bool
    hinted: bool = False
    samples: int = 1


class At:
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
        memory: Callable[[], tuple[int, int]],
    ) -> None:
        self._emit, self._iteration, self._phase, self._total = emit, iteration, phase, total
        self._memory = memory
        self._done, self._tokens, self._began = done, tokens, time.perf_counter() - taken

    def __call__(self, done: int, tokens: int) -> None:
        seconds = time.perf_counter() - self._began
        done, tokens = self._done + done, self._tokens + tokens
        self._emit(
            Progress(
                self._iteration,
                self._phase,
                done,
                self._total,
                tokens,
                seconds,
                memory=self._memory(),
            )
        )


def judge(task: Task, problem: Problem, completion: Completion, *, hinted: bool) -> Attempt:
    """Read the completion's answer and compare it; the task's exceptions propagate."""
    answer = task.read(completion.text, problem.question)
    return Attempt(
        id=problem.id,
        hinted=hinted,
        completion=completion.text,
        answer=answer,
        correct=answer is not None and task.equal(answer, problem.answer),
        finish=completion.finish,
        token_ids=completion.token_ids,
    )


def decoding(recipe: Recipe, prompts: Prompts) -> Decoding:
    """How the recipe generates."""
    g = recipe.generate
    return Decoding(
        g.max_tokens, prompts.stop, g.temperature, g.top_p, g.batch_size, g.stop_repeats
    )


def measuring(recipe: Recipe, prompts: Prompts) -> Decoding:
    """How the recipe decodes where it measures."""
    how = decoding(recipe, prompts)
    temperature = recipe.evaluate.temperature
    return how if temperature is None else replace(how, temperature=temperature)


def seed(*parts: object) -> int:
    """A seed in [0, 2**32) from what it is for, the same on every machine."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
