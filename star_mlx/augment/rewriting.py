"""Rewriting a question by a model, as a task: it is asked, read and judged like any other.

Its right answer is any text without a fault, so a chunk of rewritings is a chunk of attempts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_mlx.answers.accepted import accepted
from star_mlx.augment import rephrasing, statements
from star_mlx.augment.kinds import is_latex
from star_mlx.data import yaml_text
from star_mlx.prompts import Prompts
from star_mlx.tasks.simple import SimpleTask
from star_mlx.types import Problem, Question, Split, Task

NOTHING = "nothing was written"
_PREFACE = re.compile(
    r"\A\W{0,4}(?:(?:sure|certainly|of course|okay|ok|here)\b[^\n]{0,80}:"
    r"|(?:re-?worded|rewritten|rephrased|new)? ?(?:question|problem|statement|version)\W{0,3}:)"
    r"\W{0,3}\s",
    re.IGNORECASE,
)
_QUOTES = (('"', '"'), ("\u201c", "\u201d"), ("**", "**"))


@dataclass(frozen=True, slots=True)
class Wording:
    """The words around a question that ask for its rewriting, and the examples."""

    instruction: str
    before: str
    after: str
    between: str = ""
    examples: tuple[Mapping[str, Any], ...] = ()

    def posed(self, question: Question, answer: str) -> Question:
        """The question of the rewriting: the original one, with its answer if that is asked
        for."""
        known = f"\n{self.between} {accepted(answer)[0]}" if self.between else ""
        return Question(f"{self.before} {question.text}{known}")


class Rewriting(SimpleTask):
    """The task of rewriting questions of another task. A problem's answer is its id: the text that
    is right depends on the problem."""

    name = "rewriting"
    stop: tuple[str, ...] = ("\nQuestion:", "\nProblem:")

    def __init__(self, kind: str, of: Task, wording: Wording, problems: Sequence[Problem]) -> None:
        self.kind, self.latex, self.wording = kind, is_latex(of), wording
        self._originals = {problem.id: problem for problem in problems}

    def problems(self, split: Split) -> Sequence[Problem]:
        """The problems of rewriting, in the order of the originals."""
        return [
            Problem(p.id, self.wording.posed(p.question, p.answer), p.id)
            for p in (self._originals.values() if split == "train" else ())
        ]

    def ask(self, question: Question) -> str:
        return f"{self.wording.instruction}\n{question.text}\n{self.wording.after}"

    def worked(self, rationale: str | None, answer: str) -> str:
        return f" {rationale}"

    def read(self, completion: str, question: Question) -> str | None:
        return written_text(completion) or None

    def equal(self, answer: str, gold: str) -> bool:
        return not self.fault(answer, gold)

    def fault(self, text: str, name: str) -> str:
        """What is wrong with a rewriting of the problem with that id; empty if nothing is."""
        original = self._originals[name]
        if self.kind == "sv":
            return statements.fault(original, text, self.latex)
        return rephrasing.fault(original.question.text, text, self.latex)

    def prompts(self, like: Prompts) -> Prompts:
        """The prompts, in the chat template of the given ones, if they have one."""
        shown = tuple(
            Problem(
                f"example-{number}",
                self.wording.posed(Question(str(one["question"])), str(one.get("answer", ""))),
                "",
                rationale=str(one["rewritten"]),
            )
            for number, one in enumerate(self.wording.examples, 1)
        )
        return Prompts(self, shown, chat=like.chat)


def wording(folder: Path, kind: str, latex: bool) -> Wording:
    """The shipped wording of a kind, from the folder of prompt files."""
    path = folder / "augment" / f"{kind}{'-latex' * latex}.yaml"
    data, _ = yaml_text.load(yaml_text.text_of(path))
    return Wording(**{**data, "examples": tuple(data["examples"])})


def written_text(completion: str) -> str:
    """The rewriting in a completion: its first paragraph, without a preface and quotes around it.

    >>> written_text('Sure! Here is the question:\\n\\n"How many nuts has Ann?"\\n\\nI kept ...')
    'How many nuts has Ann?'
    """
    text = _PREFACE.sub("", completion.strip()).strip()
    text = re.split(r"\n\s*\n", text, maxsplit=1)[0].strip()
    for opening, closing in _QUOTES:
        inner = text.removeprefix(opening).removesuffix(closing)
        if len(inner) == len(text) - len(opening + closing) and opening not in inner:
            text = inner.strip()
    return text


_IN_GENERAL = {
    rephrasing.LACKS: "lacks a number",
    rephrasing.ADDS: "has another number",
    statements.LACKS_ANSWER: "lacks the answer",
}


def in_general(fault: str) -> str:
    """A fault without the number or answer that it names, to be counted."""
    found = (words for start, words in _IN_GENERAL.items() if fault.startswith(start))
    return next(found, fault.removeprefix("it "))
