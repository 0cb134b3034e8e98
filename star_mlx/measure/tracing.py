"""Read one problem's way through an iteration from the run folder, without a model, and choose a
telling problem."""

from __future__ import annotations

from difflib import get_close_matches

from star_mlx.augment.kinds import BACKWARD, REWRITTEN
from star_mlx.errors import RunError, StarError
from star_mlx.measure import run_problems
from star_mlx.measure.run_problems import Known
from star_mlx.measure.trace import Trace
from star_mlx.prompts import Prompts
from star_mlx.recipe import opening
from star_mlx.recipe.backward import backward_prompts
from star_mlx.settings import Recipe
from star_mlx.star import in_front
from star_mlx.store import ledger, names, which
from star_mlx.store.ledger import History, Ledger
from star_mlx.store.reading import RunRecord
from star_mlx.store.rows import AttemptText
from star_mlx.types import Example, Problem

NEAR = 3  # ids that are named if one is unknown
TRIES = 20  # candidates to look at for one that was trained on


def trace(
    record: RunRecord,
    id: str | None = None,
    iteration: str | None = None,
    *,
    known: Known | None = None,
    found: Ledger | None = None,
) -> Trace:
    """Trace a problem of a run.

    Args:
        record: the run.
        id: the problem; by default a telling one: wrong at first, kept with hint, and right in the
            next iteration that asks it, or what comes nearest to that.
        iteration: a number, ``best`` or ``last``; by default the most telling of those that
            attempted the problem.
        known: the run's problems, if they have been loaded already.
        found: the run's ledger, if it has been read already.

    Raises:
        RunError: no such problem or iteration, a run that attempted no problem, or a damaged one.
    """
    if kind := record.recipe.get("baseline"):
        raise RunError(
            f"{record.path} is the baseline {kind}: it attempts no problem, so there is nothing to "
            "trace; give the folder of a loop"
        )
    found = found or ledger.of_run(record)
    number = None if iteration is None else _number(record, iteration)
    if not found.ids:
        raise RunError(f"{record.path} has no finished iteration yet, so there is nothing to trace")
    known = known or run_problems.of_run(record)
    if id is not None:
        return _traced(record, found, id, _of_problem(record, found, id, number), known)
    first = None
    for id, at in _telling(found, number, TRIES):
        one = _traced(record, found, id, at, known)
        if one.rows and not one.left_out:
            return one
        first = first or one
    assert first is not None  # a finished iteration attempted a problem
    return first


def _number(record: RunRecord, iteration: str) -> int:
    number = which.number(record, iteration)
    if number == 0:
        raise RunError(
            f"{record.path}: iteration 0 is the base, which attempts no problem to train on; give "
            "a number from 1"
        )
    return number


def _of_problem(record: RunRecord, found: Ledger, id: str, number: int | None) -> int:
    """The iteration in which to trace a problem.

    Raises:
        RunError: it was not attempted, or not in iteration ``number``.
    """
    history = found.history(id)
    if history is None:
        near = get_close_matches(id, found.ids, NEAR, cutoff=0.5)
        words = f": did you mean {' or '.join(near)}?" if near else ""
        words = words or f"; its problems have ids such as {found.ids[0]}"
        raise RunError(f"no iteration of {record.path} attempted a problem {id!r}{words}")
    if number is None:
        return min(history.attempted, key=lambda at: _rank(history, at))
    if number not in history.attempted:
        listed = ", ".join(map(str, history.attempted))
        raise RunError(
            f"{record.path}: iteration {number} did not draw the problem {id}; iteration {listed} "
            "did"
        )
    return number


def _telling(found: Ledger, number: int | None, most: int) -> list[tuple[str, int]]:
    """The most telling problems, each with its iteration: of all iterations, or of one. Those that
    are equally telling are in the order of iterations, then of problems."""
    import numpy as np

    numbers = [tally.iteration for tally in found.iterations]
    later = np.full(len(found.ids), len(numbers))  # the column in which each is asked again
    told = np.append(numbers, 0)
    best: list[tuple[int, int, int]] = []  # (rank, iteration, place)
    for column in range(len(numbers) - 1, -1, -1):
        states, at = found.states[:, column], numbers[column]
        there = np.flatnonzero(states)
        if number in (None, at):
            after = later[there]
            again = after < len(numbers)
            solved = found.states[there, np.minimum(after, len(numbers) - 1)] & ledger.DIRECT > 0
            hinted = states[there] & ledger.HINTED > 0
            direct = states[there] & ledger.DIRECT > 0
            rank = np.select([~hinted & direct, ~hinted, ~again, solved], [3, 4, 1, 0], 2)
            wait = np.where(hinted & again, told[after] - at, 0)
            order = np.argsort((rank << 32) + wait, kind="stable")[:most]
            keys = ((rank[order] << 32) + wait[order]).tolist()
            best += zip(keys, [at] * len(order), there[order].tolist(), strict=True)
        later[there] = column
    return [(found.ids[place], at) for _, at, place in sorted(best)[:most]]


