"""The command line: wiring only. Nothing heavy is imported before a command needs it.

May import everything; nothing imports it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from star_mlx.cli.baseline import baseline
from star_mlx.cli.check import check
from star_mlx.cli.compare import compare
from star_mlx.cli.doctor import doctor
from star_mlx.cli.evaluate import evaluate
from star_mlx.cli.export import export
from star_mlx.cli.export_data import export_data
from star_mlx.cli.generate import generate
from star_mlx.cli.grade import grade
from star_mlx.cli.import_gguf import import_gguf
from star_mlx.cli.init_task import init_task
from star_mlx.cli.ledger import ledger
from star_mlx.cli.loop import loop
from star_mlx.cli.pull import pull
from star_mlx.cli.push import push
from star_mlx.cli.rationalize import rationalize
from star_mlx.cli.report import report
from star_mlx.cli.show import show
from star_mlx.cli.tasks import tasks
from star_mlx.cli.trace import trace
from star_mlx.cli.train import train
from star_mlx.cli.try_ import try_
from star_mlx.cli.watch import watch
from star_mlx.errors import StarError

__all__ = ["main"]


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"star-mlx {version('star-mlx')}")
        except PackageNotFoundError:
            click.echo("star-mlx (not installed: run from its source)")
        context.exit()


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and exit.",
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Run the STaR loop on an MLX language model: generate rationales, keep those that end in the
    right answer, rationalize the failures with the answer as a hint, train a fresh LoRA adapter
    on the kept rationales, and repeat.

    To start: star-mlx loop --task arithmetic
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
    elif names := os.environ.get("STAR_MLX_TASKS"):  # the user's own tasks, "module:Class"
        from star_mlx.tasks import own

        context.with_resource(own.offered(*names.replace(",", " ").split()))


_COMMANDS = (
    loop,
    watch,
    baseline,
    evaluate,
    generate,
    rationalize,
    export_data,
    export,
    train,
    show,
    trace,
    ledger,
    compare,
    check,
    report,
    push,
    pull,
    try_,
    tasks,
    init_task,
    grade,
    import_gguf,
    doctor,
)
for _command in _COMMANDS:
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit. A ``StarError`` is printed as one line; a bug stays a traceback."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without UTF-8
    signal.signal(signal.SIGTERM, _terminated)
    try:
        result: Any = cli.main(arguments, prog_name="star-mlx", standalone_mode=False)
    except StarError as error:
        _fail(str(error), error.exit_code)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "star-mlx"
        _fail(f"{error.format_message()} (see {command} --help)", error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        sys.exit(130)
    sys.exit(result if isinstance(result, int) else 0)


def _terminated(number: int, _: object) -> NoReturn:
    """Exit as after any other error, so that the terminal is restored."""
    sys.exit(128 + number)


def _fail(text: str, code: int) -> NoReturn:
    click.echo(f"star-mlx: error: {' '.join(text.split())}", err=True)
    sys.exit(code)
