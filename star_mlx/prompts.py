"""Prompt files -> the prompts of generation, rationalization and training.

A prompt file is a YAML list of examples with the keys ``question``, ``rationale`` and ``answer``.
Its hinted twin is built by the task's rule, never written by hand.
"""

from __future__ import annotations

import hashlib
import random
import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from star_mlx.answers import accepted
from star_mlx.data import yaml_text
from star_mlx.data.stored import without
from star_mlx.errors import PromptError
from star_mlx.formatting import clipped
from star_mlx.types import Problem, Question, Task

_UNLIKE = ("a", "0")  # questions without a common beginning
BETWEEN = "\n\n"  # between the examples of a few-shot prompt
_PLACE = re.compile(r"\{(question|answer)\}")
Turn = tuple[str, str]  # role, content
Chat = Callable[[Sequence[Turn], bool], str]  # turns, whether a reply follows -> text


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of one task.

    ``direct`` leaves the rationales out: answers alone. ``zero_shot`` asks for them in words, not
    by example. ``chat`` formats everything with the model's chat template, with the examples as
    earlier turns, after ``system`` if it is given; without ``chat``, prompts are plain text.
    ``ask`` is a text with ``{question}`` that replaces the task's wording of a problem, and
    ``hint`` one with ``{answer}`` too that replaces its wording with the hint.
    """

    task: Task
    examples: tuple[Problem, ...]
    direct: bool = False
    zero_shot: bool = False
    chat: Chat | None = None
    system: str | None = None
    ask: str | None = None
    hint: str | None = None

    @property
    def stop(self) -> tuple[str, ...]:
        """The texts that end a completion: the task's own, and the separator of plain examples."""
        between = () if self.chat or self.zero_shot else (BETWEEN,)
        return tuple(dict.fromkeys((*self.task.stop, *between)))

    def unseen(self, problems: Sequence[Problem]) -> Sequence[Problem]:
        """The problems without the few-shot examples, which may be drawn from the data."""
        return without(problems, frozenset(shot.id for shot in self.examples))

    def few_shot(self, *, hinted: bool) -> str:
        """The few-shot prompt, ending where the next problem begins."""
        if self.chat and self.examples:
            return self.chat(self._earlier(hinted=hinted, few_shot=True), False)
        if self.chat:
            return ""
        return "".join(ask + shown + BETWEEN for ask, shown in self._shots(hinted))

    def generation(self, problem: Problem, *, hinted: bool, few_shot: bool = False) -> str:
        """The whole prompt of a problem, for a model to complete."""
        return self._prompt(self._asked(problem, hinted), hinted=hinted, few_shot=few_shot)

    def turns(self, problem: Problem, *, hinted: bool, few_shot: bool = False) -> list[Turn]:
        """The prompt of a problem as the turns of a chat, before any template; its own is last."""
        return self._turns(self._asked(problem, hinted), hinted=hinted, few_shot=few_shot)

    def batch(
        self, problems: Sequence[Problem], *, hinted: bool, few_shot: bool
    ) -> tuple[str, list[str]]:
        """The common beginning of the prompts of problems, and the rest of each.

        The beginning is the few-shot prompt. Some chat templates write the last turn of the
        examples differently when it is followed by another; for them it is what the prompts of any
        two problems have in common.
        """
        prefix = self.few_shot(hinted=hinted) if few_shot else ""
        whole = [self.generation(p, hinted=hinted, few_shot=few_shot) for p in problems]
        if not all(prompt.startswith(prefix) for prompt in whole):
            pair = [self._prompt(text, hinted=hinted, few_shot=few_shot) for text in _UNLIKE]
            prefix = _common([*pair, *whole])
        return prefix, [prompt[len(prefix) :] for prompt in whole]

    def training(self, question: Question, *, few_shot: bool) -> str:
        """The prompt of a training example.

        It gets the question alone, so it cannot contain a hint. Otherwise it is the prompt of
        generation: ``few_shot`` puts the (unhinted) few-shot prompt in front.
        """
        return self._prompt(self.asked(question), hinted=False, few_shot=few_shot)

    def training_turns(self, question: Question, *, few_shot: bool) -> list[Turn]:
        """The prompt of a training example as the turns of a chat, before any template."""
        return self._turns(self.asked(question), hinted=False, few_shot=few_shot)

    def completion(self, rationale: str | None, answer: str) -> str:
        """The completion to train on for a rationale and answer from the data."""
        text = self.task.worked(rationale, answer)
        return text.strip() if self.chat else text

    def digest(self) -> str:
        """SHA-256 of both few-shot prompts, and of the wording if it is not the task's."""
        text = self.few_shot(hinted=False) + "\0" + self.few_shot(hinted=True)
        if self.chat:
            text += "\0" + self.chat(self._turns("", hinted=False, few_shot=False), True)
        if self.ask is not None or self.hint is not None:
            text += f"\0{self.ask!r}\0{self.hint!r}"
        return hashlib.sha256(text.encode()).hexdigest()

    def asked(self, question: Question) -> str:
        """The text that asks a question, without a hint, examples or a template."""
        if self.ask is not None:
            return _filled(self.ask, question.as_text())
        return (self.task.zero_shot if self.zero_shot else self.task.ask)(question)

    def _prompt(self, asked: str, *, hinted: bool, few_shot: bool) -> str:
        if self.chat:
            return self.chat(self._turns(asked, hinted=hinted, few_shot=few_shot), True)
        return (self.few_shot(hinted=hinted) if few_shot else "") + asked

    def _asked(self, problem: Problem, hinted: bool) -> str:
        if not hinted:
            return self.asked(problem.question)
        text, answer = problem.question.as_text(), accepted(problem.answer)[0]
        if self.hint is not None:
            return _filled(self.hint, text, answer)
        if self.ask is not None:
            return _filled(self.ask, f"{text} ({answer})")
        asked = self.task.ask_hinted(problem.question, problem.answer)
        if self.zero_shot:  # in the same words, if they are added to the question
            plain, words = self.task.ask(problem.question), self.asked(problem.question)
            asked += words.removeprefix(plain) if words.startswith(plain) else ""
        return asked

    def _shots(self, hinted: bool) -> list[tuple[str, str]]:
        """The prompt and the completion of each example."""
        return [
            (
                self._asked(shot, hinted),
                self.task.worked(None if self.direct else shot.rationale, shot.answer),
            )
            for shot in self.examples
        ]

    def _turns(self, asked: str, *, hinted: bool, few_shot: bool) -> list[Turn]:
        return [*self._earlier(hinted=hinted, few_shot=few_shot), ("user", asked.strip())]

    def _earlier(self, *, hinted: bool, few_shot: bool) -> list[Turn]:
        """The turns before the question's: the system message, and the examples if wanted."""
        turns = [] if self.system is None else [("system", self.system)]
        for asked, shown in self._shots(hinted) if few_shot else ():
            turns += [("user", asked.strip()), ("assistant", shown.strip())]
        return turns


