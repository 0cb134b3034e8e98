"""A run folder as an object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from star_mlx import engine as engines
from star_mlx.api.results import Answer, Measurement
from star_mlx.api.shown import shown
from star_mlx.errors import ModelError, RecipeError, RunError
from star_mlx.events import Emit, Event, Notice, RunStarted
from star_mlx.export import Exported, Format
from star_mlx.export import export as write_export
from star_mlx.recipe import opening
from star_mlx.run import evaluate as measuring
from star_mlx.run import loop
from star_mlx.settings import Recipe
from star_mlx.store import files, ledger, names, reading, which
from star_mlx.store.metrics import Metrics
from star_mlx.tasks import own
from star_mlx.types import Attempt, Engine, Example, Split, Task

if TYPE_CHECKING:
    from star_mlx.store.ledger import Ledger


class Run:
    """A run folder: its metrics, its model, and the operations on both.

    ``train`` and ``open_run`` make one. All state is in the folder, so a run that another process
    drives can be inspected. In a notebook it is shown as the table of its iterations, in a
    terminal as text. The base stays open after its first use.

    >>> import star_mlx as sx
    >>> run = sx.open_run("runs/first")
    >>> run.best, run.last, run.metrics[0].dev.n
    (0, 1, 10)
    >>> run.recipe.star.iterations
    1
    """

    def __init__(
        self, path: Path, tasks: Sequence[Task | str] = (), engine: Engine | None = None
    ) -> None:
        self.path = path
        self._tasks, self._engine = tasks, engine
        self._read: tuple[object, reading.RunRecord] | None = None

    # ------------------------------------------------------------------ what is in it

    @property
    def recipe(self) -> Recipe:
        """The settings that the run was made with."""
        return opening.resume_recipe(self.path)

    @property
    def metrics(self) -> list[Metrics]:
        """The metrics of the finished iterations, starting with 0, the base.

        >>> import star_mlx as sx
        >>> [(it.iteration, it.solved, it.dev.n) for it in sx.open_run("runs/first").metrics]
        [(0, None, 10), (1, 0, 10)]
        """
        return list(self._record().metrics)

    @property
    def best(self) -> int:
        """The iteration with the highest dev accuracy, the earliest of equals; 0 is the base."""
        return self._record().best

    @property
    def last(self) -> int:
        """The last finished iteration."""
        return self._record().last

    def number(self, iteration: int | str) -> int:
        """The number of the iteration ``best``, ``last``, or with this number.

        Raises:
            RunError: the run has no such iteration.
        """
        return which.number(self._record(), str(iteration))

    def attempts(self, iteration: int | str, *, hinted: bool | None = None) -> Iterator[Attempt]:
        """The attempts of an iteration at its problems, in order.

        Args:
            iteration: a number from 1, ``best`` or ``last``.
            hinted: True for the rationalizations only, False for the others; None for both.

        Raises:
            RunError: the run has no such iteration, or its file is damaged.

        >>> import star_mlx as sx
        >>> attempts = list(sx.open_run("runs/first").attempts(1, hinted=True))
        >>> len(attempts), all(attempt.kept for attempt in attempts)
        (20, True)
        """
        number = self._with(names.ATTEMPTS, iteration)
        blocks = self._record().rows(number, names.ATTEMPTS, Attempt)
        made = (attempt for block in blocks for attempt in block)
        return (attempt for attempt in made if hinted in (None, attempt.hinted))

    def examples(self, iteration: int | str) -> tuple[Example, ...]:
        """The training set of an iteration, including examples carried over from earlier ones.

        >>> import star_mlx as sx
        >>> sx.open_run("runs/first").examples(1)[0].source
        'rationalized'
        """
        return tuple(self._record().examples(self._with(names.EXAMPLES, iteration)))

    def ledger(self) -> Ledger:
        """The ledger of problems: solved directly, only with a hint, or never.

        >>> import star_mlx as sx
        >>> sx.open_run("runs/first").ledger().totals()
        {'problems': 20, 'direct': 0, 'hinted_only': 20, 'never': 0}
        """
        return ledger.read(self.path)

    # ------------------------------------------------------------------ its model

    def ask(self, question: str, *, iteration: int | str = "last") -> Answer:
        """Ask the model of an iteration a question.

        Args:
            question: as a user types it, such as ``"7 8 + 4 5"``.
            iteration: a number (0 is the base), ``best`` or ``last``.

        Raises:
            TaskError: the text is not a question of the run's task.

        >>> import star_mlx as sx
        >>> engine = sx.ScriptedEngine(lambda asked: "1 2 3")
        >>> sx.open_run("runs/first", engine=engine).ask("7 8 + 4 5").correct
        True
        """
        number = self.number(iteration)
        with self._offered():
            return Answer(**loop.ask(self.path, question, iteration=number, engine=self._base()))

    def evaluate(
        self,
        iteration: int | str = "best",
        *,
        split: Split = "dev",
        against: Sequence[Run | int | str | Path] = (),
        samples: int = 1,
        temperature: float | None = None,
        limit: int | None = None,
        on_event: Emit | None = None,
        progress: bool | None = None,
    ) -> Measurement:
        """Measure the model of an iteration on a split, and compare it problem by problem.

        Earlier measurements are reused. The result is also kept as a file in the run's
        ``results/``.

        Args:
            iteration: a number, ``best``, ``last``, ``few-shot`` (the base) or ``zero-shot``.
            split: ``dev``, ``test`` or ``train``. Use the test split once, after all choices are
                made.
            against: models to compare with: values of ``iteration``, the baselines ``direct``,
                ``sft`` and ``rft``, or other runs.
            samples: attempts per problem, for pass@k and maj@k; more than 1 needs a
                ``temperature``.
            temperature: by default the recipe's ``evaluate.temperature``.
            limit: use only the first ``limit`` problems.
            on_event, progress: as for ``train``.

        >>> import star_mlx as sx
        >>> engine = sx.ScriptedEngine(lambda asked: "1 2 3")
        >>> run = sx.open_run("runs/first", engine=engine)
        >>> run.evaluate("last", split="test", limit=5, progress=False).n
        5
        """
        if samples > 1 and not temperature:
            raise RecipeError(
                f"{samples} samples at temperature 0 are all the same: give temperature=0.7"
            )
        how = measuring.How(split, samples, temperature, limit)
        measuring.which(self._record(), str(iteration))
        others = [run for run in against if isinstance(run, Run)]
        offered = (task for run in (self, *others) for task in run._tasks)
        with own.offered(*offered), shown(on_event, progress, brief=True) as emit:
            opening.open_task(self.recipe)  # what is wrong with it is said before a model is opened
            result, file = measuring.evaluate_run(
                self.path, str(iteration), how=how, against=[*map(folder_of, against)], emit=emit,
                engine=self._base(),
            )  # fmt: skip
        return Measurement(result, file)

    def resume(
        self,
        *,
        on_event: Emit | None = None,
        progress: bool | None = None,
        track: Sequence[str] = (),
    ) -> Run:
        """Resume an interrupted run; a finished one is left as it is.

        The arguments are those of ``train``.

        >>> import star_mlx as sx
        >>> engine = sx.ScriptedEngine(lambda asked: "")
        >>> sx.open_run("runs/first", engine=engine).resume(progress=False).last
        1
        """
        with self._offered():
            return self._loop(self.recipe, on_event, progress, track)

    # ------------------------------------------------------------------ passing it on

    def report(
        self, out: str | Path | None = None, *, beside: Sequence[Run | str | Path] = ()
    ) -> Path:
        """Write a report of the run, a page that needs no network, and return its path.

        Args:
            out: a file that ends in ``.html``, or a folder, which gets the charts as files too; by
                default ``report/`` in the run.
            beside: other runs to show in the same report, or summaries of runs.

        Raises:
            RunError: matplotlib is not installed, or ``out`` exists and is not a report.

        >>> import star_mlx as sx
        >>> print(sx.open_run("runs/first").report("first.html"))
        first.html
        """
        from star_mlx.report import write_report

        runs = [self.path, *(Path(folder_of(run)) for run in beside)]
        out = Path(out) if out is not None else write_report.folder(runs)
        now = datetime.now(timezone.utc)
        with self._offered():
            if out.suffix == ".html":
                return write_report.write_page(runs, out, now)
            return write_report.write(runs, out, now).files[0]

    def export(
        self, format: Format, out: str | Path, *, iteration: int | str = "best", **options: Any
    ) -> Exported:
        """Write the model of an iteration for other programs.

        Args:
            format: ``mlx``, ``peft``, ``fused``, ``gguf`` or ``gguf-lora``.
            out: a new folder.
            iteration: a number, ``best`` or ``last``.
            options: those of ``star_mlx.export.export``, such as ``quantize=4``.

        Raises:
            StarError: the format does not support the adapter, or the folder cannot be written.
        """
        with self._offered():
            return write_export(self.path, str(iteration), format, Path(out), **options)

    # ------------------------------------------------------------------ how it looks

    def __repr__(self) -> str:
        from star_mlx import tui

        return tui.as_text(*self._summary())

    def _repr_html_(self) -> str:
        from star_mlx import tui

        return tui.as_html(*self._summary())

    def _summary(self) -> tuple[str, list[Metrics], list[str]]:
        record = self._record()
        task, model = record.recipe.get("task", {}), record.recipe.get("model", {})
        seed = record.recipe.get("seed")
        title = f"{self.path}: {task.get('name')}, {model.get('path')}, seed {seed}"
        return title, record.metrics, [] if record.metrics else ["no iteration is finished yet"]

    # ------------------------------------------------------------------ private

    def _record(self) -> reading.RunRecord:
        """The recipe and the metrics, read again if metrics.jsonl has changed."""
        try:
            stat = (self.path / names.METRICS).stat()
            state: object = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except OSError:
            state = None
        if self._read is None or state is None or self._read[0] != state:
            self._read = state, reading.read(self.path)
        return self._read[1]

    def _with(self, name: str, iteration: int | str) -> int:
        """The number of an iteration that has a file of that name."""
        number = self.number(iteration)
        file = names.iteration(self.path, number) / name
        if not file.is_file():
            raise RunError(f"{file} does not exist: iteration {number} has no {file.stem}")
        return number

    def _base(self) -> Engine:
        """The base of the run, opened once.

        Raises:
            ModelError: the given engine has another base.
        """
        made = self._record().provenance.get("base", {})
        if self._engine is None:
            self._engine = engines.open_base(self.recipe)
        elif self._engine.describe()["hash"] != made.get("hash"):
            name = self._engine.describe()["name"]
            raise ModelError(
                f"{self.path} was made with the base {made.get('name')}, but the given engine has "
                f"{name}: leave engine out to open the right one"
            )
        return self._engine

    def _offered(self) -> AbstractContextManager[None]:
        return own.offered(*self._tasks)

    def _loop(
        self, recipe: Recipe, on_event: Emit | None, progress: bool | None, track: Sequence[str]
    ) -> Run:
        """Run a recipe in this folder, from its beginning or from where it stopped."""
        from star_mlx import trackers

        stopped = f"stopped; resume with: star_mlx.open_run({str(self.path)!r}).resume()"
        with (
            shown(on_event, progress, stopped=stopped) as emit,
            trackers.open_trackers(trackers.chosen(track), self.path, emit) as told,
        ):
            self._engine = loop.run(recipe, self.path, self._keeping(told), engine=self._engine)
        return self

    def _keeping(self, emit: Emit) -> Emit:
        """``emit``, extended to keep the source of a task that no other process can import."""
        objects = [type(task) for task in self._tasks if not isinstance(task, str)]
        sources = [own.source(cls) for cls in objects if not own.importable(cls)]

        def keep(event: Event) -> None:
            emit(event)
            if isinstance(event, RunStarted):
                for source in filter(None, sources):
                    self._keep_source(source, emit)

        return keep

    def _keep_source(self, source: str, emit: Emit) -> None:
        file = self.path / own.SOURCE
        if not file.exists():
            files.replace(file, source.encode())
        elif file.read_text(encoding="utf-8") != source:
            emit(Notice("warning", f"the class of the task has changed since {file} was written"))


def folder_of(run: Run | int | str | Path) -> str:
    """A run's folder as text; anything else as it was given."""
    return str(run.path if isinstance(run, Run) else run)
