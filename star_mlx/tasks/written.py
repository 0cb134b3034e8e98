"""Base classes of the tasks whose questions are in words, and of those that read files.

A prompt reads ``Q: <question>``, the choices if there are any, and ``A:``; the rationale follows on
the same line. The hinted twin is built by rule: the right choice is marked, or the answer follows
the question in parentheses, as in the paper.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from star_mlx import data
from star_mlx.errors import TaskError
from star_mlx.types import Evaluation, Problem, Question, Split

STEP_BY_STEP = " Let's think step by step."  # Kojima et al. 2022, arXiv 2205.11916
MARK = " (CORRECT)"

# Phrases by which a rationale shows that it was given the answer.
_TOLD = re.compile(
    r"\bhints?\b|\(correct\)|\b(?:marked|labell?ed|given|listed|tagged) as (?:the )?correct\b"
    r"|\b(?:correct|right) (?:answer|choice) (?:is|was) (?:already )?(?:given|marked|provided)\b"
    r"|\banswer (?:is|was) (?:already )?(?:given|provided|marked|told|in parentheses)\b"
    r"|\b(?:given|provided|stated) (?:correct )?answer\b|\bin (?:the )?parenthes[ei]s\b",
    re.IGNORECASE,
)
# More of them, where rationales are in a model's own words. "The correct answer is" may conclude a
# rationale too, so it counts only before the last sentence.
_TOLD_IN_PROSE = re.compile(
    r"\b(?:we|i|you) (?:are|were|was) (?:told|given|informed) (?:that )?(?:the )?"
    r"(?:(?:correct|right|final) )?(?:answer|result)\b"
    r"|\bas (?:given|told|stated|provided|if (?:we|i) (?:had|have|were) not)\b"
    r"[^.\n]{0,40}\b(?:answer|told|hint|parenthes)"
    r"|\b(?:match(?:es|ing)?|agrees? with|consistent with|confirm(?:s|ing)?|verif(?:y|ies|ying)"
    r"|arrive at|reach|get to|lead(?:s|ing)? to|obtain|justify|support) (?:that )?"
    r"(?:the|this|our|your|its) (?:(?:given|provided|stated|known|expected|correct|right) )+"
    r"(?:final )?(?:answer|result|value)\b"
    r"|\b(?:given|provided|stated|known|expected|desired|target) (?:final )?(?:correct )?"
    r"(?:answer|result)\b"
    r"|\bto (?:confirm|verify|check|show|prove)\b[^.\n]{0,30}\b(?:answer|correct)\b"
    r"|\b(?:let's|let us|we can|we) (?:confirm|verify|double-check)\b[^.\n]{0,40}\banswer\b"
    r"|\bwhich is (?:indeed )?(?:the )?(?:correct|right|given)\b"
    r"|\b(?:is|was) (?:already )?(?:known|given) to be (?:correct|right)\b",
    re.IGNORECASE,
)
_STATES = re.compile(r"\b(?:correct|right|final) (?:answer|result|choice)\b", re.IGNORECASE)
_BEGINS_WITH_IT = re.compile(r"[^.!?\n]{0,120}\banswer (?:is|was|must be)\b", re.IGNORECASE)
_SENTENCE = re.compile(r"[.!?]\s+(?=\S)")
_CONCLUSION = re.compile(r"(?:so |thus |therefore,? )?(?:the )?answer is\b|####", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{2,}")


class WordTask(ABC):
    """Base of the tasks whose questions are in words. It has the text of prompts.

    A subclass defines the problems and how an answer is read.
    """

    name: str
    stop: tuple[str, ...] = ("\nQ:",)
    classes = ""

    @abstractmethod
    def problems(self, split: Split) -> Sequence[Problem]:
        """See ``types.Task``."""

    def training(self, evaluations: Sequence[Evaluation | None]) -> Sequence[Problem]:
        return self.problems("train")

    def skipped(self) -> Sequence[str]:
        return ()

    def pose(self, text: str) -> Problem:
        """A question as a user types it, with choices as ``(A) one (B) another``, if any. Its
        answer is unknown."""
        asked, *rest = re.split(r"\s*\(([A-Z])\)\s*", text.strip())
        choices = tuple(zip(rest[0::2], rest[1::2], strict=True))
        if len(choices) < 2 or "".join(rest[0::2]) != data.LABELS[: len(choices)]:
            asked, choices = text.strip(), ()
        if not asked:
            raise TaskError("the question is blank")
        return Problem("asked", Question(asked, choices), "")

    def ask(self, question: Question) -> str:
        return self._asked(question.text, question.choices)

    def ask_hinted(self, question: Question, answer: str) -> str:
        if not question.choices:
            return self._asked(f"{question.text} ({answer})", ())
        marked = [(k, text + MARK * self.equal(k, answer)) for k, text in question.choices]
        return self._asked(question.text, marked)

    def _asked(self, text: str, choices: Sequence[tuple[str, str]]) -> str:
        listed = "".join(f"({label}) {choice}\n" for label, choice in choices)
        return f"Q: {text}\n" + (f"Answer choices:\n{listed}" if listed else "") + "A:"

    def zero_shot(self, question: Question) -> str:
        return self.ask(question) + STEP_BY_STEP

    @abstractmethod
    def equal(self, answer: str, gold: str) -> bool:
        """See ``types.Task``."""

    def valid_steps(self, problem: Problem, completion: str) -> bool | None:
        return None

    def cites_hint(self, problem: Problem, completion: str) -> bool:
        """Whether it mentions that the answer was given, or has fewer than 3 words besides it."""
        words = _WORD.findall(_CONCLUSION.sub("", completion))
        return len(words) < 3 or says_it_was_told(completion)


def says_it_was_told(completion: str) -> bool:
    """Whether a rationale mentions a hint, or an answer that was marked or given."""
    return _TOLD.search(completion) is not None


def cites_in_prose(completion: str) -> bool:
    """Whether a rationale in a model's own words mentions that the answer was given.

    >>> cites_in_prose("The correct answer is 60. Let's see: 12 * 5 = 60.")
    True
    >>> cites_in_prose("12 * 5 = 60. So the correct answer is 60.")
    False
    """
    body = completion[: _conclusion(completion)]
    return _TOLD_IN_PROSE.search(completion) is not None or _STATES.search(body) is not None


def answers_first(completion: str) -> bool:
    """Whether a rationale begins with the answer, before any step."""
    body = completion[: _conclusion(completion)].lstrip()
    return _BEGINS_WITH_IT.match(body) is not None


def _conclusion(completion: str) -> int:
    """Where the last paragraph or sentence of a completion begins."""
    text = completion.rstrip()
    paragraph = text.rfind("\n\n") + 2 if "\n\n" in text else 0
    sentence = max((m.end() for m in _SENTENCE.finditer(text, paragraph)), default=paragraph)
    return sentence


class FileOptions(BaseModel):
    """The options shared by the tasks that read files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dev: int = Field(200, ge=1, description="problems of the training file to use as the dev split")
    data_seed: int = Field(0, ge=0, description="seed of that choice")
    on_bad_row: data.OnBadRow = Field(
        "fail", description="what to do with a row that cannot be used: fail, or skip and count it"
    )


