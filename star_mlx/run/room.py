"""What the device and its memory make of a recipe, said before a run starts."""

from __future__ import annotations

from star_mlx.prompts import Prompts
from star_mlx.recipe import asking
from star_mlx.settings import Recipe
from star_mlx.types import Engine, Task

LOOKED_AT = 200  # problems, of which the longest question is taken


def sized(recipe: Recipe, task: Task, prompts: Prompts, engine: Engine) -> Recipe:
    """The recipe with numbers for ``auto``, as the engine's device or the recipe's servers do best
    with the task's prompts; the defaults if the engine does not say."""
    if not recipe.generate.automatic:
        return recipe
    if servers := recipe.endpoints.urls:  # chunks in which all of them have enough to do
        at_once = recipe.endpoints.at_once * len(servers)
        made = recipe.generate.sized(at_once, max(256, 4 * at_once))
        return recipe.model_copy(update={"generate": made})
    choose = getattr(engine, "sized", None)  # of a base in memory, not of every engine
    if choose is not None:
        prefix, prompt = longest(recipe, task, prompts)
        chosen: Recipe = choose(recipe, prefix=prefix, prompt=prompt)
        return chosen
    default = type(recipe.generate)()
    made = recipe.generate.sized(default.at_once, default.per_chunk)
    return recipe.model_copy(update={"generate": made})


def needed(recipe: Recipe, task: Task, prompts: Prompts, engine: Engine) -> str:
    """The memory that the recipe needs, and what the engine's bound on it cuts the recipe down to,
    in a sentence; empty if the engine does not say."""
    needs = getattr(engine, "needs", None)  # of a base in memory, not of every engine
    if needs is None or recipe.endpoints.urls:  # it would count generation
        return ""
    prefix, prompt = longest(recipe, task, prompts)
    return str(needs(recipe, prefix=prefix, prompt=prompt).words())


def longest(recipe: Recipe, task: Task, prompts: Prompts) -> tuple[str, str]:
    """The few-shot prompt, and the longest prompt after it; empty if there is no problem."""
    few_shot = recipe.star.few_shot(recipe.star.start_iteration)
    how = asking.generating(recipe, prompts, few_shot=few_shot)
    prefix, rest = how.batch(task.problems("train")[:LOOKED_AT])
    return prefix, max(rest, key=len, default="")
