"""``star-mlx push``: upload a run to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from star_mlx.export import FORMATS

if TYPE_CHECKING:
    from star_mlx.events import Event
    from star_mlx.share.push import Pushed


@click.command(short_help="Push a run's model to the Hugging Face Hub, with a card.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("repo", metavar="USER/NAME")
@click.option(
    "--iteration",
    default="best",
    show_default=True,
    metavar="N",
    help="The iteration whose adapter to push: a number, best or last.",
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(FORMATS),
    help="The format to push; may be repeated [default: mlx at the root, and peft beside it if "
    "PEFT supports the adapter].",
)
@click.option("--private", is_flag=True, help="Make a new repository private.")
@click.option(
    "--revision", metavar="BRANCH", help="The branch, created if missing [default: main]."
)
@click.option("--pr", is_flag=True, help="Open a pull request instead of a commit to main.")
@click.option(
    "--dataset",
    is_flag=True,
    help="Also push the rationales the run kept, to the data set USER/NAME-rationales.",
)
@click.option(
    "--dataset-format",
    type=click.Choice(["jsonl", "parquet"]),
    default="jsonl",
    show_default=True,
    help="The file format of that data set.",
)
@click.option(
    "--license", "license_id", metavar="ID", help="The license [default: that of the base]."
)
@click.option("--no-samples", is_flag=True, help="Leave sample answers out of the model card.")
@click.option("--dry-run", is_flag=True, help="Print what would be pushed, and push nothing.")
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="With --dry-run: write the card and all else that would be sent to this folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was pushed as JSON.")
def push(
    run: Path,
    repo: str,
    iteration: str,
    formats: tuple[Any, ...],
    private: bool,
    revision: str | None,
    pr: bool,
    dataset: bool,
    dataset_format: Any,
    license_id: str | None,
    no_samples: bool,
    dry_run: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Push a RUN's adapter to the Hugging Face Hub, with a model card made from the run.

    Makes one commit, or none if the repository is already up to date. The token is taken from
    HF_TOKEN or from `hf auth login`.
    """
    if out is not None and not dry_run:
        raise click.UsageError("--out keeps what a dry run would send: give --dry-run too")
    from star_mlx.share import push as share

    done = share.push(
        run, repo,
        iteration=iteration, formats=formats or share.DEFAULT, private=private, revision=revision,
        pr=pr, dry_run=dry_run, out=out, dataset=dataset, dataset_format=dataset_format,
        license_id=license_id, samples=not no_samples, emit=_tell,
    )  # fmt: skip
    if as_json:
        import json

        click.echo(json.dumps(done.as_json()))
        return
    from star_mlx.formatting import harmless

    for part in (done.dataset, done):
        if part is not None:
            click.echo(harmless("\n".join(_lines(part))))
    if out is not None:
        click.echo(harmless(f"written to {out}; nothing was sent"))
    if done.commit and not pr:
        at = f"@{revision}" if revision else ""
        click.echo(f"next: star-mlx pull {done.repo_id}{at}")


def _tell(event: Event) -> None:
    """Print notices to standard error, because standard output may be JSON."""
    from star_mlx.events import Notice
    from star_mlx.formatting import harmless

    if isinstance(event, Notice):
        click.echo(harmless(event.text), err=True)


def _lines(done: Pushed) -> list[str]:
    """The lines printed without ``--json``: what was pushed, or would be."""
    from rich.filesize import decimal

    kind = "data set" if done.kind == "dataset" else "repository"
    if done.dry_run:
        there = {True: "exists", False: "would be made", None: "could not be looked up"}
        lines = [f"would send to {done.url} (the {kind} {there[done.exists]}):"]
        lines += [f"  {decimal(n):>9}  {name}{_note(done, name)}" for name, n in done.sizes.items()]
        return [*lines, *(f"  {'':>9}  {name} (deleted)" for name in done.deleted)]
    if done.pull_request:
        made = "opened" if done.commit else "is open with this already"
        return [f"pull request {made}: {done.pull_request}"]
    if done.commit is None:
        return [f"{done.url} holds all of this already: no commit was made"]
    total = sum(done.sizes[name] for name in done.changed)
    lines = [f"made the {kind} {done.repo_id}"] if not done.exists else []
    lines += [f"sent {len(done.changed)} of {len(done.sizes)} files, {decimal(total)}"]
    if done.deleted:
        lines += [f"deleted {', '.join(done.deleted)}"]
    return [*lines, f"commit {done.commit}", done.url]


def _note(done: Pushed, name: str) -> str:
    return "" if name in done.changed else " (as it is there)"