class ProseOptions(FileOptions):
    """The options of the tasks whose rationales may be in a model's own words."""

    prose: bool = Field(
        False,
        description="rationales are in the model's own words: more phrases that cite a hint are "
        "found, and in gsm8k every equation is checked, not only <<1+1=2>>",
    )


class Written(WordTask):
    """Base of the tasks that read files. A subclass defines where the rows are."""

    options: FileOptions

    @abstractmethod
    def train_rows(self) -> Iterable[data.Row]:
        """The rows of the train and dev splits."""

    @abstractmethod
    def test_rows(self) -> Iterable[data.Row]:
        """The held-out rows."""

    @abstractmethod
    def pose_row(self, row: Mapping[str, Any]) -> Problem:
        """See ``types.Task``."""

    # ------------------------------------------------------------------ problems

    @cached_property
    def _reader(self) -> data.Reader:
        return data.Reader(self.pose_row, self.options.on_bad_row)

    @cached_property
    def _train_and_dev(self) -> tuple[Sequence[Problem], Sequence[Problem]]:
        problems = self._reader.problems(self.train_rows(), "train")
        train, dev = data.cut(problems, self.options.dev, self.options.data_seed, "dev")
        if dropped := len(problems) - len(train) - len(dev):
            self._reader.skipped.append(f"{dropped} problems that ask the same as a dev problem")
        return train, dev

    @cached_property
    def _test(self) -> Sequence[Problem]:
        _ = self._train_and_dev  # so that an id in both files is noticed
        return self._reader.problems(self.test_rows(), "test")

    def problems(self, split: Split) -> Sequence[Problem]:
        """The problems of a split; the test file is read only for the test split."""
        if split == "test":
            return self._test
        return self._train_and_dev[split == "dev"]

    def skipped(self) -> Sequence[str]:
        return tuple(self._reader.skipped)

    def settings(self) -> Mapping[str, Any]:
        values = self.options.model_dump(mode="json")
        if values.get("prose") is False:  # so that the recipe of an older run stays the same
            del values["prose"]
        return values


def gold(row: Mapping[str, Any], name: str, read: Callable[[str], str] = str) -> str:
    """The right answer of a row: its ``gold`` field, or else the field ``name``.

    Raises:
        TaskError: the row has neither, or ``read`` refuses it.
    """
    return read(data.text(row, "gold" if row.get("gold") is not None else name))


def question_text(row: Mapping[str, Any], name: str) -> str:
    """The question of a row; empty if there is none, as in rows that are only graded."""
    return "" if data.value_of(row, name) is None else data.text(row, name)


def right_label(answer: str, choices: Sequence[tuple[str, str]]) -> str:
    """The label of the right choice, spelled as in the choices.

    Raises:
        TaskError: the answer is not among the choices.
    """
    if not choices:
        return answer
    found = next((k for k, _ in choices if k.casefold() == answer.strip(" ().").casefold()), None)
    if found is None:
        labels = ", ".join(label for label, _ in choices)
        raise TaskError(f"its answer {answer!r} is not among its choices {labels}")
    return found
