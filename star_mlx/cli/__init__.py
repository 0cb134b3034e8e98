"""The command line: wiring only. Nothing heavy is imported before a command needs it.

May import everything; nothing imports it.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from star_mlx.cli import mistakes
from star_mlx.cli.augment import augment
from star_mlx.cli.baseline import baseline
from star_mlx.cli.check import check
from star_mlx.cli.compare import compare
from star_mlx.cli.doctor import doctor
from star_mlx.cli.evaluate import evaluate
from star_mlx.cli.export import export
from star_mlx.cli.export_data import export_data
from star_mlx.cli.generate import generate
from star_mlx.cli.grade import grade
from star_mlx.cli.groups import Grouped
from star_mlx.cli.import_gguf import import_gguf
from star_mlx.cli.init_task import init_task
from star_mlx.cli.launch import launch
from star_mlx.cli.ledger import ledger
from star_mlx.cli.loop import loop
from star_mlx.cli.plan import plan
from star_mlx.cli.present import present
from star_mlx.cli.pull import pull
from star_mlx.cli.push import push
from star_mlx.cli.rationalize import rationalize
from star_mlx.cli.report import report
from star_mlx.cli.runs import runs
from star_mlx.cli.sample_run import sample_run
from star_mlx.cli.settings import settings
from star_mlx.cli.show import show
from star_mlx.cli.summary import summary
from star_mlx.cli.tasks import tasks
from star_mlx.cli.trace import trace
from star_mlx.cli.train import train
from star_mlx.cli.try_ import try_
from star_mlx.cli.watch import watch
from star_mlx.errors import StarError
from star_mlx.formatting import clipped, harmless

__all__ = ["main"]

LONGEST = 2000  # characters of an error; longer ones quote what nobody reads


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"star-mlx {version('star-mlx')}")
        except PackageNotFoundError:
            click.echo("star-mlx (not installed: run from its source)")
        context.exit()


@click.group(
    cls=Grouped,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version.",
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Run the STaR loop on an MLX language model: generate rationales, keep those that end in the
    right answer, try the failures again with the answer as a hint, train a fresh LoRA adapter on
    what was kept, and repeat.

    To start: star-mlx loop --task arithmetic
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
    elif names := os.environ.get("STAR_MLX_TASKS"):  # the user's own tasks, "module:Class"
        from star_mlx.tasks import own

        context.with_resource(own.offered(*names.replace(",", " ").split()))


cli.add_group("Start", loop, launch, plan, sample_run, init_task, tasks, settings, doctor)
cli.add_group("Look", show, runs, watch, present, trace, try_, ledger, report, check)
cli.add_group("Compare", evaluate, baseline, compare, summary, grade)
cli.add_group("Share", export, push, pull, import_gguf)
cli.add_group("One step at a time", generate, rationalize, export_data, train, augment)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit. A ``StarError`` is printed as one line; a bug stays a traceback."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without UTF-8
    signal.signal(signal.SIGTERM, _terminated)
    given = sys.argv[1:] if arguments is None else list(arguments)
    if odd := mistakes.undecodable(given):
        _fail(odd, click.UsageError.exit_code)
    try:
        result: Any = cli.main(given, prog_name="star-mlx", standalone_mode=False)
    except StarError as error:
        _fail(str(error), error.exit_code)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "star-mlx"
        _fail(f"{mistakes.usage(error, given)} (see {command} --help)", error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        _fail(mistakes.too_long(error), click.UsageError.exit_code)
    except MemoryError:
        _fail(mistakes.MEMORY, click.UsageError.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        sys.exit(130)
    sys.exit(result if isinstance(result, int) else 0)


def _terminated(number: int, _: object) -> NoReturn:
    """Exit as after any other error, so that the terminal is restored."""
    sys.exit(128 + number)


def _fail(text: str, code: int) -> NoReturn:
    said = clipped(harmless(" ".join(text.split())), LONGEST)
    click.echo(f"star-mlx: error: {said}", err=True)
    sys.exit(code)
