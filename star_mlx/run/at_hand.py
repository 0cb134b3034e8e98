"""A recipe with whatever of its task, data and model is on this machine. Downloads nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from star_mlx import engine as engines
from star_mlx.engine import auto, resolve, tokens
from star_mlx.engine.resolve import Found
from star_mlx.events import Emit
from star_mlx.prompts import Prompts
from star_mlx.recipe import opening, provenance
from star_mlx.run import augmented_learner, room
from star_mlx.settings import Recipe
from star_mlx.store import reading, writing
from star_mlx.types import Problem, Task

CHARACTERS = 3.5  # of a token of English text, for want of a tokenizer


@dataclass(frozen=True, slots=True)
class AtHand:
    """A recipe, opened without any download.

    ``problems`` and ``dev`` are None if the data would have to be fetched, ``model`` if the base
    would. ``count`` counts tokens, by the model's tokenizer if it is there, else by characters
    (``counted`` says which). ``templated`` is False for chats whose template is not at hand.
    """

    recipe: Recipe
    task: Task
    prompts: Prompts
    problems: Sequence[Problem] | None
    dev: Sequence[Problem] | None
    model: Found | None
    count: tokens.Counter
    counted: bool
    templated: bool


def gather(recipe: Recipe, *, bare: bool = False) -> AtHand:
    """Open the task, its data and the tokenizer of a recipe, as far as they are on this machine.

    The recipe then has numbers for ``auto``. With ``bare`` its model is not looked for.

    Raises:
        StarError: what is there cannot be used.
    """
    spec = recipe.model
    found = None if bare else resolve.at_hand(spec.path, spec.revision)
    task, prompt_set = opening.open_task(recipe)
    problems = dev = None
    if _local(task):
        problems = prompt_set.unseen(task.training(()))
        augmented_learner.check(recipe, task, prompt_set)
        dev = task.problems("dev")[: recipe.evaluate.dev]
    count: tokens.Counter = by_characters
    templated = not recipe.prompts.chat
    if found is not None:
        count = tokens.counter(found, trust_remote_code=spec.trust_remote_code)
    if found is not None and recipe.prompts.chat:
        text = engines.open_tokenizer(found, trust_remote_code=spec.trust_remote_code)
        prompt_set, templated = opening.in_template(recipe, prompt_set, text), True
    elif recipe.prompts.chat:
        prompt_set = opening.in_turns(recipe, prompt_set)
    lengths = None
    if problems and templated:
        prefix, longest = count(room.longest(recipe, task, prompt_set))
        lengths = prefix, longest
    recipe = auto.sized_for(recipe, found, lengths)
    return AtHand(
        recipe, task, prompt_set, problems, dev, found, count, found is not None, templated
    )


def _local(task: Task) -> bool:
    """Whether the task's data is on this machine: it is, unless an option ``data`` is not given."""
    settings = task.settings()
    return settings.get("data", "") is not None


def by_characters(texts: Sequence[str]) -> list[int]:
    """About how many tokens texts have, for want of a tokenizer."""
    return [math.ceil(len(text) / CHARACTERS) for text in texts]


def resumed(at: AtHand, run: Path, emit: Emit) -> reading.RunRecord | None:
    """The run that is in a folder already, or None; what is not at hand is not compared.

    Raises:
        RunError: the folder cannot become this run, or holds one of another recipe, as when the
            recipe is run.
    """
    if not writing.check(run):
        return None
    record = reading.read(run)
    made = record.provenance
    base = resolve.content_hash(at.model.folder) if at.model else made.get("base", {}).get("hash")
    data = at.problems is not None
    values = opening.settled(at.recipe, at.task)
    values["provenance"] = {
        "versions": provenance.versions(),
        "base": {"hash": base},
        "data_sha256": provenance.data_sha256(at.task) if data else made.get("data_sha256"),
        "prompts_sha256": at.prompts.digest() if at.templated else made.get("prompts_sha256"),
    }
    provenance.refuse_other(record, values, emit)
    return record
