"""The machines of a launch, in the form of mlx's hostfile."""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from star_mlx.errors import RankError

HERE = "127.0.0.1"  # for mlx's launcher: this machine, without ssh


@dataclass(frozen=True)
class Hosts:
    """The machine of each rank: how it is reached by ssh, its addresses, and what a hostfile says.

    ``entries`` are those of mlx's hostfile: ``ssh``, ``ips`` and ``rdma``.
    """

    entries: Sequence[Mapping[str, Any]]
    backend: str = ""
    envs: Sequence[str] = field(default_factory=tuple)

    @property
    def head(self) -> str:
        """The address at which the others reach rank 0."""
        return str(self.entries[0]["ips"][0])

    @property
    def local(self) -> bool:
        """Whether all are on this machine."""
        return all(entry["ssh"] == HERE for entry in self.entries)

    def name(self, rank: int) -> str:
        """The name of a rank's machine, for people."""
        entry = self.entries[rank] if rank < len(self.entries) else {}
        return str(entry.get("ssh", "?"))

    def text(self) -> str:
        """The hostfile."""
        whole = {"backend": self.backend, "envs": [*self.envs], "hosts": [*self.entries]}
        return json.dumps(whole)


def named(names: str, count: int) -> Hosts:
    """The machines of a list such as ``mac-a,mac-b``, each ``count`` times.

    Raises:
        RankError: a name has no address.
    """
    found = [_entry(name.strip()) for name in names.split(",") for _ in range(count)]
    return _reachable(Hosts(found), names)


def of_file(path: Path) -> Hosts:
    """The machines of a hostfile of mlx (``mlx.distributed_config`` writes one).

    Raises:
        RankError: it is none, or a name in it has no address.
    """
    try:
        data = json.loads(path.read_bytes())
        whole = data if isinstance(data, dict) else {"hosts": data}
        rows = [(str(row["ssh"]), [*row.get("ips", ())], row) for row in whole["hosts"]]
        envs = [str(env) for env in whole.get("envs", ())]
    except OSError as error:
        raise RankError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise RankError(
            f'{path} is no hostfile of mlx: it should be like [{{"ssh": "mac-a", "ips": '
            '["10.0.0.1"]}, ...]; mlx.distributed_config writes one'
        ) from None
    if not rows:
        raise RankError(f"{path} names no host")
    made = [{**row, **_entry(ssh, ips)} for ssh, ips, row in rows]
    return _reachable(Hosts(made, str(whole.get("backend", "")), envs), str(path))


def _entry(name: str, ips: Sequence[str] = ()) -> dict[str, Any]:
    """A machine by its name or address; this one is started without ssh."""
    if not name:
        raise RankError("an empty name in the list of hosts: leave out the comma")
    own = [str(ip) for ip in ips] or [_address(name)]
    here = name in (HERE, "localhost") or all(_is_here(ip) for ip in own)
    return {"ssh": HERE if here else name, "ips": own}


def _address(name: str) -> str:
    with suppress(ValueError):
        return str(ipaddress.ip_address(name))
    try:
        return HERE if name == "localhost" else socket.gethostbyname(name.rpartition("@")[2])
    except OSError as error:
        raise RankError(
            f"the host {name} has no address ({error.strerror or error}): give its IP address, or "
            "a --hostfile with one"
        ) from None


def _is_here(address: str) -> bool:
    """Whether an address is one of this machine's."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as trial:
        try:
            trial.bind((address, 0))
        except OSError:
            return False
    return True


def _reachable(hosts: Hosts, where: str) -> Hosts:
    if not hosts.local and any(ip.startswith("127.") for e in hosts.entries for ip in e["ips"]):
        raise RankError(
            f"{where} names this machine by an address that others cannot reach: give the one it "
            "has in their network instead of localhost or 127.0.0.1"
        )
    return hosts
