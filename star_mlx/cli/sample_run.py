"""``star-mlx sample-run``: write finished runs that come with star-mlx."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from star_mlx.store.reading import RunRecord


def _names(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from star_mlx import samples

    return [name for name in samples.known() if name.startswith(incomplete)]


@click.command("sample-run", short_help="Write finished runs to look at, without running a loop.")
@click.argument("name", shell_complete=_names)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder to write, new or empty [default: sample-NAME in the folder of runs].",
)
def sample_run(name: str, out: Path | None) -> None:
    """Write finished runs that come with star-mlx, to look at and to ask at once.

    NAME is arithmetic: sums on the embedded base, in DIR/with with rationalization and in
    DIR/without without it. They are whole run folders, with every attempt and every adapter, and
    need no network.
    """
    from star_mlx import samples
    from star_mlx.cli import config
    from star_mlx.formatting import harmless
    from star_mlx.store import reading

    folder = out or config.read().runs / f"sample-{name}"
    samples.unpack(name, folder)
    for run in sorted(path for path in folder.iterdir() if path.is_dir()):
        record = reading.read(run)
        click.echo(harmless(f"wrote {run}: {record.last} iterations, {_dev(record)}"))
    click.echo("\nto try next:")
    for line in _next(folder):
        click.echo(f"  {harmless(line)}")


def _dev(record: RunRecord) -> str:
    """The accuracy of the best iteration."""
    from star_mlx.tui.tables import measured

    dev = next(line.dev for line in record.metrics if line.iteration == record.best)
    return f"dev {measured(dev)} % (n = {dev.n})" if dev else ""


def _next(folder: Path) -> Sequence[str]:
    from star_mlx.formatting import program
    from star_mlx.measure.run_problems import try_command

    both = [shlex.quote(str(folder / kind)) for kind in ("with", "without")]
    first = both[0]
    commands = [f"show {first}", f"trace {first}", f"compare {both[1]} {both[0]}",
                f"report {both[0]} {both[1]} --open"]  # fmt: skip
    return [*(f"{program()} {command}" for command in commands), try_command(folder / "with")]
