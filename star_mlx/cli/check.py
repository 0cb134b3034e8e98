"""``star-mlx check``: whether everything in a run is as it was written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from star_mlx.store.check import Checked, Finding


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--repair",
    is_flag=True,
    help="Take out what is damaged and can be made again; it is kept in RUN/damaged.",
)
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
def check(run: Path, repair: bool, as_json: bool) -> None:
    """Verify every file of a RUN against the checksums that were written with it, and say what is
    damaged, what still holds, and what makes it again.

    The exit code is 2 if something is damaged. Runs made before there were checksums are read row
    by row, and what could not be compared is counted.
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
