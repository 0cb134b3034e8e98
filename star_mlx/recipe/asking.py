"""How a model is asked: its prompts, whether the few-shot prompt is in front, and the decoding.

The loop, ``try``, ``evaluate``, ``prompt.json``, the card and the exports all use this module, so
that they agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from star_mlx.prompts import Prompts, Turn
from star_mlx.settings import Recipe
from star_mlx.types import Decoding, Problem


@dataclass(frozen=True, slots=True)
class PromptBatch:
    """Prompts that are asked in one way, with a seed each: all that an engine needs for them.

    It is plain data, so that another process can complete them. The prompts follow ``prefix``.
    """

    prefix: str
    prompts: list[str]
    seeds: list[int]
    decoding: Decoding
    thinking_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ChunkWork:
    """The batches of a chunk, and the model that completes them: the adapter None is the base."""

    adapter: Path | None
    batches: tuple[PromptBatch, ...]


@dataclass(frozen=True, slots=True)
class Asking:
    """How a model is asked problems.

    ``prompts`` use the model's chat template if the recipe says so. ``few_shot`` says whether the
    few-shot prompt is in front, ``hinted`` whether the answer is given as a hint. Thinking is ended
    after ``thinking_tokens``, if that is given.
    """

    prompts: Prompts
    few_shot: bool
    decoding: Decoding
    hinted: bool = False
    thinking_tokens: int | None = None

    def prompt(self, problem: Problem) -> str:
        """The whole prompt of a problem."""
        return self.prompts.generation(problem, hinted=self.hinted, few_shot=self.few_shot)

    def batch(self, problems: Sequence[Problem]) -> tuple[str, list[str]]:
        """The common beginning of the prompts of problems, and the rest of each."""
        return self.prompts.batch(problems, hinted=self.hinted, few_shot=self.few_shot)

    def prompted(self, problems: Sequence[Problem], seeds: Sequence[int]) -> PromptBatch:
        """The prompts of problems, with a seed for each."""
        prefix, prompts = self.batch(problems)
        return PromptBatch(prefix, prompts, list(seeds), self.decoding, self.thinking_tokens)

    def turns(self, problem: Problem) -> list[Turn]:
        """The prompt of a problem as the turns of a chat, before any template."""
        return self.prompts.turns(problem, hinted=self.hinted, few_shot=self.few_shot)

    def at(self, temperature: float) -> Asking:
        """The same at another temperature; 0 is greedy."""
        return replace(self, decoding=replace(self.decoding, temperature=temperature))


def generating(recipe: Recipe, prompts: Prompts, *, few_shot: bool, hinted: bool = False) -> Asking:
    """How the loop generates attempts to train on.

    ``star`` decides ``few_shot``, because it depends on which model generates.
    """
    g = recipe.generate
    decoding = Decoding(
        g.max_tokens, prompts.stop, g.temperature, g.top_p, g.at_once, g.stop_repeats
    )
    in_front = few_shot and not prompts.zero_shot
    return Asking(prompts, in_front, decoding, hinted, g.thinking_tokens)


def measuring(
    recipe: Recipe, prompts: Prompts, number: int, *, few_shot: bool | None = None
) -> Asking:
    """How the model of an iteration is measured and used; number 0 is the base.

    ``few_shot`` None follows the recipe's rule for that iteration.
    """
    if few_shot is None:
        few_shot = recipe.star.few_shot(number)
    asking = generating(recipe, prompts, few_shot=few_shot)
    temperature = recipe.evaluate.temperature
    return asking if temperature is None else asking.at(temperature)


def zero_shot(recipe: Recipe, prompts: Prompts) -> Asking:
    """How the base is measured without examples: it is asked for a rationale in words."""
    return measuring(recipe, replace(prompts, examples=(), zero_shot=True), 0)
