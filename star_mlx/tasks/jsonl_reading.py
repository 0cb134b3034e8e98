"""How the task ``jsonl`` reads answers, those of its data and those of completions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from star_mlx import answers, data
from star_mlx.errors import TaskError
from star_mlx.tasks import math_text
from star_mlx.tasks.jsonl_options import Read, ReadKind
from star_mlx.types import Question

LONGEST = 20_000  # characters at the end of a completion in which a pattern is searched
SECONDS = 2.0  # that it may take; an honest one takes some milliseconds


class Reading:
    """What the options ``read`` say, with the kind after the defaults.

    Args:
        read: the options.
        kind: how answers are read.
    """

    def __init__(self, read: Read, kind: ReadKind) -> None:
        self.options, self.kind = read, kind
        self.compared = _compared(read, kind)
        self._notation = read.notation
        self._yes_no = answers.YesNo(read.yes, read.no)
        self._same = self._comparison()

    def read(self, completion: str, question: Question) -> str | None:
        """See ``types.Task``."""
        marker = self.options.marker
        match self.kind:
            case "last-number":
                found = answers.final_number(self._notation.standard(completion))
                return found and self._notation.local(found)
            case "number":
                found = answers.final_quantity(self._notation.standard(completion))
                return found and self._notation.local(found)
            case "choice":
                labels = [label for label, _ in question.choices] or list(data.LABELS[:5])
                return answers.choice(completion, labels, [text for _, text in question.choices])
            case "yes-no":
                return self._yes_no.read(completion, marker)
            case "set" | "list":
                return answers.final_several(completion, marker)
            case "marker":
                return answers.stated(completion, marker)
            case "math":
                return math_text.concluded(completion, marker)
            case "exact":
                lines = [line.strip() for line in completion.split("\n")]
                return next((line for line in reversed(lines) if line), None)
            case "regex":
                return self.matched(completion)[0]

    def matched(self, completion: str) -> tuple[str | None, bool]:
        """The last match of the pattern, and whether the search was given up: a pattern such as
        ``(a|aa)+b`` takes for ever on some texts, which then have no answer."""
        import regex  # as the standard library's re, but with a time limit

        pattern = regex.compile(self.options.pattern or "")
        found = None
        try:
            for match in pattern.finditer(completion[-LONGEST:], timeout=SECONDS):
                found = (match[1] or "").strip() or found
        except TimeoutError:
            return None, True
        return found, False

    def gives_up(self, completion: str) -> bool:
        """Whether the pattern takes too long on a text."""
        return self.kind == "regex" and self.matched(completion)[1]

    def equal(self, answer: str, gold: str) -> bool:
        """Whether an answer is the same value as one of the right ones."""
        return any(self._same(answer, one) for one in answers.accepted(gold))

    def undecided(self, answer: str, gold: str) -> str:
        """Why an answer that is not equal to any right one is not known to be wrong; else empty."""
        if self.compared != "math":
            return ""
        found = [math_text.judged(answer, one) for one in answers.accepted(gold)]
        if any(one.decision == "right" for one in found):
            return ""
        return next((one.reason for one in found if one.decision == "undecided"), "")

    def right_answers(self, row: Mapping[str, Any], name: str) -> list[str]:
        """The right answers in a field of a row: one text, several with marks between, or a list.

        A list is one answer if the answers are sets or lists; a list of lists is several then.

        Raises:
            TaskError: there is none, or one is no text.
        """
        value = data.value_of(row, name)
        if self.kind in ("set", "list") and isinstance(value, list):
            nested = any(isinstance(part, list) for part in value)
            texts = [_parts(one, name) for one in (value if nested else [value])]
        else:
            texts = [one for text in data.texts(row, name) for one in answers.accepted(text)]
        if self.options.accept is None:
            return texts
        split = [part.strip() for text in texts for part in text.split(self.options.accept)]
        if not any(split):
            raise TaskError(f"its {name} is blank")
        return [part for part in split if part]

    def gold(self, text: str) -> str:
        """A right answer in the form in which it is compared and shown.

        Raises:
            TaskError: it is no answer of this kind.
        """
        if self.compared == "number":
            return self._notation.local(answers.gold_number(self._notation.standard(text)))
        if self.compared == "quantity":
            text = text.rpartition("####")[2].strip()
            if answers.quantity(self._notation.standard(text)) is None:
                raise TaskError(f"the answer {text[:60]!r} is no number")
        if self.compared == "yes-no" and self._yes_no.value(text) is None:
            raise TaskError(
                f"its answer {text[:60]!r} is neither yes nor no: give task.options.read.yes and "
                "no the data's words for them"
            )
        if self.compared == "math":
            return math_text.gold(text)
        return text

    def _comparison(self) -> Callable[[str, str], bool]:
        standard, convert = self._notation.standard, self.options.convert_units
        notation = self._notation
        same: dict[str, Callable[[str, str], bool]] = {
            "number": lambda a, b: any(
                answers.same_number(standard(form), standard(b)) for form in answers.forms(a)
            ),
            "quantity": lambda a, b: answers.same_quantity(
                standard(a), standard(b), convert=convert
            ),
            "yes-no": self._yes_no.same,
            "set": lambda a, b: answers.same_set(a, b, notation, convert=convert),
            "list": lambda a, b: answers.same_list(a, b, notation, convert=convert),
            "text": answers.same_statement,
            "math": lambda a, b: math_text.judged(a, b).decision == "right",
            "choice": lambda a, b: a.casefold() == b.casefold(),
        }
        return same[self.compared]


def _compared(read: Read, kind: ReadKind) -> str:
    """How two answers are compared: as number, quantity, text or math, or as their kind."""
    if kind in ("marker", "exact", "regex"):
        return read.compare or "text"
    return {"last-number": "number", "number": "quantity"}.get(kind, kind)


def _parts(values: Any, name: str) -> str:
    """The parts of one answer as a text; {} if there are none."""
    listed = values if isinstance(values, list) else [values]
    return ", ".join(data.text({name: one}, name) for one in listed) or "{}"
