"""``star-mlx pull``: fetch a pushed adapter from the Hugging Face Hub."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from star_mlx.store import names


@click.command()
@click.argument("name", metavar="USER/NAME[@REVISION]")
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder to write, new or empty [default: pulled/USER--NAME].",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was fetched as JSON.")
def pull(name: str, out: Path | None, as_json: bool) -> None:
    """Fetch and verify what `star-mlx push` sent to the Hub.

    Prints how to try it. No code is fetched, only data, and every file must match the hash recorded
    by its push.
    """
    from star_mlx.formatting import harmless, program
    from star_mlx.share.pull import pull as fetch

    done = fetch(name, out)
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps({**asdict(done), "folder": str(done.folder)}))
        return
    where = "fetched to" if done.fresh else "is already in"
    number = "" if done.iteration is None else f", iteration {done.iteration}"
    click.echo(harmless(f"{done.repo_id}{number}, commit {done.commit}"))
    click.echo(harmless(f"{where} {done.folder}: {len(done.files)} files"))
    if names.WEIGHTS in done.files:
        click.echo(f"next: {program()} try {shlex.quote(str(done.folder))} QUESTION")
