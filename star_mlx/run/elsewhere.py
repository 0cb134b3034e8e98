"""What generates in a run, if it is not this process alone: servers, or the ranks of a launch.

They are reached, and compared with the local model, before the run begins.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from star_mlx.distributed.crew import led
from star_mlx.endpoints.connection import Server
from star_mlx.endpoints.pool import Pool
from star_mlx.endpoints.remote import RemoteEngine
from star_mlx.engine import resolve
from star_mlx.errors import EndpointError, ModelError
from star_mlx.events import Emit, Notice
from star_mlx.formatting import clipped
from star_mlx.measure.baselines import TRAINED
from star_mlx.prompts import Prompts
from star_mlx.recipe import asking
from star_mlx.run import completing, ranked
from star_mlx.run.ranked import RankedEngine
from star_mlx.settings import Recipe
from star_mlx.types import Amount, Completion, Decoding, Engine, Example, Task

PROBLEMS, TOKENS = 8, 64  # compared
STEPS, RATES = 4, (1e-3, 4e-3, 16e-3)  # of the adapter that is tried: one that changes a little
WORDS = "That is 1, 2, 3, 4, 5, 6, 7, 8. "  # it is trained to say


@contextlib.contextmanager
def generating(
    recipe: Recipe, task: Task, prompts: Prompts, engine: Engine, run: Path, emit: Emit
) -> Iterator[Engine]:
    """The engine of a run: the given one, or if the recipe names servers, one whose completions
    they make, or if this process is rank 0 of several, one whose work they share.

    Args:
        prompts: in the engine's template.
        run: the run folder, near which an adapter is written for the servers to read.

    Raises:
        EndpointError: no server can be reached, or one does not answer as the local model does, or
            cannot load an adapter though the run needs that.
        RankError: another rank is lost, or has another base.
    """
    with uncompared(recipe, engine, emit) as made_by:
        if isinstance(made_by, RemoteEngine):
            _compare(recipe, task, prompts, made_by, run, emit)
        yield made_by


@contextlib.contextmanager
def uncompared(recipe: Recipe, engine: Engine, emit: Emit) -> Iterator[Engine]:
    """The same without comparing the servers with the local model.

    Raises:
        EndpointError: no server can be reached, or one of them cannot be used.
        RankError: another rank is lost, or has another base.
    """
    if crew := led():
        yield ranked.over(crew, recipe, engine, emit)
        return
    if not recipe.endpoints.urls:
        yield engine
        return
    pool = Pool(
        recipe.endpoints,
        random.Random(recipe.seed),
        lambda text: emit(Notice("warning", text)),
        known=_names(recipe),
    )
    pool.open()
    remote = RemoteEngine(pool, engine)
    try:
        yield remote
    finally:
        remote.close()


def tell(made_by: Engine, emit: Emit) -> None:
    """Have what is said about servers or ranks emitted by ``emit`` from now on."""
    if isinstance(made_by, RankedEngine):
        made_by.emit = emit
    if isinstance(made_by, RemoteEngine):
        made_by.pool.tell = lambda text: emit(Notice("warning", text))


def _names(recipe: Recipe) -> tuple[str, ...]:
    """The names by which a server may have the recipe's base: its own, and its folder."""
    found = None
    with contextlib.suppress(ModelError):  # an engine of the user's own has another base
        found = resolve.at_hand(recipe.model.path, recipe.model.revision)
    return (recipe.model.path, *([str(found.folder)] if found else []))


def needs_adapters(recipe: Recipe) -> bool:
    """Whether servers have to generate with adapters: all but the first iteration does."""
    if recipe.baseline:
        return recipe.baseline in TRAINED
    star = recipe.star
    return star.iterations > 1 or star.evaluate or recipe.evaluate.test


# --------------------------------------------------------------------------- the comparison


def _compare(
    recipe: Recipe, task: Task, prompts: Prompts, remote: RemoteEngine, run: Path, emit: Emit
) -> None:
    """Compare every server with the local model, without an adapter and with one. A server that
    does not answer now is left out of the run, since it is not known what it would say."""
    compared = _Comparison(recipe, task, prompts, remote)
    servers = [server for server in remote.pool.servers if not server.aside]
    remote.pool.servers = servers
    base = compared.here(None)
    for server in servers:
        same = compared.at(server, None, base)
        name = remote.pool.key.shown(server.model)
        emit(Notice("info", f"{server.url} has the model {name}: {same}"))
    if not needs_adapters(recipe):
        return
    with _beside(run) as folder:
        for rate in RATES:
            compared.train(folder / f"{rate}", rate)
            adapted = compared.here(folder / f"{rate}")
            if adapted != base:
                break
        else:
            emit(Notice("warning", "whether the servers load adapters could not be tried"))
            return
        for server in servers:
            same = compared.at(server, folder / f"{rate}", adapted, base)
            emit(Notice("info", f"{server.url} loads adapters: {same}"))
        remote.close()


