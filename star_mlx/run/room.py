"""What the device and its memory make of a recipe, said before a run starts."""

from __future__ import annotations

from star_mlx.prompts import Prompts
from star_mlx.recipe import asking
from star_mlx.settings import Recipe
from star_mlx.types import Engine, Task

LOOKED_AT = 200  # problems, of which the longest question is taken


def sized(recipe: Recipe, engine: Engine) -> Recipe:
    """The recipe with numbers for ``auto``, as the engine's device does best; the defaults if the
    engine does not say."""
    if not recipe.generate.automatic:
        return recipe
    choose = getattr(engine, "sized", None)  # of a base in memory, not of every engine
    if choose is not None:
        chosen: Recipe = choose(recipe)
        return chosen
    default = type(recipe.generate)()
    made = recipe.generate.sized(default.at_once, default.per_chunk)
    return recipe.model_copy(update={"generate": made})


def cut(recipe: Recipe, task: Task, prompts: Prompts, engine: Engine) -> str:
    """What the engine's bound on memory cuts the recipe down to, in a sentence; empty if nothing,
    or if the engine has no bound."""
    needs = getattr(engine, "needs", None)  # of a base in memory, not of every engine
    problems = task.problems("train")[:LOOKED_AT]
    if needs is None or not problems:
        return ""
    few_shot = recipe.star.few_shot(recipe.star.start_iteration)
    how = asking.generating(recipe, prompts, few_shot=few_shot)
    prefix, rest = how.batch(problems)
    return str(needs(recipe, prefix=prefix, prompt=max(rest, key=len)).cut())
