"""New questions of a kind from problems, and answers to them, by a model in a run folder.

Both are passes of the loop: generated in journalled chunks, each attempt from its own seed, and
judged by the task. The pure parts are in ``augment``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from star_mlx.augment import kinds, rewriting
from star_mlx.augment.kinds import NewQuestion
from star_mlx.augment.rewriting import Rewriting
from star_mlx.augment.sieve import Sieve
from star_mlx.augment.yields import CUT_OFF, Yield
from star_mlx.errors import RunError
from star_mlx.prompts import Prompts
from star_mlx.recipe import asking
from star_mlx.recipe.shipped import prompts_dir
from star_mlx.run.learner import Learner
from star_mlx.run.passes import Pass
from star_mlx.star import in_front
from star_mlx.types import Attempt, Phase, Problem, Task

_REWRITING = {"rephrase": "questions", "sv": "statements"}


@dataclass(frozen=True, slots=True)
class Augmenting:
    """A model that augments the problems of a task.

    Attributes:
        learner: the model, with the task's prompts and the folder that keeps its work.
        task: the task of the problems.
        backward: the prompts of questions that ask for x.
        samples: rewritings of a question.
        iteration, adapter: the iteration that the work belongs to, and its generating model.
        phase: what rewriting counts as.
        prefix: of the numbers of rewritings, which are part of the ids of new questions.
        restart: what to do if the work that is there is on other problems.
    """

    learner: Learner
    task: Task
    backward: Prompts
    samples: int = 1
    iteration: int = 1
    adapter: Path | None = None
    phase: Phase = "generate"
    prefix: str = ""
    restart: str = "give --force to start again"

    def questions(
        self, kind: str, problems: Sequence[Problem], sieve: Sieve, counts: Yield
    ) -> list[NewQuestion]:
        """The questions of a kind from problems, without those that the sieve leaves out."""
        latex = kinds.is_latex(self.task)
        if kind == "ansaug":
            found = [kinds.same(problem) for problem in problems]
            counts.tried += len(found)
        elif kind == "fobar":
            found = [q for p in problems for q in kinds.masked(p, latex, counts.refuse)]
            counts.tried += len(found) + counts.not_asked.total()
        else:
            found = self._rewritten(kind, self._clean(problems, sieve, counts), counts)
        asked = []
        for question in found:
            text, name = question.problem.question.as_text(), question.problem.id
            if why := sieve.refuses(name, text, question.original):
                counts.refuse(why)
            else:
                asked.append(question)
        counts.questions += len(asked)
        return asked

    def answers(
        self, questions: Sequence[NewQuestion], samples: int, counts: Yield
    ) -> list[list[Attempt]]:
        """Answers of the model to questions of one kind, so many to each, judged by the task."""
        if not questions:
            return []
        kind = questions[0].kind
        prompts = self.backward if kind in kinds.BACKWARD else self.learner.prompts
        teacher = 0 if self.adapter is None else self.iteration - 1
        few_shot = in_front(self.learner.recipe.star, self.iteration, teacher)
        problems = [question.problem for question in questions]
        made = self._pass(self.task, prompts, problems, kind, f"answers ({kind})", samples,
                          few_shot, counts)  # fmt: skip
        answers = [made[i : i + samples] for i in range(0, len(made), samples)]
        counts.answers += len(made)
        counts.right += sum(attempt.kept for attempt in made)
        return answers

    def _clean(self, problems: Sequence[Problem], sieve: Sieve, counts: Yield) -> list[Problem]:
        """The problems that are not near to a test problem, so that no others are rewritten."""
        found = []
        for problem in problems:
            if why := sieve.refuses(problem.id, problem.question.as_text(), problem):
                counts.refuse(why)
            else:
                found.append(problem)
        return found

    def _rewritten(
        self, kind: str, problems: Sequence[Problem], counts: Yield
    ) -> list[NewQuestion]:
        """The questions of the rewritings of problems that have no fault."""
        latex = kinds.is_latex(self.task)
        if kind == "sv":
            problems = [p for p in problems if not _refused(kinds.can_be_stated(p, latex), counts)]
        wording = rewriting.wording(prompts_dir(), kind, latex)
        task = Rewriting(kind, self.task, wording, problems)
        what = _REWRITING[kind]
        made = self._pass(
            task, task.prompts(self.learner.prompts), task.problems("train"), f"{kind}-{what}",
            f"{what} ({kind})", self.samples, True, counts,
        )  # fmt: skip
        counts.tried += len(made)
        found: list[NewQuestion] = []
        for i, attempt in enumerate(made):
            problem = problems[i // self.samples]
            number = f"{self.prefix}{i % self.samples + 1}"
            text = attempt.answer or ""
            if _refused(_fault(task, attempt), counts):
                continue
            if kind == "rephrase":
                found.append(kinds.rephrased(problem, number, text))
            else:
                found += kinds.masked_statement(problem, number, text, latex, counts.refuse)
        return found

    def _pass(
        self, task: Task, prompts: Prompts, problems: Sequence[Problem], kind: str, note: str,
        samples: int, few_shot: bool, counts: Yield,
    ) -> list[Attempt]:  # fmt: skip
        """Attempts at problems, so many in a row at each.

        Raises:
            RunError: the folder has attempts at other problems.
        """
        learner = self.learner.on(task, prompts)
        how = asking.generating(learner.recipe, prompts, few_shot=few_shot)
        made = learner.walk(
            problems,
            Pass(self.iteration, kind, self.phase, self.adapter, how, samples=samples, note=note),
        )
        if [a.id for a in made] != [p.id for p in problems for _ in range(samples)]:
            raise RunError(
                f"the work that was left unfinished is on other {note} than those of now, so the "
                f"test problems that they are compared with have changed: {self.restart}"
            )
        counts.spent(made, learner.spent(self.iteration, self.phase))
        return made


def _fault(task: Rewriting, attempt: Attempt) -> str:
    """Why a rewriting gives no question; empty if it does."""
    if attempt.finish == "length":
        return CUT_OFF
    if attempt.answer is None:
        return rewriting.NOTHING
    return rewriting.in_general(task.fault(attempt.answer, attempt.id))


def _refused(why: str, counts: Yield) -> bool:
    """Whether there is a reason against something, which is counted."""
    if why:
        counts.refuse(why)
    return bool(why)
