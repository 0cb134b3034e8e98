"""``star-mlx summary``: write a run as a file of a few kB."""

from __future__ import annotations

from pathlib import Path

import click

from star_mlx.cli import completion


@click.command()
@click.argument("run", type=click.Path(path_type=Path), shell_complete=completion.runs)
@click.option(
    "--out",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The file to write, such as mine.json; an earlier summary is replaced.",
)
@click.option("--name", help="What to call the run beside others [default: its folder's name].")
def summary(run: Path, out: Path, name: str | None) -> None:
    """Write a run's dev results as a file, to compare with others'.

    The file has a few kB: for every iteration which dev problems were answered right, and the
    settings that are not those of the task's recipe; no question, no answer and no text of the
    model. `star-mlx report *.json` compares such files, also with run folders.
    """
    from star_mlx.errors import RunError
    from star_mlx.formatting import harmless, program
    from star_mlx.measure import summary as summaries
    from star_mlx.store import reading
    from star_mlx.store.files import replace

    if name is not None and not name.strip():
        raise click.BadParameter("give a name, such as Ada", param_hint="--name")
    made = summaries.of_run(reading.read(run), (name or "").strip())
    if out.exists():
        try:
            summaries.read(out)
        except RunError:
            raise RunError(f"{out} exists and is not a summary: give another --out") from None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        replace(out, data := summaries.encoded(made))
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror or error}") from None
    said = f"{out}: {made.name}, {len(made.iterations)} measurements of {len(made.keys)} problems"
    click.echo(harmless(f"{said}, {len(data) / 1000:.1f} kB"))
    click.echo(harmless(f"to compare it with others: {program()} report {out} OTHER..."))
