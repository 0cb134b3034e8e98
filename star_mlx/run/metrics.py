"""A finished iteration -> its line of ``metrics.jsonl``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from star_mlx.measure import accuracy
from star_mlx.store.metrics import Generated, Metrics, Served, Training, ValidSteps
from star_mlx.types import Attempt, Iteration, Phase, Problem, Task, Trained

PHASES: tuple[Phase, ...] = ("generate", "rationalize", "train", "evaluate")


def line(
    iteration: Iteration,
    task: Task,
    *,
    solved_before: Mapping[str, bool],
    seconds: Mapping[Phase, float],
    peak_memory: int,
    served: Served | None = None,
) -> Metrics:
    """The line of an iteration, without the comparisons with others (``guard.compared``).

    ``solved_before`` says for each problem attempted in an earlier iteration whether its last
    direct attempt was right; ``newly_solved`` and ``forgotten`` count the changes since then.
    ``served`` is the work of servers.
    """
    attempts = iteration.direct + iteration.hinted
    problems = {p.id: p for p in iteration.problems}
    kept = {
        "direct": [a for a in iteration.direct if a.kept],
        "rationalized": [a for a in iteration.hinted if a.kept],
    }
    solved = {a.id for a in iteration.direct if a.correct}
    was = [(solved_before.get(p.id), p.id in solved) for p in iteration.problems]
    reasons = Counter(a.rejected for a in attempts if a.rejected)
    tokens = sum(len(a.token_ids) for a in attempts)
    generating = seconds.get("generate", 0.0) + seconds.get("rationalize", 0.0)
    taken = {**seconds, "train": iteration.trained.seconds}
    return Metrics(
        iteration=iteration.number,
        teacher=iteration.teacher,
        problems=len(iteration.problems),
        solved=len(solved),
        rationalized=len(kept["rationalized"]),
        examples=len(iteration.examples),
        parse_failures=sum(a.answer is None for a in attempts),
        undecided=sum(bool(a.undecided) for a in attempts) or None,
        truncated=sum(a.correct and a.finish == "length" for a in attempts),
        too_long=len(iteration.trained.too_long),
        rejected=dict(sorted(reasons.items())),
        hint_leaks=sum(task.cites_hint(problems[a.id], a.completion) for a in kept["rationalized"]),
        newly_solved=sum(before is False and now for before, now in was),
        forgotten=sum(before is True and not now for before, now in was),
        valid_steps={source: _valid(task, problems, rows) for source, rows in kept.items()},
        train=_train(iteration.trained),
        dev=accuracy.measured(iteration.evaluation, task.classes) if iteration.evaluation else None,
        generate=Generated(tokens, _rate(tokens, generating)),
        served=served or None,
        seconds={phase: round(taken[phase], 3) for phase in PHASES if phase in taken},
        peak_memory_bytes=peak_memory,
    )


def _valid(task: Task, problems: Mapping[str, Problem], attempts: Sequence[Attempt]) -> ValidSteps:
    """Count the kept rationales whose steps can be checked, and those right in every step."""
    verdicts = [task.valid_steps(problems[a.id], a.completion) for a in attempts]
    return ValidSteps(sum(v is not None for v in verdicts), sum(v is True for v in verdicts))


def _train(trained: Trained) -> Training:
    return Training(
        steps=trained.steps,
        epochs=round(trained.epochs, 4),
        tokens=trained.tokens,
        padding=round(trained.padding, 4),
        first_loss=round(trained.first_loss, 6),
        last_loss=round(trained.last_loss, 6),
        tokens_per_second=_rate(trained.tokens, trained.seconds),
    )


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 1) if seconds > 0 else 0.0
