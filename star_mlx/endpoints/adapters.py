"""The adapter of an iteration at a server: loaded there, or named in every request.

vLLM loads an adapter in the form of PEFT under a name, by which it is then asked as a model.
mlx_lm.server takes the folder of an adapter as a field of a request. Both read it from a folder, so
the run folder must have the same path there as here. Other servers load none while they run.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from star_mlx.endpoints.connection import VLLM, Connection, Server
from star_mlx.endpoints.reply import Fault

SUFFIX = "-peft"  # of the folder beside the adapter
Write = Callable[[Path, Path], None]  # an adapter's folder, and an empty one for PEFT's form


class Adapters:
    """Gives adapters to servers.

    Args:
        write: writes an adapter in the form of PEFT; None if the local model cannot.
    """

    def __init__(self, write: Write | None) -> None:
        self._write = write
        self._names: dict[Path, str] = {}
        self._made: Path | None = None

    def at(self, adapter: Path, servers: Sequence[Server]) -> AdapterAt:
        """An adapter, ready to be given to servers.

        Raises:
            ModelError: one of them wants it in PEFT's form, which has no place for it.
        """
        folder = adapter.resolve()
        if self._write is not None and any(server.kind == VLLM for server in servers):
            self.as_peft(folder)  # in the thread that has the local model
        return AdapterAt(self, folder)

    def name(self, adapter: Path) -> str:
        """A name for an adapter that no other has."""
        if adapter not in self._names:
            content = hashlib.sha256()
            for file in sorted(p for p in adapter.iterdir() if p.is_file()):
                content.update(f"{file.name}\0".encode() + file.read_bytes())
            self._names[adapter] = f"star-mlx-{content.hexdigest()[:16]}"
        return self._names[adapter]

    def as_peft(self, adapter: Path) -> Path:
        """The folder of an adapter in the form of PEFT, made beside it.

        Raises:
            Fault: the local model writes none.
        """
        if self._write is None:
            raise Fault("server", "it takes adapters in PEFT's form, and this model writes none")
        made = adapter.with_name(adapter.name + SUFFIX)
        if self._made != made:
            self.close()
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()
            self._write(adapter, made)
            self._made = made
        return made

    def close(self) -> None:
        """Remove the folder in PEFT's form."""
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)
            self._made = None


class AdapterAt:
    """An adapter, as ``work.Prepare``."""

    def __init__(self, adapters: Adapters, folder: Path) -> None:
        self._adapters, self._folder = adapters, folder

    async def __call__(self, connection: Connection, server: Server) -> Mapping[str, Any]:
        if server.kind != VLLM:
            return {"adapters": str(self._folder)}
        name = self._adapters.name(self._folder)
        if name not in server.adapters:
            await self._load(connection, server, name)
        return {"model": name}

    async def _load(self, connection: Connection, server: Server, name: str) -> None:
        """Load it in vLLM, in place of the one before, and of one with its name that a killed run
        has left there: its folder may be gone."""
        for other in (*server.adapters, name):
            with contextlib.suppress(Fault):  # there is none
                await connection.post(server, "/unload_lora_adapter", {"lora_name": other})
        server.adapters = set()
        path = self._adapters.as_peft(self._folder)
        try:
            await connection.post(
                server, "/load_lora_adapter", {"lora_name": name, "lora_path": str(path)}
            )
        except Fault as fault:
            if fault.kind != "missing":
                raise
            raise Fault(
                "server",
                "it loads no adapters: start it with --enable-lora and with "
                f"VLLM_ALLOW_RUNTIME_LORA_UPDATING=True ({fault.text})",
            ) from None
        server.adapters = {name}
