"""Read the facts for a run's card from the run folder; the text is made elsewhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_mlx.engine.resolve import HUB_ID
from star_mlx.errors import RunError, TaskError
from star_mlx.measure import baselines, verdict
from star_mlx.measure.verdict import RunVerdict
from star_mlx.recipe import asking, opening
from star_mlx.recipe.asking import Asking
from star_mlx.settings import PromptsSpec
from star_mlx.store import names, reading, which
from star_mlx.store.metrics import Measured, Metrics
from star_mlx.store.results import Result
from star_mlx.store.rows import AttemptText
from star_mlx.types import Problem, Question, Task

SAMPLES = 3  # right answers shown, and as many wrong ones
# The data set on the Hub from which a task's problems come.
DATASETS = {
    "gsm8k": "openai/gsm8k",
    "math": "EleutherAI/hendrycks_math",
    "commonsenseqa": "tau/commonsense_qa",
}
BASELINES = {  # their names in the card
    "zero-shot": "the base, without examples",
    "direct": "trained on answers alone",
    "sft": "trained on the data's own rationales",
    "rft": "trained on its own right rationales of one round",
}
PATHS = (  # of a recipe's keys, those that may name files of the machine it ran on
    ("model", "path"),
    ("prompts", "file"),
    ("star", "start_from"),
    ("task", "options", "data"),
    ("task", "options", "path"),
    ("task", "options", "test"),
    ("provenance", "base", "name"),
)


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """The base model. ``id`` is its name on the Hub, None if it is not from the Hub."""

    name: str
    id: str | None
    revision: str | None
    hash: str
    bits: int | None
    parameters: int | None
    architecture: str | None  # config.json's model_type

    @property
    def tiny(self) -> bool:
        """Whether it is the base that comes with star-mlx."""
        return self.name == "tiny"


@dataclass(frozen=True, slots=True)
class PromptFacts:
    """How the iteration's model is asked, shown with one question.

    ``few_shot`` is the text in front of a question, or ``turns`` the (role, content) turns if the
    chat template is used, with the arguments ``template`` on the day ``date``; ``asked`` is the
    whole prompt of the question ``posed`` (``question`` in words); ``max_tokens``,
    ``temperature``, ``top_p`` and ``stop`` are the decoding.
    """

    posed: Question
    question: str
    asked: str
    few_shot: str
    turns: tuple[tuple[str, str], ...] | None
    template: Mapping[str, Any]
    date: str | None
    max_tokens: int
    temperature: float
    top_p: float
    stop: tuple[str, ...]
    examples: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """An answer to a dev problem; ``question`` and ``gold`` are None if the data is gone."""

    id: str
    question: str | None
    completion: str
    answer: str | None
    gold: str | None
    right: bool
    finish: str


@dataclass(frozen=True, slots=True)
class Failures:
    """The failed answers to the ``n`` dev problems, by kind of failure."""

    n: int
    right: int
    wrong: int  # finished, with a wrong answer
    unread: int  # finished, without a readable answer
    cut: int  # not right, and cut off by the length limit


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of a run's iteration for its card."""

    iteration: int
    recipe: Mapping[str, Any]  # as published: without the machine's paths
    metrics: tuple[Metrics, ...]
    results: tuple[Result, ...]  # what `star-mlx evaluate` found of this iteration
    baselines: Mapping[str, Measured]  # by name
    base: BaseFacts
    adapter: Mapping[str, Any]  # adapter_config.json
    adapter_hash: str
    asking: PromptFacts
    failures: Failures | None
    samples: tuple[Sample, ...]
    verdict: RunVerdict

    @property
    def line(self) -> Metrics:
        """The metrics line of the iteration."""
        return next(line for line in self.metrics if line.iteration == self.iteration)

    @property
    def dataset(self) -> str | None:
        """The data set on the Hub from which the problems come."""
        return DATASETS.get(self.recipe["task"]["name"])


def gather(run: Path, iteration: str, *, samples: bool = True) -> Facts:
    """Read the facts of an iteration of a run: a number, ``best`` or ``last``.

    With ``samples``, they include a few dev problems with the model's answers.

    Raises:
        RunError: no run, no such iteration, or it is the base.
        StarError: the run's task or prompts cannot be loaded, or have changed.
    """
    record = reading.read(run)
    number = which.number(record, iteration)
    adapter = record.adapter(number)
    if adapter is None:
        raise RunError(f"{run}: iteration {number} is the base, which has no adapter to share")
    recipe = opening.resume_recipe(run)
    if recipe.baseline:
        raise RunError(f"{run} is a baseline ({recipe.baseline}): give the folder of a STaR run")
    task, prompts = opening.open_task(recipe)
    made = record.provenance
    if not recipe.prompts.chat and prompts.digest() != made.get("prompts_sha256"):
        raise RunError(f"the few-shot prompt of {run} has changed since the run was made")
    prompts = opening.in_turns(recipe, prompts)
    rows = [row for block in record.rows(number, names.DEV, AttemptText) for row in block]
    shown = _samples(task, rows) if samples else ()
    return Facts(
        iteration=number,
        recipe=published(record.values),
        metrics=tuple(sorted(record.metrics, key=lambda line: line.iteration)),
        results=_results(record, number),
        baselines=_baselines(record),
        base=_base(record),
        adapter=json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8")),
        adapter_hash=reading.file_sha256(adapter / names.WEIGHTS),
        asking=_shown(asking.measuring(recipe, prompts, number), shown, recipe.prompts),
        failures=_failures(rows) if rows else None,
        samples=shown,
        verdict=verdict.of_run(record, run="RUN", iteration=number),
    )


