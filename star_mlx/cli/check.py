"""``star-mlx check``: verify the files of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from star_mlx.cli import completion

if TYPE_CHECKING:
    from star_mlx.store.check import Checked, Finding


@click.command()
@click.argument("run", type=click.Path(path_type=Path), shell_complete=completion.runs)
@click.option(
    "--repair",
    is_flag=True,
    help="Move damaged files that can be made again to RUN/damaged.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check(run: Path, repair: bool, as_json: bool) -> None:
    """Verify every file of a RUN against its checksums.

    Lists what is damaged, what is still valid, and how to make the damaged part again. Exits with
    code 2 if anything is damaged. A run made before checksums existed is read row by row, and the
    parts without a checksum are counted.
    """
    from star_mlx.formatting import harmless
    from star_mlx.store import check as checking

    mended = checking.repair(run) if repair else []
    found = checking.check(run)
    if as_json:
        import json

        click.echo(json.dumps(_as_json(found, mended)))
    else:
        for finding in mended:
            click.echo(harmless(f"taken out: {finding.place}: {finding.why}; {finding.again}"))
        for finding in found.findings:
            click.echo(harmless(f"damaged: {finding.place}: {finding.why}"))
            click.echo(harmless(f"  still holds: {finding.holds}"))
            click.echo(harmless(f"  {finding.again}"))
        unverified = f", {found.without} have none" if found.without else ""
        state = "nothing is damaged" if found.whole else f"{len(found.findings)} are damaged"
        click.echo(f"{found.verified} parts have a checksum{unverified}: {state}")
    if not found.whole:
        click.get_current_context().exit(2)


def _as_json(found: Checked, mended: Sequence[Finding]) -> dict[str, Any]:
    return {
        "verified": found.verified,
        "without": found.without,
        "damaged": [_plain(finding) for finding in found.findings],
        "taken_out": [_plain(finding) for finding in mended],
    }


def _plain(finding: Finding) -> dict[str, str]:
    return {name: getattr(finding, name) for name in ("place", "why", "holds", "again")}
