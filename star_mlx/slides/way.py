"""One problem's way through an iteration, as slides: its question, the first answer with the wrong
line marked, the hint, the answer with it, the row that is trained on, and the next answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from star_mlx import tasks
from star_mlx.measure import run_problems, tracing
from star_mlx.measure.run_problems import Known
from star_mlx.measure.trace import Trace
from star_mlx.slides.slide import Quoted, Said, Slide
from star_mlx.store.reading import RunRecord
from star_mlx.store.rows import AttemptText


@dataclass(frozen=True, slots=True)
class Way:
    """The way of a problem: its trace, and the run's problems, by which its steps are checked."""

    trace: Trace
    known: Known

    def slides(self, iteration: int) -> list[Slide]:
        """The slides that follow the result of an iteration."""
        found = [*self._way()] if iteration == self.trace.iteration else []
        if self.trace.later and self.trace.later[0] == iteration:
            found += self._later(iteration, self.trace.later[1])
        return found

    def _way(self) -> Iterator[Slide]:
        trace = self.trace
        yield self._question()
        for row in trace.direct[:1]:
            yield self._answer("One problem: its first answer", row)
        if trace.hinted:
            if trace.asked_hinted is not None:
                yield Slide("One problem: asked again, with the hint", self._with_hint())
            yield self._answer("One problem: its answer with the hint", trace.hinted[0])
        yield self._row()

    def _question(self) -> Slide:
        trace, title = self.trace, "One problem: the question"
        if trace.asked is None:
            return Slide(title, (Said(f"It cannot be shown: {trace.why_not}."),))
        front = "The prompt has no worked example."
        if trace.shots:
            examples = "1 worked example" if trace.shots == 1 else f"{trace.shots} worked examples"
            front = f"The prompt has {examples} first, and then:"
        right = [] if trace.gold is None else [Said(f"The right answer: {trace.gold}", "good")]
        return Slide(title, (Said(front), Said(""), Quoted(trace.asked), Said(""), *right))

    def _answer(self, title: str, row: AttemptText) -> Slide:
        marked, remark = self._wrong_line(row)
        cut = " (cut off at the length limit)" if row.finish == "length" else ""
        answer = "no answer can be read" if row.answer is None else f"it answers {row.answer}"
        right = "" if row.correct or self.trace.gold is None else f"; right is {self.trace.gold}"
        word = "Right" if row.correct else "Undecided" if row.undecided else "Wrong"
        verdict = Said(f"{word}: {answer}{right}{cut}", "good" if row.correct else "bad")
        return Slide(title, (Quoted(row.completion, marked, "bad", remark), Said(""), verdict))

    def _wrong_line(self, row: AttemptText) -> tuple[int | None, str]:
        """The first wrong line, and the reason; None if no line is known to be wrong."""
        problem, task = self.known.train.get(row.id), self.known.task
        if problem and task:
            line = tasks.wrong_line(task, problem, row.completion)
            if line is not None:
                return line, "the first wrong step"
        if row.correct or row.answer is None:
            return None, ""
        lines = row.completion.rstrip().split("\n")
        holding = [n for n, line in enumerate(lines) if row.answer in line]
        return (holding[-1], "the wrong answer") if holding else (None, "")

    def _with_hint(self) -> tuple[Said | Quoted, ...]:
        asked = self.trace.asked_hinted or ""
        hint = hint_line(self.trace.asked or "", asked, self.trace.gold or "")
        return (
            Said("The model gets the right answer, and has to write how to come to it."),
            Said(""),
            Quoted(asked, hint, "good", "the hint"),
        )

    def _row(self) -> Slide:
        trace = self.trace
        if not trace.rows:
            return Slide("One problem: nothing to train on", (Said(trace.fate, "bad"),))
        row = trace.rows[0]
        prompt = row.prompt
        if trace.asked and prompt.endswith(trace.asked):
            prompt = trace.asked
        if row.hint_shown:
            said = "This row keeps its hint in the prompt (star.p_show_hint_save)."
        elif row.source == "rationalized":
            said = "The prompt of the first try, the answer of the second: no hint is left."
        else:
            said = "The prompt and the answer, as they were."
        if trace.left_out:
            said = "It was too long to train on (train.max_length), and was left out."
        return Slide(
            "One problem: what is trained on",
            (
                Said(said),
                Said(""),
                Quoted(prompt + row.completion),
                Said(""),
                Said(trace.fate, "good"),
            ),
        )

    def _later(self, iteration: int, made: tuple[AttemptText, ...]) -> Iterator[Slide]:
        for row in made[:1]:
            yield self._answer(f"Iteration {iteration}: the same problem, without a hint", row)


def hint_line(plain: str, hinted: str, gold: str) -> int | None:
    """The line of a prompt that has the hint: one that the prompt without it lacks, with the right
    answer in it if there is such a line.

    >>> hint_line("Half of 6?", "Half of 6?\\n\\n(The answer is 3.)", "3")
    2
    """
    before, lines = plain.split("\n"), hinted.split("\n")
    new = [n for n, line in enumerate(lines) if line.strip() and line not in before]
    return next((n for n in new if gold in lines[n]), new[0] if new else None)


def of_run(record: RunRecord, id: str | None = None, iteration: str | None = None) -> Way:
    """The way of a problem of a run; by default of the most telling one.

    Raises:
        RunError: see ``tracing.trace``.
    """
    known = run_problems.of_run(record)
    return Way(tracing.trace(record, id, iteration, known=known), known)