def published(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A run's recipe without information about the machine: only the last part of paths is kept."""
    values: dict[str, Any] = json.loads(json.dumps(recipe))
    hub = values.get("provenance", {}).get("base", {}).get("revision")
    for path in PATHS:
        group: Any = values
        for key in path[:-1]:
            group = group.get(key) if isinstance(group, dict) else None
        if not isinstance(group, dict) or not isinstance(group.get(path[-1]), str):
            continue
        if not (hub and path in (("model", "path"), ("provenance", "base", "name"))):
            group[path[-1]] = Path(group[path[-1]]).name
    values["max_memory"] = None
    if isinstance(servers := values.get("endpoints"), dict):
        servers["urls"] = []  # they are nobody else's
    return values


def _shown(how: Asking, samples: Sequence[Sample], spec: PromptsSpec) -> PromptFacts:
    """How a model is asked, shown with the question of a sample or an example."""
    prompts, decoding = how.prompts, how.decoding
    problem = next(
        (prompts.task.pose(s.question) for s in samples if s.right and s.question),
        prompts.examples[0] if prompts.examples else None,
    )
    if problem is None:
        problem = Problem("", Question("YOUR QUESTION"), "")
    turns, before = None, ""
    if prompts.chat:
        *earlier, (_, asked) = how.turns(problem)
        turns = tuple(earlier)
    else:
        asked = prompts.generation(problem, hinted=False)
        before = prompts.few_shot(hinted=False) if how.few_shot else ""
    return PromptFacts(
        posed=problem.question,
        question=problem.question.as_text(" "),
        asked=asked,
        few_shot=before,
        turns=turns,
        template=spec.template,
        date=spec.date,
        max_tokens=decoding.max_tokens,
        temperature=decoding.temperature,
        top_p=decoding.top_p,
        stop=decoding.stop,
        examples=prompts.examples,
    )


def _base(record: reading.RunRecord) -> BaseFacts:
    made = record.provenance.get("base", {})
    name, revision = str(made.get("name") or record.recipe["model"]["path"]), made.get("revision")
    hub = revision is not None and HUB_ID.fullmatch(name) is not None
    return BaseFacts(
        name=name if hub or name == "tiny" else Path(name).name,
        id=name if hub else None,
        revision=revision if hub else None,
        hash=str(made.get("hash", "")),
        bits=made.get("bits"),
        parameters=made.get("parameters"),
        architecture=made.get("architecture"),
    )


def _results(record: reading.RunRecord, number: int) -> tuple[Result, ...]:
    """The last result of each kind of measurement of an iteration, in the order of their files."""
    found: dict[tuple[Any, ...], Result] = {}
    for _, result in record.results():
        if result and result.iteration == number and result.of.startswith("iteration"):
            kind = (result.split, result.samples, result.temperature, result.n)
            found[kind] = result
    return tuple(found.values())


def _baselines(record: reading.RunRecord) -> dict[str, Measured]:
    """The baselines of the iteration that were measured on dev."""
    found: dict[str, Measured] = {}
    zero = next((line for line in record.metrics if line.iteration == 0), Metrics(0))
    if zero.dev:
        found["the base, few-shot" if zero.zero_shot else "the base"] = zero.dev
    return found | {BASELINES[one.name]: one.eval for one in baselines.of_run(record)}


def _failures(rows: Sequence[AttemptText]) -> Failures:
    wrong = [row for row in rows if not row.correct]
    cut = sum(row.finish == "length" for row in wrong)
    unread = sum(row.answer is None and row.finish != "length" for row in wrong)
    return Failures(len(rows), len(rows) - len(wrong), len(wrong) - cut - unread, unread, cut)


def _samples(task: Task, rows: Sequence[AttemptText]) -> tuple[Sample, ...]:
    """A few right and a few wrong answers, drawn by a hash of the problem's id."""
    try:
        known = {problem.id: problem for problem in task.problems("dev")} if rows else {}
    except TaskError:
        known = {}  # the data is gone: only the answers are shown
    order = sorted(rows, key=lambda row: hashlib.sha256(row.id.encode()).hexdigest())
    chosen = [row for row in order if row.correct][:SAMPLES]
    chosen += [row for row in order if not row.correct][:SAMPLES]
    return tuple(_sample(row, known.get(row.id)) for row in chosen)


def _sample(row: AttemptText, problem: Problem | None) -> Sample:
    return Sample(
        id=row.id,
        question=None if problem is None else problem.question.as_text(" "),
        completion=row.completion,
        answer=row.answer,
        gold=None if problem is None else problem.answer,
        right=row.correct,
        finish=row.finish,
    )
