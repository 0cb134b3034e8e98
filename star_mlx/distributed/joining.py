"""How the ranks of a launch find each other: rank 0 listens, and mlx tells the others where."""

from __future__ import annotations

import hashlib
import json
import platform
import queue
import secrets
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Protocol

from star_mlx.distributed.messages import FromRank, Hello, ToRank
from star_mlx.distributed.wire import Gone, Wire
from star_mlx.errors import RankError
from star_mlx.recipe.provenance import versions

PATIENCE = 60.0  # seconds in which all ranks have to connect
COMPARED = ("star-mlx", "mlx", "mlx-lm")  # packages of which all ranks must have one version


class Told(Protocol):
    """What tells all ranks the bytes of rank 0: ``engine.ranks.Ranks``."""

    rank: int
    size: int

    def told(self, data: bytes) -> bytes: ...


def hello(rank: int) -> Hello:
    """What this process says of itself."""
    return Hello(rank, platform.node().split(".")[0], versions(), source())


def source() -> str:
    """A hash of the files of star-mlx: two installations may call themselves the same version."""
    root = Path(__file__).parent.parent
    whole = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        whole.update(f"{file.relative_to(root).as_posix()}\0".encode())
        whole.update(file.read_bytes())
    return whole.hexdigest()


def gather(ranks: Told, head: str, patience: float = PATIENCE) -> list[tuple[Wire, Hello]]:
    """Connect this process, rank 0, with all others.

    Args:
        head: an address of this machine that the others can reach.
        patience: seconds to wait for them.

    Raises:
        RankError: one does not come, or has another version.
    """
    key = secrets.token_bytes(32)
    try:
        listener = Listener((head, 0), backlog=ranks.size, authkey=key)
    except OSError as error:
        raise RankError(
            f"rank 0 cannot listen at {head}: {error.strerror or error}. Give an address that this "
            "machine has, and that the others can reach, first in --hosts"
        ) from None
    with listener:
        ranks.told(json.dumps([*listener.address, key.hex()]).encode())
        return _accepted(listener, ranks.size - 1, patience)


def _accepted(listener: Listener, number: int, patience: float) -> list[tuple[Wire, Hello]]:
    come: queue.SimpleQueue[Connection | None] = queue.SimpleQueue()

    def accept() -> None:
        while True:
            try:
                come.put(listener.accept())
            except (AuthenticationError, EOFError, ConnectionError):
                continue  # not a rank
            except OSError:
                return  # closed

    threading.Thread(target=accept, name="accept", daemon=True).start()
    own = hello(0)
    found: list[tuple[Wire, Hello]] = []
    for _ in range(number):
        try:
            wire = Wire(come.get(timeout=patience), FromRank)  # type: ignore[arg-type]
            said = wire.receive()
        except (queue.Empty, Gone):
            there = sorted(said.rank for _, said in found)
            missing = ", ".join(str(n) for n in range(1, number + 1) if n not in there)
            raise RankError(
                f"rank {missing} did not connect to rank 0 in {patience:.0f} s: is port "
                f"{listener.address[1]} of rank 0's machine blocked by a firewall?"
            ) from None
        found.append((wire, said))
    for _, said in found:
        refuse_other(own, said)
    return found


def refuse_other(own: Hello, other: Hello) -> None:
    """Refuse a rank whose results may be others.

    Raises:
        RankError: it has another version of a package, or of star-mlx's files.
    """
    differ = [
        f"{name} {other.versions.get(name)} instead of {own.versions.get(name)}"
        for name in COMPARED
        if other.versions.get(name) != own.versions.get(name)
    ]
    if not differ and own.source != other.source:
        differ = [f"other files of star-mlx {own.versions.get('star-mlx')}"]
    if differ:
        raise RankError(
            f"rank {other.rank} ({other.machine}) has {', '.join(differ)}: install the same "
            "versions on every machine"
        )


def joined(ranks: Told) -> Wire:
    """The connection of this process, not rank 0, with rank 0.

    Raises:
        RankError: it cannot be made.
    """
    host, port, key = json.loads(ranks.told(b""))
    try:
        return Wire(Client((host, port), authkey=bytes.fromhex(key)), ToRank)
    except (OSError, EOFError, AuthenticationError) as error:
        raise RankError(
            f"rank {ranks.rank} cannot connect to rank 0 at {host}:{port}: {error}"
        ) from None
