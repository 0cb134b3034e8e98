"""Prompt files -> the prompts of generation, rationalization and training.

A prompt file is a YAML list of examples with the keys ``question``, ``rationale`` and ``answer``.
Its hinted twin is built by the task's rule, never written by hand.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import yaml

from star_mlx.types import Problem, PromptError, Question, Task

BETWEEN = "\n\n"  # between the examples of a few-shot prompt


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of one task. ``direct`` leaves the rationales out: answers alone."""

    task: Task
    examples: tuple[Problem, ...]
    direct: bool = False

    def few_shot(self, *, hinted: bool) -> str:
        """The few-shot prompt, ending where the next problem begins."""
        parts = []
        for shot in self.examples:
            rationale = None if self.direct else shot.rationale
            ask = self._hinted(shot) if hinted else self.task.ask(shot.question)
            parts.append(ask + self.task.worked(rationale, shot.answer) + BETWEEN)
        return "".join(parts)

    def generation(self, problem: Problem, *, hinted: bool) -> str:
        """What the model completes, after the few-shot prompt."""
        return self._hinted(problem) if hinted else self.task.ask(problem.question)

    def training(self, question: Question, *, few_shot: bool) -> str:
        """The prompt of a training example.

        It is given the question alone, so no hint can be in it.
        ``few_shot`` puts the (unhinted) few-shot prompt in front, as at generation.
        """
        return (self.few_shot(hinted=False) if few_shot else "") + self.task.ask(question)

    def _hinted(self, problem: Problem) -> str:
        return self.task.ask_hinted(problem.question, problem.answer)

    def digest(self) -> str:
        """SHA-256 of both few-shot prompts."""
        text = self.few_shot(hinted=False) + "\0" + self.few_shot(hinted=True)
        return hashlib.sha256(text.encode()).hexdigest()


def load(path: Path, task: Task, *, direct: bool = False) -> Prompts:
    """Read and check a prompt file.

    Raises:
        PromptError: no such file, not YAML, empty, an example without one of its parts, or one
            whose text does not end in its own answer as the task reads it.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
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


def _shot(path: Path, number: int, item: object, task: Task) -> Problem:
    where = f"prompt file {path}, example {number}"
    if not isinstance(item, dict):
        raise PromptError(f"{where}: give question, rationale and answer, not {item!r}")
    parts = {}
    for part in ("question", "rationale", "answer"):
        value = item.get(part)
        if value is None or not str(value).strip():
            raise PromptError(f"{where} lacks its {part}")
        parts[part] = str(value).strip("\n")
    if unknown := set(item) - {*parts, "choices"}:
        raise PromptError(f"{where} has an unknown part {sorted(map(str, unknown))[0]!r}")
    choices = tuple((str(k), str(v)) for k, v in dict(item.get("choices") or {}).items())
    question = Question(parts["question"], choices)
    shot = Problem(f"example-{number}", question, parts["answer"], "", parts["rationale"])
    read = task.read(task.worked(shot.rationale, shot.answer))
    if read is None or not task.equal(read, shot.answer):
        raise PromptError(f"{where}: its text reads as {read!r}, not as its answer {shot.answer!r}")
    return shot


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
