"""Augment the problems of a task by a model: new questions, answers to them, and rows of both."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from star_mlx import steps
from star_mlx.augment import rows
from star_mlx.augment.kinds import BACKWARD, KINDS
from star_mlx.augment.sieve import Sieve
from star_mlx.augment.yields import Yield
from star_mlx.errors import NothingKept, RecipeError, RunError
from star_mlx.events import Emit, Notice
from star_mlx.recipe.backward import backward_prompts
from star_mlx.run.augmenting import Augmenting
from star_mlx.run.learner import Learner
from star_mlx.settings import Recipe
from star_mlx.steps import Summary, masked_questions, step_files
from star_mlx.steps.masked_questions import check_files, held_out, left_out
from star_mlx.store import files
from star_mlx.types import Engine, Problem, Task

SHOWN = 3  # rows of each kind in the report


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What to make.

    Attributes:
        kinds: the kinds of questions, see ``augment.kinds``.
        samples, agree: answers to each rephrased question, and how many of them must be right.
        max_problems: use only the first problems.
        part: i and n: use the i-th of n shares of them.
        decontaminate: leave out questions that are a test problem, or share 13 words in a row with
            one.
    """

    kinds: tuple[str, ...] = KINDS
    samples: int = 4
    agree: int = 2
    max_problems: int | None = None
    part: tuple[int, int] | None = None
    decontaminate: bool = True

    def check(self, recipe: Recipe) -> None:
        """Check that a recipe can be augmented so.

        Raises:
            StarError: it cannot.
        """
        for kind in self.kinds:
            if kind not in KINDS:
                raise RunError(f"--kinds {kind}: there are {', '.join(KINDS)}")
        if not self.kinds:
            raise RunError(f"--kinds is empty: there are {', '.join(KINDS)}")
        if self.agree > self.samples:
            raise RunError(
                f"--agree {self.agree} of --samples {self.samples} answers cannot be right: give "
                "a larger --samples, or a smaller --agree"
            )
        if recipe.star.direct:
            raise RecipeError("star.direct=true asks for answers alone, which make no rows")
        if "rephrase" in self.kinds and self.samples > 1 and not recipe.generate.temperature:
            raise RecipeError(
                f"{self.samples} answers at temperature 0 are all the same: give --temperature, "
                "such as 0.7, or --samples 1 --agree 1"
            )


def write(
    recipe: Recipe,
    out: Path,
    plan: Augmentation,
    *,
    removed: Path | None = None,
    force: bool = False,
    emit: Emit = steps.quiet,
    engine: Engine | None = None,
) -> Summary:
    """Make questions of each kind from the training problems, answer them, and write the right
    answers as rows.

    Finished chunks are in ``OUT.unfinished``, from which the same call continues.

    Args:
        recipe: the task, the model that generates, and ``generate``, whose ``samples`` is the
            number of answers or rewritings.
        out: the JSONL file of rows; written atomically.
        plan: the kinds and how they are checked.
        removed: a JSONL file for the questions that were left out as duplicates or for being near
            to a test problem.
        force: whether the files, and unfinished work of another call, may be overwritten.
        emit: called with every event.
        engine: the language model; by default the recipe's.

    Returns:
        The report, which is also written to ``report_file(out)``.

    Raises:
        NothingKept: no answer became a row.
        StarError: any other error that the user can fix.
    """
    plan.check(recipe)
    check_files(out, removed, force)
    about = {"command": "augment", "iteration": 1, **asdict(plan), "kinds": list(plan.kinds),
             "part": list(plan.part or (1, 1))}  # fmt: skip
    with steps.at_work(recipe, out, about, None, force, emit, engine) as (task, learner):
        backward = learner.prompts
        if set(plan.kinds) & set(BACKWARD):
            backward = backward_prompts(task, learner.prompts)
        every = learner.prompts.unseen(task.problems("train"))[: plan.max_problems]
        problems = masked_questions.share(every, plan.part)
        sieve = Sieve(held_out(task, plan.decontaminate), every)
        augmenting = Augmenting(learner, task, backward, samples=recipe.generate.samples)
        generator = generator_of(learner.engine)
        made, yields = _rows(augmenting, plan, problems, sieve, generator, emit)
        if not made:
            raise NothingKept(_nothing(yields))
        report = _report(recipe, plan, learner, task, len(problems), sieve, made, yields)
        if removed is not None:
            step_files.write(removed, sieve.left_out)
        report |= {"out": str(out), "report": str(report_file(out))}
        files.replace(report_file(out), files.json_line(report))
        step_files.write(out, made)
    return report


