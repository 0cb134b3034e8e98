"""Try a reader of answers on the ways in which people and models give an answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from star_mlx import answers
from star_mlx.answers.statement import MARKER
from star_mlx.errors import TaskError
from star_mlx.tasks.jsonl import Jsonl
from star_mlx.types import Problem, Question

_STATED = ("{marker} {answer}.", "{marker}: {answer}", "{marker} **{answer}**.",
           "{marker} {answer}, because it follows.")  # fmt: skip
_BARE = ("{answer}", "**{answer}**", "{answer}, because it follows.")
_MOST_TRIED = 5000  # different answers; of more, as many in equal distances
_MOST_UNREAD = 0.05  # of the answers; an odd one among many is no reason to refuse a reader


@dataclass(frozen=True, slots=True)
class Unread:
    """An answer that a reader does not read back, a text that gives it, and what is read."""

    answer: str
    text: str
    read: str | None


def wordings(task: Jsonl, answer: str) -> Iterator[str]:
    """The usual texts that give an answer which this task should read."""
    kind, marker = task.options.kind, task.options.read.marker
    yield task.worked(None, answer)
    if kind == "regex":
        return
    if kind == "exact":
        yield from (form.format(answer=answer) for form in _BARE[:2])
        return
    shown = f"${answer}$" if kind == "math" else f"({answer})" if kind == "choice" else answer
    said = marker if kind in ("marker", "math", "yes-no", "set", "list") else MARKER
    yield from (form.format(marker=said, answer=shown) for form in _STATED)
    if kind not in ("marker", "math"):
        yield from (form.format(answer=answer) for form in _BARE)


def unread(task: Jsonl, answer: str, question: Question) -> Unread | None:
    """The first usual wording of an answer that is not read back as it; None if all are."""
    for text in wordings(task, answer):
        read = task.read(text, question)
        if read is None or not _same(task, read, answer):
            return Unread(answer, text.strip(), read)
    return None


def _same(task: Jsonl, read: str, answer: str) -> bool:
    """As ``Task.equal``, but expressions that are read back are the same text."""
    if task.options.kind == "math":
        return answers.same_statement(read, answer)
    return task.equal(read, answer)


def refuse_unread(task: Jsonl, problems: Iterable[Problem]) -> None:
    """Refuse a reader that does not read the right answers back from their usual wordings.

    Raises:
        TaskError: naming an answer, how it was worded and what was read.
    """
    given = dict.fromkeys(
        (answer, problem.question.choices)
        for problem in problems
        for answer in answers.accepted(problem.answer)
    )
    tried = [*given][:: 1 + len(given) // _MOST_TRIED]
    lost = (unread(task, answer, Question("", choices)) for answer, choices in tried)
    found = [one for one in lost if one is not None]
    if len(found) > _MOST_UNREAD * len(tried):
        first = found[0]
        raise TaskError(
            f"answers are not read back by --read {task.options.kind}: of {len(tried)}, "
            f"{len(found)} are lost, such as {first.answer[:60]!r}, since {first.text[:100]!r} is "
            f"read as {first.read!r}: give another kind, such as --read {_instead(task)}"
        )


def _instead(task: Jsonl) -> str:
    return "exact" if task.options.kind == "marker" else "marker"
