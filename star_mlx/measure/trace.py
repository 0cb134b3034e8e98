"""One problem's way through an iteration: asked, answered, asked again with its answer as a hint,
kept or not, trained on, and answered again later. Read from the run folder, without a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

from star_mlx.errors import RunError, StarError
from star_mlx.formatting import harmless
from star_mlx.measure import run_problems
from star_mlx.measure.run_problems import Known
from star_mlx.prompts import Prompts
from star_mlx.recipe import opening
from star_mlx.settings import Recipe
from star_mlx.star import in_front
from star_mlx.store import ledger, names, which
from star_mlx.store.ledger import History, Ledger
from star_mlx.store.metrics import as_json as plain
from star_mlx.store.reading import RunRecord
from star_mlx.store.rows import AttemptText
from star_mlx.types import Example, Problem

LONGEST = 2000  # characters of a text that are shown
NEAR = 3  # ids that are named if one is unknown
TRIES = 20  # candidates to look at for one that was trained on


@dataclass(frozen=True, slots=True)
class TracePart:
    """A part of a trace: its title, the text of a prompt or of the model, and a remark on it."""

    title: str
    text: str = ""
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """A problem's way through an iteration.

    ``question`` and ``gold`` are None if the problem cannot be read any more; ``why_not`` then
    says why. ``asked`` and ``asked_hinted`` are the prompts without the ``shots`` few-shot
    examples in front of them, None if they are not known. ``rows`` are its rows of the training
    set, ``left_out`` whether they were too long to train on. ``later`` is the next iteration that
    attempted the problem.
    """

    run: str
    iteration: int
    id: str
    teacher: int
    question: str | None
    gold: str | None
    why_not: str
    shots: int
    asked: str | None
    asked_hinted: str | None
    direct: tuple[AttemptText, ...]
    hinted: tuple[AttemptText, ...]
    fate: str
    rows: tuple[Example, ...]
    left_out: bool
    later: tuple[int, tuple[AttemptText, ...]] | None
    later_teacher: int | None

    def as_json(self) -> dict[str, Any]:
        """The trace as plain data, with its texts whole."""
        values = {name: getattr(self, name) for name in ("run", "iteration", "id", "teacher")}
        values |= {name: getattr(self, name) for name in ("question", "gold", "why_not", "shots")}
        later = None
        if self.later:
            attempts = [plain(row) for row in self.later[1]]
            teacher = self.later_teacher
            later = {"iteration": self.later[0], "teacher": teacher, "attempts": attempts}
        rows = [
            {key: value for key, value in asdict(row).items() if key != "token_ids"}
            for row in self.rows
        ]
        return {
            **values,
            "asked": self.asked,
            "direct": [plain(row) for row in self.direct],
            "asked_with_hint": self.asked_hinted,
            "with_hint": [plain(row) for row in self.hinted],
            "fate": self.fate,
            "trained_on": rows,
            "left_out": self.left_out,
            "later": later,
        }

    def parts(self) -> list[TracePart]:
        """The trace as parts to show, in order; their texts may be hostile."""
        return [*self._asked(), *self._again(), *self._trained(), *self._later()]

    def text(self) -> str:
        """The trace as text that is harmless in a terminal."""
        lines = [f"problem {self.id} in iteration {self.iteration} of {self.run}"]
        for number, part in enumerate(self.parts(), 1):
            lines += ["", f"{number}. {part.title}"]
            shown, left_out = part.text[:LONGEST].strip("\n"), max(0, len(part.text) - LONGEST)
            if part.text:
                lines += [f"   | {line}" for line in shown.split("\n")]
            if left_out:
                lines.append(f"   ({left_out} more characters)")
            if part.remark:
                lines.append(f"   {part.remark}")
        return harmless("\n".join(lines))

    def _asked(self) -> Iterator[TracePart]:
        examples = "1 worked example" if self.shots == 1 else f"{self.shots} worked examples"
        front = f", with {examples} in front" if self.shots else ""
        title = f"{_model(self.teacher)} is asked{front}"
        if self.asked is None:
            yield TracePart(title, remark=f"The question cannot be shown: {self.why_not}.")
        else:
            yield TracePart(title, self.asked)
        yield from _answers("It answers", self.direct, self.gold)

    def _again(self) -> Iterator[TracePart]:
        if self.hinted and self.asked_hinted is not None:
            too = ", as in the examples" if self.shots else ""
            title = f"It is asked again with hint: the prompt has the right answer{too}"
            yield TracePart(title, self.asked_hinted)
        title = "With hint it answers" if self.asked_hinted is not None else "With hint"
        yield from _answers(title, self.hinted, self.gold)
        yield TracePart(self.fate)

    def _trained(self) -> Iterator[TracePart]:
        for row in self.rows:
            source = "second" if row.source == "rationalized" else "first"
            prompt, before = row.prompt, ""
            if self.asked and prompt.endswith(self.asked) and prompt != self.asked:
                prompt, before = self.asked, "The few-shot examples are in front of it. "
            remark = "Only the answer counts for the loss"
            if row.hint_shown:
                remark += "; this row keeps its hint in the prompt (star.p_show_hint_save)."
            else:
                remark += "; the hint is in neither." if source == "second" else "."
            if self.left_out:
                remark += " It was too long to train on (train.max_length), and was left out."
            title = f"Trained on: the prompt of the first, the answer of the {source}"
            if source == "first":
                title = "Trained on: this prompt and this answer"
            yield TracePart(title, prompt + row.completion, before + remark)

    def _later(self) -> Iterator[TracePart]:
        if self.later is None:
            yield TracePart("No later iteration of this run drew this problem again")
            return
        number, made = self.later
        taught = self.rows and not self.left_out and self.later_teacher == self.iteration
        trained = ", which was trained on this row," if taught else ""
        model = _model(self.later_teacher or 0)
        title = f"{model}{trained} is asked again, in iteration {number}, without hint"
        yield from _answers(title, made, self.gold)


def _model(number: int) -> str:
    return f"The model of iteration {number}" if number else "The base"


def _answers(title: str, made: tuple[AttemptText, ...], gold: str | None) -> Iterator[TracePart]:
    for number, row in enumerate(made, 1):
        which_one = f" (attempt {number} of {len(made)})" if len(made) > 1 else ""
        yield TracePart(title + which_one, row.completion, _verdict(row, gold))


def _verdict(row: AttemptText, gold: str | None) -> str:
    """What was read from an attempt, and whether it is right."""
    cut = " It was cut off at the length limit." if row.finish == "length" else ""
    known = "" if gold is None else f"; right is {gold}"
    if row.answer is None:
        return f"No answer can be read{known}.{cut}"
    judged = "right" if row.correct else f"wrong{known}"
    return f"Read as {row.answer}: {judged}.{cut}"


# --------------------------------------------------------------------------- reading


def trace(
    record: RunRecord,
    id: str | None = None,
    iteration: str | None = None,
    *,
    known: Known | None = None,
) -> Trace:
    """Trace a problem of a run.

    Args:
        record: the run.
        id: the problem; by default a telling one: wrong at first, kept with hint, and right in the
            next iteration that asks it, or what comes nearest to that.
        iteration: a number, ``best`` or ``last``; by default the most telling of those that
            attempted the problem.
        known: the run's problems, if they have been loaded already.

    Raises:
        RunError: no such problem or iteration, a run that attempted no problem, or a damaged one.
    """
    if kind := record.recipe.get("baseline"):
        raise RunError(
            f"{record.path} is the baseline {kind}: it attempts no problem, so there is nothing to "
            "trace; give the folder of a loop"
        )
    found = ledger.read(record.path)
    number = None if iteration is None else _number(record, iteration)
    if not found.problems:
        raise RunError(f"{record.path} has no finished iteration yet, so there is nothing to trace")
    if id is not None:
        return _traced(record, found, id, _of_problem(record, found, id, number), known)
    candidates = sorted(_candidates(found, number), key=lambda one: one[:2])
    first = None
    for _, at, id in candidates[:TRIES]:
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
    history = found.problems.get(id)
    if history is None:
        near = get_close_matches(id, found.problems, NEAR, cutoff=0.5)
        words = f": did you mean {' or '.join(near)}?" if near else ""
        some = next(iter(found.problems))
        words = words or f"; its problems have ids such as {some}"
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


def _candidates(found: Ledger, number: int | None) -> Iterator[tuple[tuple[int, int], int, str]]:
    """Every (rank, iteration, id), or those of one iteration."""
    for id, history in found.problems.items():
        for at in history.attempted:
            if number in (None, at):
                yield _rank(history, at), at, id


def _rank(history: History, at: int) -> tuple[int, int]:
    """How telling a problem's way through an iteration is, (0, 0) is best; the second number is
    how much later it was asked again."""
    if at not in history.hinted:
        return (3 if at in history.direct else 4), 0
    later = next((other for other in history.attempted if other > at), None)
    if later is None:
        return 1, 0
    return (0 if later in history.direct else 2), later - at


def _traced(record: RunRecord, found: Ledger, id: str, number: int, known: Known | None) -> Trace:
    line = next(line for line in record.metrics if line.iteration == number)
    teacher = line.teacher if line.teacher is not None else number - 1
    made = _attempts(record, number, id)
    direct = tuple(row for row in made if not row.hinted)
    hinted = tuple(row for row in made if row.hinted)
    examples = [row for row in record.examples(number) if row.id == id]
    rows = tuple(row for row in examples if row.iteration == number)
    trained = record.journal.trained.get(number)
    later = next((at for at in found.problems[id].attempted if at > number), None)
    asked = _Asked(record, id, number, teacher, known or run_problems.of_run(record))
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
        fate=_fate(record, direct, hinted),
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
            recipe = opening.resume_recipe(record.path)
            _, prompts = opening.open_task(recipe)
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
    record: RunRecord, direct: tuple[AttemptText, ...], hinted: tuple[AttemptText, ...]
) -> str:
    """Whether an attempt was kept to train on, and why."""
    for made, how in ((direct, "right without hint"), (hinted, "right with hint")):
        if any(row.correct and row.finish == "stop" and not row.rejected for row in made):
            return f"Kept to train on: {how}"
    right = [row for row in (*direct, *hinted) if row.correct]
    if any(row.finish == "length" for row in right):
        return "Not kept: right, but cut off at the length limit (generate.max_tokens)"
    if right:
        return f"Not kept: right, but rejected for a {right[0].rejected}"
    if hinted:
        return "Not kept: wrong with hint too"
    star = record.recipe.get("star") or {}
    if not star.get("rationalize", True):
        return "Not kept: wrong, and this run does not ask again with hint (star.rationalize=false)"
    if star.get("p_rationalization", 1.0) < 1:
        return "Not kept: wrong, and not drawn to be asked with hint (star.p_rationalization)"
    return "Not kept: wrong, and not asked again with hint"