def _rank(history: History, at: int) -> tuple[int, int]:
    """How telling a problem's way through an iteration is, (0, 0) is best; the second number is
    how much later it was asked again."""
    if at not in history.hinted:
        return (3 if at in history.direct else 4), 0
    later = next((other for other in history.attempted if other > at), None)
    if later is None:
        return 1, 0
    return (0 if later in history.direct else 2), later - at


def _traced(record: RunRecord, found: Ledger, id: str, number: int, known: Known) -> Trace:
    line = next(line for line in record.metrics if line.iteration == number)
    teacher = line.teacher if line.teacher is not None else number - 1
    made = _attempts(record, number, id)
    direct = tuple(row for row in made if not row.hinted)
    hinted = tuple(row for row in made if row.hinted)
    examples = [row for row in record.examples(number) if row.id == id]
    rows = tuple(row for row in examples if row.iteration == number)
    trained = record.journal.trained.get(number)
    history = found.history(id)
    later = next((at for at in history.attempted if at > number), None) if history else None
    asked = _Asked(record, id, number, teacher, known)
    if asked.prompt is None and rows and not rows[0].hint_shown:
        asked.prompt = rows[0].prompt
    return Trace(
        run=str(record.path),
        iteration=number,
        id=id,
        teacher=teacher,
        question=asked.problem.question.as_text() if asked.problem else None,
        gold=asked.problem.answer if asked.problem else None,
        why_not=asked.why_not,
        shots=asked.shots,
        asked=asked.prompt,
        asked_hinted=asked.hinted,
        direct=direct,
        hinted=hinted,
        fate=_fate(record, direct, hinted, rows, written=known.kinds.get(id) in REWRITTEN),
        rows=rows,
        left_out=bool(trained and id in trained.too_long),
        later=None if later is None else (later, _attempts(record, later, id, hinted=False)),
        later_teacher=None if later is None else _teacher(record, later),
    )


def _teacher(record: RunRecord, number: int) -> int:
    line = next(line for line in record.metrics if line.iteration == number)
    return number - 1 if line.teacher is None else line.teacher


def _attempts(
    record: RunRecord, number: int, id: str, *, hinted: bool = True
) -> tuple[AttemptText, ...]:
    blocks = record.rows(number, names.ATTEMPTS, AttemptText)
    rows = (row for block in blocks for row in block if row.id == id)
    return tuple(row for row in rows if hinted or not row.hinted)


class _Asked:
    """How a problem was asked, as far as the run's task and prompts can still be read."""

    def __init__(self, record: RunRecord, id: str, number: int, teacher: int, known: Known) -> None:
        self.problem: Problem | None = known.train.get(id)
        self.why_not = known.why_not or ("" if self.problem else "its data has it no more")
        self.prompt: str | None = None
        self.hinted: str | None = None
        self.shots = 0
        try:
            recipe = opening.recipe_of(record)
            task, prompts = opening.open_task(recipe)
            if known.kinds.get(id) in BACKWARD:
                prompts = backward_prompts(task, prompts)
        except StarError:
            return
        self._fill(recipe, prompts, number, teacher)

    def _fill(self, recipe: Recipe, prompts: Prompts, number: int, teacher: int) -> None:
        if in_front(recipe.star, number, teacher) and not prompts.zero_shot:
            self.shots = len(prompts.examples)
        if self.problem is None:
            return
        self.prompt = prompts.generation(self.problem, hinted=False)
        if not prompts.direct:  # else the answer itself takes the place of an attempt
            self.hinted = prompts.generation(self.problem, hinted=True)


def _fate(
    record: RunRecord,
    direct: tuple[AttemptText, ...],
    hinted: tuple[AttemptText, ...],
    rows: tuple[Example, ...],
    written: bool = False,
) -> str:
    """Whether an attempt was kept to train on, and why; ``written`` is a question of the model's
    own."""
    star = record.recipe.get("star") or {}
    for made, how in ((direct, "right without hint"), (hinted, "right with hint")):
        if any(row.correct and row.finish == "stop" and not row.rejected for row in made):
            if not rows and star.get("most_rationalized") is not None:
                return f"Not kept: {how}, but left out by star.most_rationalized"
            return f"Kept to train on: {how}"
    if rows:
        return "Kept to train on: the right answer alone (star.direct)"
    right = [row for row in (*direct, *hinted) if row.correct]
    if any(row.finish == "length" for row in right):
        return "Not kept: right, but cut off at the length limit (generate.max_tokens)"
    if right:
        return f"Not kept: right, but rejected for a {right[0].rejected}"
    if hinted:
        return "Not kept: wrong with hint too"
    if written:
        return "Not kept: wrong, and a question that the model wrote is not asked with hint"
    if not star.get("rationalize", True):
        return "Not kept: wrong, and this run does not ask again with hint (star.rationalize=false)"
    if star.get("rationalize_until") is not None:
        return "Not kept: wrong, and not asked again with hint (star.rationalize_until)"
    if star.get("p_rationalization", 1.0) < 1:
        return "Not kept: wrong, and not drawn to be asked with hint (star.p_rationalization)"
    return "Not kept: wrong, and not asked again with hint"
