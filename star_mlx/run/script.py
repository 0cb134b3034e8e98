"""The script of a rehearsal: which completion follows which prompt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from star_mlx.engine.scripted import Asked, ScriptedEngine
from star_mlx.recipe import asking, opening
from star_mlx.run.at_hand import AtHand
from star_mlx.settings import Recipe
from star_mlx.star import sample
from star_mlx.types import Problem, Task

FATES = ("right", "with hint", "wrong", "cut off", "unreadable")
FILLER = "These words take the place of the steps that lead there."
NOTHING = " There is nothing to be said about it"


class Script:
    """Completions for the prompts of a short run.

    Problems take turns in how they fare: right; right with the hint, and without it once it was
    trained on; wrong; right but cut off; without an answer. A right completion has the form in
    which the examples are shown, with the data's own rationale if there is one.

    Args:
        at: the recipe with its task and problems.
        recipe: its short form, which is run.
    """

    def __init__(self, at: AtHand, recipe: Recipe) -> None:
        self.engine = ScriptedEngine(self._reply)
        self._task = at.task
        self._prompts = opening.in_template(recipe, at.prompts, self.engine)
        star, problems = recipe.star, at.problems or ()
        drawn = [sample(problems, star, recipe.seed, n) for n in range(1, star.iterations + 1)]
        asked = list(dict.fromkeys(chain(*drawn, at.dev or ())))
        self._fates = {p.id: FATES[i % len(FATES)] for i, p in enumerate(asked)}
        self._wrong = {p.id: _other(self._task, p, asked) for p in asked}
        self._by_prompt = dict(self._all_prompts(recipe, asked))
        longest = max(len(self.right(problem).encode()) for problem in asked)
        self.limit = 2 * longest + 100  # bytes of a completion
        self.example = self.right(asked[0])

    def succeeds(self, id: str, hinted: bool) -> bool:
        """Whether the base's completion of a problem is right and whole."""
        fate = self._fates.get(id)
        return fate == "right" or (fate == "with hint" and hinted)

    def right(self, problem: Problem, answer: str | None = None) -> str:
        """A completion that ends in the problem's answer, or in another."""
        rationale = problem.rationale or FILLER
        return self._prompts.completion(
            None if self._prompts.direct else rationale, answer or problem.answer
        )

    def _all_prompts(
        self, recipe: Recipe, problems: Sequence[Problem]
    ) -> list[tuple[str, tuple[Problem, bool]]]:
        """Every prompt that the run can make, with its problem and whether it has the hint."""
        ways = [
            asking.generating(recipe, self._prompts, few_shot=few_shot, hinted=hinted)
            for few_shot in (True, False)
            for hinted in (True, False)
        ]
        ways.append(asking.zero_shot(recipe, self._prompts))
        return [(how.prompt(p), (p, how.hinted)) for how in ways for p in problems]

    def _reply(self, asked: Asked) -> str:
        found = self._by_prompt.get(asked.prefix + asked.prompt)
        if found is None:  # a problem that only came into reach as the model learned
            return NOTHING
        problem, hinted = found
        fate, right = self._fates[problem.id], self.right(problem)
        learned = any(id == problem.id for id, *_ in asked.trained_on)
        if learned or self.succeeds(problem.id, hinted):
            return right
        wrong = self._wrong[problem.id]
        if fate == "cut off":
            return right + "\n" + "and so on " * self.limit
        return NOTHING if fate == "unreadable" or wrong is None else self.right(problem, wrong)


def _other(task: Task, problem: Problem, others: Sequence[Problem]) -> str | None:
    """An answer that is wrong: another choice, or the answer of another problem."""
    labels = [label for label, _ in problem.question.choices]
    answers = labels or [other.answer for other in others]
    return next((one for one in answers if not task.equal(one, problem.answer)), None)
