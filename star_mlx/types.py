"""The types that every part of star-mlx uses: the paper's nouns and the protocols.

Imports nothing from star-mlx, and no mlx, rich or click.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from star_mlx.settings import Train

Split = Literal["train", "dev", "test"]
Finish = Literal["stop", "length"]
Source = Literal["direct", "rationalized", "given"]
Phase = Literal["augment", "generate", "rationalize", "train", "evaluate"]


# --------------------------------------------------------------------------- the paper's nouns


@dataclass(frozen=True, slots=True)
class Question:
    """The part of a problem that the model may see, without its answer.

    ``choices`` are (label, text) pairs of a multiple-choice question, in order; else empty.

    >>> Question("Which is a fruit?", (("A", "stone"), ("B", "apple"))).choices[1]
    ('B', 'apple')
    """

    text: str
    choices: tuple[tuple[str, str], ...] = ()

    def as_text(self, between: str = "\n") -> str:
        """The question and its choices, such as ``"(A) a net"``, by default one per line."""
        return between.join([self.text, *(f"({label}) {text}" for label, text in self.choices)])


@dataclass(frozen=True, slots=True)
class Problem:
    """A question with its known answer: ``(x_i, y_i)`` of the paper.

    ``answer`` may be several right ones, see ``answers.accepted``;
    ``group`` is the class by which accuracy is reported (for sums, the number of digits);
    ``rationale`` is a human or reference rationale, if the data has one.

    >>> Problem("p1", Question("Half of 6?"), "3", rationale="3 + 3 = 6.").group
    ''
    """

    id: str
    question: Question
    answer: str
    group: str = ""
    rationale: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """The model's text after a prompt.

    ``text`` and ``token_ids`` end before the stop string or end token; ``finish`` is ``"length"``
    if the limit on new tokens was reached first.

    >>> Completion("The answer is 3.", (84, 104, 101), "stop").finish
    'stop'
    """

    text: str
    token_ids: tuple[int, ...]
    finish: Finish


@dataclass(frozen=True, slots=True)
class Attempt:
    """One completion of one problem and its verdict. ``answer`` is None if none was found.

    ``undecided`` is the reason why an answer could be called neither right nor wrong. It counts as
    not right, and is never trained on; else it is empty.
    ``rejected`` is the reason why a right attempt is not trained on, if the recipe requires more
    than a right answer; else it is empty.

    >>> cut_off = Attempt("p1", False, "3 + 3 = 6. The answer is 3", "3", True, "length", (51, 43))
    >>> cut_off.correct, cut_off.kept
    (True, False)
    """

    id: str
    hinted: bool
    completion: str
    answer: str | None
    correct: bool
    finish: Finish
    token_ids: tuple[int, ...]
    rejected: str = ""
    undecided: str = ""

    @property
    def kept(self) -> bool:
        """Whether it may be trained on: it finished, with the right answer, and is not rejected."""
        return self.correct and self.finish == "stop" and not self.rejected


@dataclass(frozen=True, slots=True)
class Example:
    """A row of the training set. ``token_ids`` are the completion's, as they were generated.

    ``source`` is ``"given"`` for a rationale or answer of the data itself (the supervised
    baselines). ``iteration`` is the one in which it was kept; if that is earlier than the training
    set's, the example is carried over.
    ``hint_shown`` is True only for the rationalizations chosen by ``p_show_hint_save`` to keep
    their hint.

    >>> Example("p1", "Q: Half of 6?\\nA:", " 3.", "direct", (32, 51), iteration=1).hint_shown
    False
    """

    id: str
    prompt: str
    completion: str
    source: Source
    token_ids: tuple[int, ...]
    iteration: int
    hint_shown: bool = False


@dataclass(frozen=True, slots=True)
class Amount:
    """How long to train: a number of optimizer steps, or of passes over the examples.

    >>> Amount(epochs=2).steps_for(examples=10, batch_size=4)
    6
    """

    steps: int | None = None
    epochs: float | None = None

    def steps_for(self, examples: int, batch_size: int) -> int:
        """The number of optimizer steps; an epoch has ``ceil(examples / batch_size)``.

        A fraction of an epoch is rounded up to whole batches.
        """
        if self.steps is not None:
            return self.steps
        per_epoch = -(-examples // batch_size)
        return max(1, math.ceil(round((self.epochs or 0.0) * per_epoch, 6)))


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of a training: the adapter's folder, and the steps, tokens and losses.

    ``first_loss`` and ``last_loss`` are mean losses in nats per supervised token, over the first
    and the last tenth of the steps; ``tokens`` counts prompt and completion tokens seen;
    ``too_long`` names the examples left out for their length; ``padding`` is the share of padding
    in the computed positions.

    >>> Trained(Path("adapter"), 40, 2.0, 12_000, 1.9, 0.3, 8.5).last_loss
    0.3
    """

    adapter: Path
    steps: int
    epochs: float
    tokens: int
    first_loss: float
    last_loss: float
    seconds: float
    too_long: tuple[str, ...] = ()
    padding: float = 0.0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Accuracy on held-out problems: counts, by class, never a bare number.

    ``verdicts`` says for each problem whether its answer was right, for paired comparisons.

    >>> Evaluation("dev", 10, 7, {"": (10, 7)}).accuracy
    0.7
    """

    split: Split
    n: int
    correct: int
    by_class: Mapping[str, tuple[int, int]]  # class -> (n, correct)
    verdicts: Mapping[str, bool] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        return self.correct / self.n if self.n else 0.0


@dataclass(frozen=True, slots=True)
class Iteration:
    """A finished pass of the outer loop of Algorithm 1.

    >>> trained = Trained(Path("adapter"), 40, 2.0, 12_000, 1.9, 0.3, 8.5)
    >>> Iteration(1, (), (), (), (), trained, None).teacher
    0
    """

    number: int
    problems: tuple[Problem, ...]
    direct: tuple[Attempt, ...]
    hinted: tuple[Attempt, ...]
    examples: tuple[Example, ...]
    trained: Trained
    evaluation: Evaluation | None
    teacher: int = 0  # the iteration whose model generated; 0 is the base


@dataclass(frozen=True, slots=True)
class Done:
    """The part of a finished iteration that later ones need; ``star`` is resumed with these.

    Number 0, with no adapter, is the base. ``examples`` are those kept in that iteration itself,
    without those carried over.

    >>> [done.number for done in (Done(0, None), Done(1, Path("iterations/001/adapter")))]
    [0, 1]
    """

    number: int
    adapter: Path | None
    examples: tuple[Example, ...] = ()
    evaluation: Evaluation | None = None


# --------------------------------------------------------------------------- protocols


class Task(Protocol):
    """Problems, the text of their prompts, and how an answer is read. It never sees a model.

    A class with these methods is a task; ``star_mlx.SimpleTask`` has all but ``problems``.

    >>> import star_mlx as sx
    >>> task = sx.load_task("arithmetic")
    >>> task.equal("1 2 3", "123")
    True
    """

    name: str
    stop: tuple[str, ...]
    classes: str  # what a problem's ``group`` is, such as "number of digits"; empty for none

    def settings(self) -> Mapping[str, Any]:
        """Every option with its value, defaults included, as plain data."""

    def problems(self, split: Split) -> Sequence[Problem]:
        """The problems of a split; the three splits share none."""

    def training(self, evaluations: Sequence[Evaluation | None]) -> Sequence[Problem]:
        """The problems to draw the next iteration from, given the dev accuracies so far."""

    def skipped(self) -> Sequence[str]:
        """The unusable rows that were left out of the data read so far, each with the reason."""

    def pose(self, text: str) -> Problem:
        """A question as a user types it; its answer is empty if it is not known.

        Raises ``TaskError`` if the text is not a question of this task.
        """

    def pose_row(self, row: Mapping[str, Any]) -> Problem:
        """The problem of a row of data; a ``gold`` field, if there is one, is its answer.

        Raises ``TaskError`` saying what is wrong with the row, but not which row it is.
        """

    def ask(self, question: Question) -> str:
        """The prompt text of a question, without any hint."""

    def ask_hinted(self, question: Question, answer: str) -> str:
        """The prompt text with the answer given as a hint."""

    def zero_shot(self, question: Question) -> str:
        """The prompt text for a model that gets no examples (Kojima et al. 2022)."""

    def worked(self, rationale: str | None, answer: str) -> str:
        """The completion shown by a few-shot example; the answer alone if the rationale is None."""

    def read(self, completion: str, question: Question) -> str | None:
        """The answer a completion ends in, or None. The loop leaves out what a model thinks before
        it answers, see ``answers.thinking``. Exceptions are bugs and propagate."""

    def equal(self, answer: str, gold: str) -> bool:
        """Whether two answers are the same value."""

    def valid_steps(self, problem: Problem, completion: str) -> bool | None:
        """Whether every step of the rationale is right; None if that cannot be checked."""

    def cites_hint(self, problem: Problem, completion: str) -> bool:
        """Whether a rationalization mentions its hint, or only repeats it."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How to decode. ``temperature`` 0 is greedy; ``batch_size`` is the rows decoded at once.

    With ``stop_repeats``, a greedy row that starts to repeat itself ends there, with the finish
    ``"length"`` that it would end with.

    >>> Decoding(max_tokens=64, stop=("\\n\\n",)).temperature
    0.0
    """

    max_tokens: int
    stop: tuple[str, ...]
    temperature: float = 0.0
    top_p: float = 1.0
    batch_size: int = 32
    stop_repeats: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A completed optimizer step: number ``step``, counted from 1, of ``steps``.

    >>> Step(1, 40, 1.9, 0.7, 1e-5, 300).loss
    1.9
    """

    step: int
    steps: int
    loss: float  # nats per token, the mean over the batch
    gradient_norm: float  # before clipping
    learning_rate: float
    tokens: int  # of the training so far, prompts included
    seconds: float = 0.0  # of the training so far, if it was timed; not in a run's rows


