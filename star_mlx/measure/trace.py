"""One problem's way through an iteration: asked, answered, asked again with its answer as a hint,
kept or not, trained on, and asked again later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from star_mlx.formatting import harmless
from star_mlx.store.metrics import as_json as plain
from star_mlx.store.rows import AttemptText
from star_mlx.types import Example

LONGEST = 2000  # characters of a text that are shown


@dataclass(frozen=True, slots=True)
class TracePart:
    """A part of a trace: its title, the text of a prompt or of the model, and a remark on it.

    ``mark`` is "right" or "wrong" for an answer, and empty for all else.
    """

    title: str
    text: str = ""
    remark: str = ""
    mark: Literal["", "right", "wrong"] = ""


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
            yield TracePart(self._row_title(row), prompt + row.completion, before + remark)

    def _row_title(self, row: Example) -> str:
        if row.source == "rationalized" and not self.hinted:
            return "Trained on: the prompt and the right answer"
        same = self.asked is None or row.prompt.endswith(self.asked)  # not so in a chat
        if row.source == "direct" and same:
            return "Trained on: this prompt and this answer"
        prompt = "the prompt of the first" if same else "the question without hint"
        answer = "second" if row.source == "rationalized" else "first"
        return f"Trained on: {prompt}, the answer of the {answer}"

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
        mark: Literal["right", "wrong"] = "right" if row.correct else "wrong"
        yield TracePart(title + which_one, row.completion, _verdict(row, gold), mark)


def _verdict(row: AttemptText, gold: str | None) -> str:
    """What was read from an attempt, and whether it is right."""
    cut = " It was cut off at the length limit." if row.finish == "length" else ""
    known = "" if gold is None else f"; right is {gold}"
    if row.answer is None:
        return f"No answer can be read{known}.{cut}"
    judged = "right" if row.correct else f"wrong{known}"
    if row.undecided:
        judged = f"undecided{known}; {row.undecided}"
    return f"Read as {row.answer}: {judged}.{cut}"