def drawn(task: Task, k: int, seed: int, *, direct: bool = False) -> Prompts:
    """Prompts with ``k`` examples drawn from the task's training problems.

    Raises:
        PromptError: fewer than ``k`` have a rationale from which their own answer is read.
    """
    problems = task.problems("train")
    order = array("q", range(len(problems)))
    random.Random(f"prompts/{seed}").shuffle(order)
    shots: list[Problem] = []
    for problem in (problems[number] for number in order):
        if len(shots) == k:
            break
        if direct or (problem.rationale is not None and _shows(task, problem)):
            shots.append(problem)
    if len(shots) < k:
        raise PromptError(
            f"prompts.k={k}: only {len(shots)} of {len(order)} training problems have a rationale "
            f"that ends in their answer: write {k} examples in a file and give it as prompts.file"
        )
    return Prompts(task, tuple(shots), direct)


def given(task: Task, shots: Sequence[Problem], *, direct: bool = False) -> Prompts:
    """Prompts with the task's own examples.

    Raises:
        PromptError: an example without a rationale, or whose text does not end in its own answer.
    """
    for number, shot in enumerate(shots, 1):
        where = f"few-shot example {number} of the task {task.name}"
        if shot.rationale is None:
            raise PromptError(f"{where} lacks its rationale")
        if wrong := _misread(task, shot):
            raise PromptError(f"{where}: its text reads as {wrong}, not as its {shot.answer!r}")
    return Prompts(task, tuple(shots), direct)