class Engine(Protocol):
    """A language model: the base, which never changes, and adapters trained on it.

    ``star_mlx.load_model`` opens one; ``star_mlx.ScriptedEngine`` makes one from a function.

    >>> import star_mlx as sx
    >>> engine = sx.ScriptedEngine(lambda asked: "3")
    >>> decoding = sx.Decoding(max_tokens=8, stop=())
    >>> nothing = lambda done, tokens: None
    >>> engine.generate(
    ...     ["Half of 6?"], decoding, prefix="", adapter=None, seeds=[0], progress=nothing
    ... )[0].text
    '3'
    """

    def describe(self) -> Mapping[str, Any]:
        """Name, device, bits, parameters, context length and content hash of the base."""

    def encode(self, text: str) -> list[int]:
        """The token ids of a text that follows a prompt: no special tokens are added."""

    def chat(
        self,
        turns: Sequence[tuple[str, str]],
        *,
        reply: bool,
        template: Mapping[str, Any] = {},
        date: str | None = None,
    ) -> str:
        """Format (role, content) turns with the model's chat template.

        With ``reply`` the text ends where the assistant's next turn begins. ``template`` are
        arguments of the template, such as ``enable_thinking``; ``date`` (year-month-day) is the day
        that it takes for today, by default the real one. Either is left out if it is not set.

        Raises ``ModelError`` if the model has no chat template.
        """

    def generate(
        self,
        prompts: Sequence[str],
        decoding: Decoding,
        *,
        prefix: str,
        adapter: Path | None,
        seeds: Sequence[int],
        progress: Callable[[int, int], None],
    ) -> list[Completion]:
        """Complete every prompt (``prefix + prompts[i]``), in order, none dropped.

        ``adapter`` None is the bare base. ``seeds`` has one seed per prompt (unused when greedy).
        ``progress(done, tokens)`` is called with the finished rows and the tokens generated so far.
        """

    def train(
        self,
        examples: Sequence[Example],
        settings: Train,
        amount: Amount,
        *,
        seed: int,
        out: Path,
        progress: Callable[[Step], None],
    ) -> Trained:
        """Train a fresh adapter on the base and write it to the folder ``out``.

        There is no parameter for a starting adapter: every adapter starts at the base.
        ``progress`` is called after each optimizer step. A training that was stopped may have left
        its state in ``out``; one with the same arguments goes on from there, and first reports the
        steps that were taken before.
        """

    def memory(self) -> tuple[int, int]:
        """Bytes in use now, and the peak since the last call of ``peak_memory``."""

    def peak_memory(self) -> int:
        """The peak of bytes in use since the last call of this method."""


class Model(Protocol):
    """``M`` as Algorithm 1 sees it: it attempts problems and is trained, always from the base.

    ``star_mlx.star`` runs on any class with these methods; docs/python.md has an example.

    >>> sorted(name for name in vars(Model) if not name.startswith("_"))
    ['attempt', 'evaluate', 'example', 'train']
    """

    def attempt(
        self,
        problems: Sequence[Problem],
        adapter: Path | None,
        *,
        iteration: int,
        hinted: bool,
        few_shot: bool,
    ) -> list[Attempt]:
        """Attempt problems with an adapter, or with the base if it is None. ``hinted`` gives the
        answers as hints; ``few_shot`` puts the few-shot prompt before each problem."""

    def example(
        self, problem: Problem, attempt: Attempt, *, iteration: int, show_hint: bool
    ) -> Example:
        """Make the row of the training set from a kept attempt."""

    def train(self, examples: Sequence[Example], amount: Amount, *, iteration: int) -> Trained:
        """Train a fresh adapter on the base."""

    def evaluate(
        self, adapter: Path | None, *, iteration: int, few_shot: bool
    ) -> Evaluation | None:
        """Measure an adapter on held-out problems; None if nothing is measured."""
