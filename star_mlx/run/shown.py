"""The real prompts of a recipe, to be looked at before a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from star_mlx.recipe import asking
from star_mlx.recipe.asking import Asking
from star_mlx.run.at_hand import AtHand
from star_mlx.run.plan import completions, drawn
from star_mlx.types import Problem

BEGIN, END = "«", "»"  # around what is trained on


@dataclass(frozen=True, slots=True)
class ShownPrompts:
    """The prompts of one problem: as it is asked, tried again with its answer as a hint, asked
    without examples, and trained on. None if the recipe has no such prompt."""

    problem: str  # whose prompts these are
    direct: str
    hinted: str | None
    zero_shot: str | None
    training_prompt: str
    supervised: str  # the completion, the part of the row that is trained on

    def texts(self) -> Iterator[tuple[str, str]]:
        """Titles and texts, in the order of a run."""
        yield f"direct: {self.problem}", self.direct
        if self.hinted is not None:
            yield "with hint: the same problem, if it is failed", self.hinted
        if self.zero_shot is not None:
            yield "zero-shot: how the base is measured without examples", self.zero_shot
        yield (
            f"a training row: what is between {BEGIN} and {END}, and the end token, is trained on",
            f"{self.training_prompt}{BEGIN}{self.supervised}{END}",
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def prompts(at: AtHand) -> ShownPrompts:
    """The prompts of the first problem of iteration 1; without the data, of a few-shot example."""
    recipe, made = at.recipe, at.prompts
    shown = list(drawn(at))[:1]
    if not shown:
        return ShownPrompts("there is no problem to show", "", None, None, "", "")
    problem = shown[0]
    whose = "the first problem of iteration 1" if at.problems else "a few-shot example as problem"
    few_shot = recipe.star.few_shot(0)
    again = recipe.star.rationalize and not made.direct and recipe.star.p_rationalization > 0
    plain = recipe.star.evaluate and recipe.evaluate.zero_shot and not made.zero_shot
    hinted = asking.generating(recipe, made, few_shot=few_shot, hinted=True)
    worked = completions(at, [problem]) or completions(at, made.examples[:1])
    if not at.templated:
        turns = made.training_turns(problem.question, few_shot=recipe.star.few_shot_train)
        row = "\n".join(f"[{role}] {text}" for role, text in turns) + "\n[assistant] "
    else:
        row = made.training(problem.question, few_shot=recipe.star.few_shot_train)
    return ShownPrompts(
        problem=whose,
        direct=_text(at, asking.generating(recipe, made, few_shot=few_shot), problem),
        hinted=_text(at, hinted, problem) if again else None,
        zero_shot=_text(at, asking.zero_shot(recipe, made), problem) if plain else None,
        training_prompt=row,
        supervised=worked[0] if worked else "(the model's own completion)",
    )


def _text(at: AtHand, how: Asking, problem: Problem) -> str:
    """A prompt as text; the turns of a chat if its template is not at hand."""
    if at.templated:
        return how.prompt(problem)
    turns = [f"[{role}] {text}" for role, text in how.turns(problem)]
    return "\n".join([*turns, "[assistant]"])
