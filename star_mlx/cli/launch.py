"""``star-mlx launch``: run a command on several processes or machines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from star_mlx.formatting import harmless

if TYPE_CHECKING:
    from star_mlx.distributed.launching import Launch

SHARED = ("loop", "baseline", "evaluate", "generate", "rationalize")  # commands


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "-n",
    "count",
    type=click.IntRange(1, 256),
    default=None,
    metavar="N",
    help="Processes on this machine, or on each of the hosts [default: 1].",
)
@click.option("--hosts", metavar="A,B,...", help="Machines, by name or address.")
@click.option(
    "--hostfile",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Machines, in a hostfile of mlx.",
)
@click.option(
    "--backend",
    type=click.Choice(["any", "ring", "jaccl", "jaccl-ring", "mpi", "nccl"]),
    default=None,
    help="How mlx connects them [default: the hostfile's, or ring].",
)
@click.option("--python", metavar="PATH", help="Python on each machine [default: this one's path].")
@click.option("--cwd", metavar="DIR", help="Working directory on each machine.")
@click.option("--port", type=click.IntRange(1, 65000), help="First port for mlx's connections.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def launch(
    count: int | None,
    hosts: str | None,
    hostfile: Path | None,
    backend: str | None,
    python: str | None,
    cwd: str | None,
    port: int | None,
    command: tuple[str, ...],
) -> int:
    """Share a command's work among processes or machines.

    The first machine is rank 0: it needs the data, and it alone writes the run. Each of the others
    needs the same versions of star-mlx, mlx and mlx-lm, and the same model. COMMAND is loop,
    baseline, evaluate, generate or rationalize, after "--":

    star-mlx launch -n 2 -- loop --task arithmetic

    star-mlx launch --hosts mac-a,mac-b -- loop --task gsm8k --model MODEL
    """
    if hosts and hostfile:
        raise click.UsageError("--hosts and --hostfile exclude each other: give one")
    if hostfile and count is not None:
        raise click.UsageError("-n is for --hosts: a hostfile names each rank")
    if command[0] not in SHARED:
        raise click.UsageError(
            f"{command[0]} cannot be shared among ranks: {', '.join(SHARED)} can. Put -- before "
            "the command"
        )
    from star_mlx.distributed import hosts as machines
    from star_mlx.distributed import launching

    given = (
        machines.of_file(hostfile)
        if hostfile
        else machines.named(hosts or machines.HERE, count or 1)
    )
    if len(given.entries) == 1 and given.local:
        root = click.get_current_context().find_root().command
        result: int | None = root.main(list(command), "star-mlx", standalone_mode=False)
        return result or 0
    chosen = backend or given.backend or "ring"
    started = launching.Launch(given, chosen, command, python=python, folder=cwd, port=port)
    code = started.run()
    if code and not started.stopped:
        _explain(started)
    return code


def _explain(started: Launch) -> None:
    """Say how each rank ended, on a terminal that rank 0 may have had no time to restore."""
    if sys.stdout.isatty():
        sys.stdout.write("\x1b[?1049l\x1b[?25h")
        sys.stdout.flush()
    for line in started.last_lines():
        click.echo(harmless(line), err=True)