class _Comparison:
    """Greedy completions of the first training problems, here and at servers."""

    def __init__(self, recipe: Recipe, task: Task, prompts: Prompts, remote: RemoteEngine) -> None:
        self._recipe, self._remote = recipe, remote
        self._problems = task.problems("train")[:PROBLEMS]
        few_shot = recipe.star.few_shot(recipe.star.start_iteration)
        how = asking.generating(recipe, prompts, few_shot=few_shot)
        self._prefix, self._prompts = how.batch(self._problems)
        tokens = min(TOKENS, how.decoding.max_tokens)
        self._decoding: Decoding = replace(how.decoding, temperature=0.0, max_tokens=tokens)

    def here(self, adapter: Path | None) -> list[Completion]:
        """The completions of the local model."""
        return self._remote.local.generate(
            self._prompts, self._decoding, prefix=self._prefix, adapter=adapter,
            seeds=[0] * len(self._prompts), progress=lambda done, tokens: None,
        )  # fmt: skip

    def at(
        self,
        server: Server,
        adapter: Path | None,
        wanted: Sequence[Completion],
        base: Sequence[Completion] = (),
    ) -> str:
        """Compare a server's completions with the local ones.

        Args:
            wanted: those of the local model, with the same adapter.
            base: those of the local model without one; empty if there is no adapter.

        Returns:
            How many are equal, in words.

        Raises:
            EndpointError: too few are equal, or all are those of the base.
        """
        made = self._remote.generate(
            self._prompts, self._decoding, prefix=self._prefix, adapter=adapter,
            seeds=[0] * len(self._prompts), progress=lambda done, tokens: None, only=server,
        )  # fmt: skip
        texts, here = [one.text for one in made], [one.text for one in wanted]
        if base and _equal(texts, [one.text for one in base]) > _equal(texts, here):
            raise EndpointError(
                f"{server.url} answers as the base does when it is given an adapter, so from "
                "iteration 2 on the wrong model would generate. mlx_lm.server and vLLM load "
                "adapters while they run; llama.cpp, Ollama and LM Studio do not. Use one of the "
                "first, or leave --endpoint out"
            )
        equal = _equal(texts, here)
        least = self._recipe.endpoints.min_equal
        with_it = " with an adapter" if adapter else ""
        count = f"{equal} of {len(here)} greedy completions{with_it} are equal to the local ones"
        if equal < least * len(here):
            i = next(i for i, text in enumerate(texts) if text != here[i])
            raise EndpointError(
                f"{server.url} does not answer as the local model does: only {count}; of problem "
                f"{self._problems[i].id} it says {_shown(texts[i])} instead of {_shown(here[i])}. "
                "Serve the same weights with the same tokenizer and without a template of its "
                "own, or give endpoints.min_equal=0 to begin all the same"
            )
        return count

    def train(self, out: Path, rate: float) -> None:
        """Train an adapter to say some words, at a high learning rate."""
        out.mkdir()
        text = WORDS * 2
        row = Example(
            id="trial", prompt=self._prefix[-400:] + self._prompts[0], completion=text,
            source="given", token_ids=tuple(self._remote.encode(text)), iteration=1,
        )  # fmt: skip
        settings = self._recipe.train.model_copy(
            update={
                "learning_rate": rate,
                "warmup": 0,
                "decay": "none",
                "batch_size": 1,
                "dropout": 0.0,
                "max_length": 1 << 40,
            }
        )
        lot = completing.seed(self._recipe.seed, "endpoints")
        self._remote.local.train(
            [row], settings, Amount(steps=STEPS), seed=lot, out=out, progress=lambda step: None
        )


def _equal(texts: Sequence[str], others: Sequence[str]) -> int:
    return sum(a == b for a, b in zip(texts, others, strict=True))


def _shown(text: str) -> str:
    return repr(clipped(" ".join(text.split()), 60))


@contextlib.contextmanager
def _beside(run: Path) -> Iterator[Path]:
    """A temporary folder beside the run folder, which servers can read if they can read that.

    Raises:
        EndpointError: it cannot be made.
    """
    try:
        run.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{run.name}-adapter-", dir=run.parent))
        folder.chmod(0o755)  # another user may run the server
    except OSError as error:
        raise EndpointError(f"{run.parent} cannot be written: {error.strerror or error}") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
