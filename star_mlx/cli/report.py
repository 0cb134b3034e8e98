"""``star-mlx report``: write a page about a run, or about several side by side."""

from __future__ import annotations

from pathlib import Path

import click

from star_mlx.cli import completion


@click.command()
@click.argument(
    "runs",
    nargs=-1,
    required=True,
    metavar="RUN...",
    type=click.Path(path_type=Path),
    shell_complete=completion.runs,
)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder to write [default: report/ in the RUN; with several runs, "
    "report-with-others/ in the first; leaderboard/ here if that is a summary].",
)
@click.option(
    "--samples-bytes",
    type=click.IntRange(min=0),
    metavar="N",
    help="Approximate space for attempts in the page; 0 leaves them out [default: 1200000].",
)
@click.option("--open", "open_it", is_flag=True, help="Open the page in the web browser.")
def report(
    runs: tuple[Path, ...], out: Path | None, samples_bytes: int | None, open_it: bool
) -> None:
    """Write a page with charts about a RUN, or several side by side.

    The page needs no network; its charts are also written as SVG and PNG. It opens with the
    verdict in words, accuracy with intervals, and one problem's way through an iteration. Then come
    paired tests, yields, the quality of the rationales, a browser of attempts, training curves,
    seconds and tokens, and the recipe. An earlier report in the same folder is replaced. The run
    may still be in progress.

    Three or more runs also get a leaderboard, which says which differences are significant. RUN may
    be a file of `star-mlx summary` too. With such files, or with more than six runs, the
    leaderboard is the whole page.
    """
    from datetime import datetime, timezone

    from star_mlx.formatting import harmless
    from star_mlx.report import write_report as reports

    size = reports.SAMPLES_BYTES if samples_bytes is None else samples_bytes
    folder = out or reports.folder(runs)
    made = reports.write(runs, folder, datetime.now(timezone.utc), size)
    page, *files = made.files
    click.echo(harmless(str(page)))
    click.echo(harmless(f"{len(files)} files of charts in {folder / 'charts'}"))
    if made.board:
        from star_mlx.cli.leaderboard import show

        show(made.board, summaries=any(run.is_file() for run in runs))
    if open_it:
        import webbrowser

        if not webbrowser.open(page.resolve().as_uri()):
            click.echo("no web browser was found: open the page yourself", err=True)
