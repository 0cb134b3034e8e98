"""A run on several ranks: the engine of rank 0, which shares work out, and the work of the others.

Only rank 0 has the task, the prompts and the run folder. The others have the base and get plain
data: the recipe, the prompts of a chunk, the rows of a training, the files of an adapter.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from star_mlx.distributed.adapters import Received
from star_mlx.distributed.crew import Crew
from star_mlx.distributed.member import Member
from star_mlx.distributed.messages import (
    AdapterFile,
    BaseOpened,
    Complete,
    Completed,
    Failed,
    Learn,
    Learned,
    Open,
    TrainingRows,
)
from star_mlx.distributed.wire import Gone
from star_mlx.errors import NothingKept, RankError, StarError, TrainingDiverged
from star_mlx.events import Emit, Notice, RanksSeen
from star_mlx.recipe.asking import ChunkWork
from star_mlx.run.completing import Progressing, complete
from star_mlx.settings import Recipe, Train
from star_mlx.types import Amount, Completion, Decoding, Engine, Example, Step, Trained

SHOWN_EVERY = 1.0  # seconds between two events about the ranks
ANOTHER = 2.0  # seconds in which rank 0 hears of the end of the rank that has died


def over(crew: Crew, recipe: Recipe, engine: Engine, emit: Emit) -> RankedEngine:
    """The engine of a run whose work the ranks of a crew share. They load the recipe's base, and
    it is compared with the given engine's.

    Raises:
        RankError: a rank is lost, cannot load the base, or has another.
    """
    if recipe.endpoints.urls:
        raise RankError(
            "either servers generate or ranks do: leave out --endpoint (endpoints.urls), or start "
            "the command without star-mlx launch"
        )
    if crew.group is not None and hasattr(engine, "join"):  # of mlx, not of every engine
        engine.join(crew.group)
    base = recipe.model_dump_json(include={"task", "model", "max_memory"})
    for note in crew.open(base, {**engine.describe()}):
        emit(Notice("warning", note))
    emit(Notice("info", f"{crew.size} ranks share the work: {crew}"))
    return RankedEngine(crew, engine)


class RankedEngine:
    """``types.Engine`` of rank 0, with a ``share`` for the chunks of a pass; the others train
    along. All else is that of the local engine.

    Args:
        crew: the other ranks, which have loaded the same base.
        local: the engine of this rank.
    """

    def __init__(self, crew: Crew, local: Engine) -> None:
        self.crew, self.local = crew, local
        self.emit: Emit = lambda event: None
        self._shown = 0.0

    def share(
        self, works: Iterator[ChunkWork], progress: Progressing
    ) -> Iterator[list[Completion]]:
        """The completions of chunks by all ranks, in order; see ``run.completing.complete_all``."""

        def here(work: ChunkWork, progress: Progressing) -> list[Completion]:
            return complete(self.local, work.adapter, work.batches, progress)

        def heard(done: int, tokens: int) -> None:
            progress(done, tokens)
            self._show()

        yield from self.crew.share(works, here, heard, self.memory)

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
        """Train on all ranks; see ``types.Engine``.

        Raises:
            RankError: a rank is lost, or its adapter is another.
        """
        began = time.monotonic()

        def heard(step: Step) -> None:
            self.crew.check()
            progress(step)
            self._show(step.tokens / self.crew.size / max(1e-3, time.monotonic() - began))

        along = getattr(self.local, "trains_along", False)
        if along:
            self.crew.learn(examples, settings.model_dump_json(), amount, seed)
        try:
            trained = self.local.train(
                examples, settings, amount, seed=seed, out=out, progress=heard
            )
        except RuntimeError as error:  # of mlx, whose peer is lost
            raise self.crew.why() or error from None
        if along:
            self.crew.learned(trained.adapter)
        return trained

    def _show(self, rate: float = 0.0) -> None:
        now = time.monotonic()
        if now - self._shown >= SHOWN_EVERY:
            self._shown = now
            self.emit(RanksSeen(self.crew.states(self.memory(), rate)))

    # ------------------------------------------------------------------ the local engine's

    def describe(self) -> Mapping[str, Any]:
        """That of the local engine."""
        return self.local.describe()

    def encode(self, text: str) -> list[int]:
        """The token ids of a text that follows a prompt; see ``types.Engine``."""
        return self.local.encode(text)

    def chat(
        self,
        turns: Sequence[tuple[str, str]],
        *,
        reply: bool,
        template: Mapping[str, Any] = {},
        date: str | None = None,
    ) -> str:
        """Turns in the model's chat template; see ``types.Engine``."""
        return self.local.chat(turns, reply=reply, template=template, date=date)

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
        """Complete prompts on this rank alone; see ``types.Engine``."""
        return self.local.generate(
            prompts, decoding, prefix=prefix, adapter=adapter, seeds=seeds, progress=progress
        )

    def memory(self) -> tuple[int, int]:
        """That of the local engine."""
        return self.local.memory()

    def peak_memory(self) -> int:
        """That of the local engine."""
        return self.local.peak_memory()


# --------------------------------------------------------------------------- the other ranks


def serve(member: Member, open_base: Callable[[Recipe], Engine], folder: Path) -> None:
    """Do what rank 0 says until there is no more.

    Args:
        open_base: opens the base of a recipe, ready to train with the other ranks.
        folder: an empty folder for adapters.
    """
    try:
        _serve(member, open_base, folder)
    except Gone:
        return  # rank 0 is; the member says so
    except Exception as error:
        if isinstance(error, RuntimeError):  # mlx, of a rank that died: rank 0 hears which
            time.sleep(ANOTHER)
        text = str(error) if isinstance(error, StarError) else f"{type(error).__name__}: {error}"
        with contextlib.suppress(Gone):
            member.wire.send(Failed(text))
        raise
    finally:
        member.close()


def _serve(member: Member, open_base: Callable[[Recipe], Engine], folder: Path) -> None:
    engine: Engine | None = None
    examples: list[Example] = []
    adapters = Received(folder)
    while (message := member.next()) is not None:
        if isinstance(message, Open):
            engine = open_base(Recipe.model_validate_json(message.recipe))
            member.memory = engine.memory
            member.wire.send(BaseOpened({**engine.describe()}))
        elif isinstance(message, AdapterFile):
            adapters.add(message)
        elif isinstance(message, TrainingRows):
            examples += message.examples
        elif isinstance(message, Complete) and engine is not None:
            adapter = adapters.path(message.adapter) if message.adapter else None
            made = complete(engine, adapter, message.batches, member.progress)
            member.progress(0, 0)
            member.wire.send(Completed(message.number, made))
        elif isinstance(message, Learn) and engine is not None:
            out = folder / "training"
            member.wire.send(_learned(engine, message, examples, out, adapters))
            shutil.rmtree(out, ignore_errors=True)
            examples = []


def _learned(
    engine: Engine, message: Learn, examples: Sequence[Example], out: Path, adapters: Received
) -> Learned:
    out.mkdir()
    try:
        trained = engine.train(
            examples,
            Train.model_validate_json(message.settings),
            message.amount,
            seed=message.seed,
            out=out,
            progress=lambda step: None,
        )
    except (NothingKept, TrainingDiverged) as error:  # rank 0 has it too
        return Learned("", str(error))
    return Learned(adapters.take(trained.adapter))