def load(path: Path, task: Task, *, direct: bool = False) -> Prompts:
    """Read and check a prompt file.

    Raises:
        PromptError: no such file, not YAML, empty, an example without one of its parts, or one
            whose text does not end in its own answer as the task reads it.
    """
    try:
        data, _ = yaml_text.load(yaml_text.text_of(path), _Loader)
    except OSError as error:
        raise PromptError(f"prompt file {path}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PromptError(f"prompt file {path} is not YAML: {_one_line(error)}") from None
    if not data:
        raise PromptError(f"prompt file {path} is empty: give a list of question/rationale/answer")
    if not isinstance(data, list):
        raise PromptError(f"prompt file {path}: give a list of examples, not {type(data).__name__}")
    shots = tuple(_shot(path, number, item, task) for number, item in enumerate(data, 1))
    return Prompts(task, shots, direct)


def example(number: int, values: Mapping[str, Any]) -> Problem:
    """The example of the ``number``-th entry of a prompt file."""
    choices = tuple((str(k), str(v)) for k, v in dict(values.get("choices") or {}).items())
    rationale = values.get("rationale")
    return Problem(
        f"example-{number}",
        Question(str(values["question"]), choices),
        str(values["answer"]),
        rationale=None if rationale is None else str(rationale),
    )


def dump(shots: Sequence[Problem], *, blank: bool = False) -> str:
    """Write examples as a prompt file; ``blank`` leaves the rationales to be filled in."""
    entries = [_values(shot, blank) for shot in shots]
    text = yaml.dump(entries, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    if yaml.safe_load(text) != entries:  # YAML reads some line breaks of Unicode as newlines
        text = yaml.dump(entries, Dumper=_Dumper, sort_keys=False)
    return text


def _values(shot: Problem, blank: bool) -> dict[str, Any]:
    values: dict[str, Any] = {"question": shot.question.text}
    if shot.question.choices:
        values["choices"] = dict(shot.question.choices)
    if blank or shot.rationale is not None:
        values["rationale"] = None if blank else shot.rationale
    return {**values, "answer": shot.answer}


class _Loader(yaml_text.Loader):
    """YAML in which ``answer: yes`` is the text that it is written as."""


_Loader.add_constructor("tag:yaml.org,2002:bool", lambda _, node: node.value)


class _Dumper(yaml.SafeDumper):
    """Writes None as nothing, so that a user can fill it in."""


_Dumper.add_representer(
    type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "")
)


def _shot(path: Path, number: int, item: object, task: Task) -> Problem:
    where = f"prompt file {path}, example {number}"
    if not isinstance(item, dict):
        raise PromptError(
            f"{where}: give question, rationale and answer, not {clipped(repr(item))}"
        )
    parts = {}
    for part in ("question", "rationale", "answer"):
        value = item.get(part)
        if value is None or not str(value).strip():
            raise PromptError(f"{where} lacks its {part}")
        parts[part] = str(value).strip("\n")
    if unknown := set(item) - {*parts, "choices"}:
        raise PromptError(f"{where} has an unknown part {clipped(sorted(map(str, unknown))[0])!r}")
    shot = example(number, {**item, **parts})
    if wrong := _misread(task, shot):
        answer = clipped(repr(shot.answer))
        raise PromptError(
            f"{where}: its text reads as {clipped(wrong)}, not as its answer {answer}"
        )
    return shot


def _shows(task: Task, problem: Problem) -> bool:
    """Whether a problem can be an example: its rationale ends in its answer and contains no empty
    line, which would end a completion."""
    text = task.worked(problem.rationale, problem.answer)
    return BETWEEN not in text and _misread(task, problem) is None


def _misread(task: Task, shot: Problem) -> str | None:
    """The answer read from an example's text if it is not its own; else None."""
    read = task.read(task.worked(shot.rationale, shot.answer), shot.question)
    return None if read is not None and task.equal(read, shot.answer) else repr(read)


def _filled(wording: str, question: str, answer: str = "") -> str:
    """A wording with its places filled, all at once: those inside a question are left alone."""
    parts = {"question": question, "answer": answer}
    return _PLACE.sub(lambda found: parts[found[1]], wording)


def _common(texts: Sequence[str]) -> str:
    """The common beginning of texts: that of the first and the last of them in order."""
    first, last = min(texts), max(texts)
    n = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:n]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
