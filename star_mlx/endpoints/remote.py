"""An engine whose completions come from servers; all else is that of the local engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from star_mlx.endpoints.generator import Generator
from star_mlx.endpoints.pool import Pool
from star_mlx.settings import Train
from star_mlx.types import Amount, Engine, Example, Step, Trained


class RemoteEngine(Generator):
    """``types.Engine``: the servers of a pool generate, with the adapters that ``local`` trains.

    Args:
        pool: the servers, opened.
        local: the model that the servers serve.
    """

    def __init__(self, pool: Pool, local: Engine) -> None:
        super().__init__(
            pool, local, local.describe().get("context"), getattr(local, "write_peft", None)
        )
        self.local = local

    @property
    def serving(self) -> str:
        """The name of the model that the servers have; of a folder there, the folder's own name."""
        names = [server.model for server in self.pool.servers if server.model]
        short = dict.fromkeys(n.rpartition("/")[2] if n.startswith("/") else n for n in names)
        return self.pool.key.shown(" and ".join(short))

    def describe(self) -> Mapping[str, Any]:
        """That of the local model."""
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
        """Turns in the local model's chat template; see ``types.Engine``."""
        return self.local.chat(turns, reply=reply, template=template, date=date)

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
        """Train on this machine; see ``types.Engine``."""
        return self.local.train(examples, settings, amount, seed=seed, out=out, progress=progress)

    def memory(self) -> tuple[int, int]:
        """That of the local engine."""
        return self.local.memory()

    def peak_memory(self) -> int:
        """That of the local engine."""
        return self.local.peak_memory()
