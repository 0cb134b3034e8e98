"""What every part of star-mlx speaks of: the paper's nouns, the protocols, the events, the errors.

Nothing here imports anything of star-mlx, nor mlx, rich or click.
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
Phase = Literal["generate", "rationalize", "train", "evaluate"]


# --------------------------------------------------------------------------- the paper's nouns


@dataclass(frozen=True, slots=True)
class Question:
    """What the model may see of a problem: never its answer.

    ``choices`` are (label, text) pairs of a multiple-choice question, in order; else empty.

    >>> Question("Which is a fruit?", (("A", "stone"), ("B", "apple"))).choices[1]
    ('B', 'apple')
    """

    text: str
    choices: tuple[tuple[str, str], ...] = ()

    def as_text(self, between: str = "\n") -> str:
        """The question and its choices, such as ``"(A) a net"``, by default one a line."""
        return between.join([self.text, *(f"({label}) {text}" for label, text in self.choices)])


@dataclass(frozen=True, slots=True)
class Problem:
    """A question with its known answer: ``(x_i, y_i)`` of the paper.

    ``group`` is the class that accuracy is reported by (for sums, the number of digits);
    ``rationale`` is a human or reference rationale where the data has one.

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
    """What the model wrote after a prompt.

    ``text`` and ``token_ids`` end before the stop string or end token; ``finish`` is ``"length"``
    where the limit on new tokens came first.

    >>> Completion("The answer is 3.", (84, 104, 101), "stop").finish
    'stop'
    """

    text: str
    token_ids: tuple[int, ...]
    finish: Finish


@dataclass(frozen=True, slots=True)
class Attempt:
    """One completion of one problem and its verdict. ``answer`` is None where none was found.

    ``rejected`` says why a right one is not trained on all the same, where the recipe asks for more
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

    @property
    def kept(self) -> bool:
        """Whether it may be trained on: it ended by itself, in the right answer."""
        return self.correct and self.finish == "stop" and not self.rejected


@dataclass(frozen=True, slots=True)
class Example:
    """A row of the training set. ``token_ids`` are the completion's, as they were generated.

    ``source`` is ``"given"`` for a rationale or answer of the data itself (the supervised
    baselines). ``iteration`` is the one it was kept in, so an older one than its training set's is
    carried over.
    ``hint_shown`` is True only for the rationalizations that ``p_show_hint_save`` asks to keep
    with their hint.

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
        """Optimizer steps for so many examples; every epoch has ``ceil(examples / batch_size)``.

        A fraction of an epoch is rounded up to whole batches.
        """
        if self.steps is not None:
            return self.steps
        per_epoch = -(-examples // batch_size)
        return max(1, math.ceil(round((self.epochs or 0.0) * per_epoch, 6)))


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training left: the adapter's folder and what it took.

    ``first_loss`` and ``last_loss`` are mean losses in nats per supervised token, over the first
    and the last tenth of the steps; ``tokens`` counts prompt and completion tokens seen;
    ``too_long`` names the examples refused for their length; ``padding`` is the share of the
    positions computed that were padding.

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

    ``verdicts`` says of each problem whether it was answered right, for paired comparisons.

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
    """One pass of the outer loop of Algorithm 1, finished.

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
    """What later iterations need of a finished one; ``star`` is resumed with these.

    Number 0, with no adapter, is the base. ``examples`` are those kept in that iteration itself,
    without any carried over.

    >>> [done.number for done in (Done(0, None), Done(1, Path("iterations/001/adapter")))]
    [0, 1]
    """

    number: int
    adapter: Path | None
    examples: tuple[Example, ...] = ()
    evaluation: Evaluation | None = None


# --------------------------------------------------------------------------- protocols


class Task(Protocol):
    """Problems, the text around them, and how an answer is read. Pure: it never sees a model.

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
        """The rows of the data read so far that cannot be used and were left out, and why."""

    def pose(self, text: str) -> Problem:
        """A question as a person types it; its answer is empty where it is not known.

        Raises ``TaskError`` where the text is no question of this task.
        """

    def pose_row(self, row: Mapping[str, Any]) -> Problem:
        """The problem of a row of data; a ``gold`` field, where there is one, is its answer.

        Raises ``TaskError`` with what is wrong with the row, without its place.
        """

    def ask(self, question: Question) -> str:
        """The prompt text of a question, without any hint."""

    def ask_hinted(self, question: Question, answer: str) -> str:
        """The prompt text with the answer given as a hint."""

    def zero_shot(self, question: Question) -> str:
        """The prompt text for a model that is shown no examples (Kojima et al. 2022)."""

    def worked(self, rationale: str | None, answer: str) -> str:
        """The completion a few-shot example shows; answer only where the rationale is None."""

    def read(self, completion: str, question: Question) -> str | None:
        """The answer a completion ends in, or None. Exceptions are bugs and propagate."""

    def equal(self, answer: str, gold: str) -> bool:
        """Whether two answers are the same value."""

    def valid_steps(self, problem: Problem, completion: str) -> bool | None:
        """Whether every step of the rationale is right; None where that cannot be checked."""

    def cites_hint(self, problem: Problem, completion: str) -> bool:
        """Whether a rationalization speaks of its hint, or only repeats it."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How to decode. ``temperature`` 0 is greedy; ``batch_size`` is rows decoded at once.

    With ``stop_repeats`` a greedy row that goes round in a circle ends there, with the finish
    ``"length"`` that it would come to.

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
    """An optimizer step that was taken: the ``step``-th, from 1, of ``steps``.

    >>> Step(1, 40, 1.9, 0.7, 1e-5, 300).loss
    1.9
    """

    step: int
    steps: int
    loss: float  # nats a token, the mean over the batch
    gradient_norm: float  # before clipping
    learning_rate: float
    tokens: int  # of the training so far, prompts included


class Engine(Protocol):
    """A language model: the base, which never changes, and adapters trained on it.

    ``star_mlx.load_model`` opens one; ``star_mlx.ScriptedEngine`` is one that is a function.

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
        """Token ids of a text as it would follow a prompt: no special tokens added."""

    def chat(self, turns: Sequence[tuple[str, str]], *, reply: bool) -> str:
        """(role, content) turns in the model's chat template.

        ``reply`` lets the text end where the assistant's next turn begins.

        Raises ``ModelError`` where the model has no chat template.
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

        ``adapter`` None is the bare base. ``seeds`` has one seed a prompt (unused when greedy).
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
        ``progress`` is called after each optimizer step.
        """

    def memory(self) -> tuple[int, int]:
        """Bytes in use now, and the most since the last call of ``peak_memory``."""

    def peak_memory(self) -> int:
        """Bytes, the most in use since the last call of this method."""


class Model(Protocol):
    """``M`` as Algorithm 1 sees it: it attempts problems and is trained, always from the base.

    A class with these methods is what ``star_mlx.star`` runs on; docs/python.md has one.

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
        """Attempt problems with an adapter, None for the base; ``hinted``: with their answers as
        hints; ``few_shot``: behind the few-shot prompt."""

    def example(
        self, problem: Problem, attempt: Attempt, *, iteration: int, show_hint: bool
    ) -> Example:
        """The row of the training set that a kept attempt makes."""

    def train(self, examples: Sequence[Example], amount: Amount, *, iteration: int) -> Trained:
        """Train a fresh adapter on the base."""

    def evaluate(
        self, adapter: Path | None, *, iteration: int, few_shot: bool
    ) -> Evaluation | None:
        """Measure an adapter on held-out problems; None if nothing is measured."""