def report_file(out: Path) -> Path:
    """The file beside ``out`` that says how much each kind yielded."""
    return out.with_name(f"{out.name}.report.json")


def generator_of(engine: Engine) -> str:
    """The name of a model, for rows that are shared: of one in a folder, the folder's own name. If
    servers generate, it is the name of the model that they serve."""
    name = str(getattr(engine, "serving", engine.describe()["name"]))
    return Path(name).resolve().name if Path(name).is_dir() else name


def _rows(
    augmenting: Augmenting,
    plan: Augmentation,
    problems: Sequence[Problem],
    sieve: Sieve,
    generator: str,
    emit: Emit,
) -> tuple[list[dict[str, Any]], dict[str, Yield]]:
    """The rows of all kinds, those of one problem together, and what each kind yielded."""
    place = {problem.id: number for number, problem in enumerate(problems)}
    made: list[tuple[int, dict[str, Any]]] = []
    yields: dict[str, Yield] = {}
    for kind in sorted(plan.kinds, key=KINDS.index):
        counts = yields[kind] = Yield()
        samples = plan.samples if kind == "rephrase" else augmenting.samples
        samples = 1 if kind == "sv" else samples
        asked = augmenting.questions(kind, problems, sieve, counts)
        answers = augmenting.answers(asked, samples, counts)
        for question, attempts in zip(asked, answers, strict=True):
            chosen, why = rows.kept(question, attempts, plan.agree)
            counts.not_kept += why
            counts.rows += len(chosen)
            for one in chosen:
                row = rows.row(question, one, attempts, augmenting.task.name, generator)
                made.append((place[question.original.id], row))
        emit(Notice("info", f"{kind}: {_yielded(counts)}"))
    return [row for _, row in sorted(made, key=lambda one: one[0])], yields


def _yielded(counts: Yield) -> str:
    asked = f"{counts.questions} question{'s' * (counts.questions != 1)}"
    answers = f"{counts.answers} answer{'s' * (counts.answers != 1)}"
    return f"{asked}, {answers}, {counts.rows} kept"


def _report(
    recipe: Recipe, plan: Augmentation, learner: Learner, task: Task, problems: int, sieve: Sieve,
    made: Sequence[dict[str, Any]], yields: dict[str, Yield],
) -> Summary:  # fmt: skip
    """The settings, the counts by kind, and rows of each kind drawn by a hash of their ids."""
    order = sorted(made, key=lambda row: hashlib.sha256(row["id"].encode()).digest())
    kinds = {kind: counts.as_json() for kind, counts in yields.items()}
    for kind, counts in kinds.items():
        type_ = rows.type_of(task.name, kind)
        counts["samples"] = [row for row in order if row["type"] == type_][:SHOWN]
    return {
        "command": "augment",
        "task": task.name,
        "generator": generator_of(learner.engine),
        "seed": recipe.seed,
        "temperature": recipe.generate.temperature,
        "num_repeat": recipe.generate.samples,
        "samples": plan.samples,
        "agree": plan.agree,
        "part": f"{plan.part[0]}/{plan.part[1]}" if plan.part else None,
        "problems": problems,
        **left_out(sieve),
        "rows": len(made),
        "tokens": sum(counts.tokens for counts in yields.values()),
        "seconds": round(sum(counts.seconds for counts in yields.values()), 1),
        **({"served": msgspec.to_builtins(served)} if (served := learner.served()) else {}),
        "kinds": kinds,
    }


def _nothing(yields: dict[str, Yield]) -> str:
    """Why there is no row, and what to do about it."""
    reasons: Counter[str] = Counter()
    for counts in yields.values():
        reasons += counts.not_asked + counts.not_kept
    most = ", ".join(f"{count} times: {why}" for why, count in reasons.most_common(3))
    return (
        f"no row was kept ({most or 'there is no problem'}): try a larger --num-repeat or "
        "--max-tokens, or a stronger model"
    )
