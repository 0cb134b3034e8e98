"""``star-mlx doctor``: check whether this machine can run the loop."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from star_mlx.errors import StarError

if TYPE_CHECKING:
    from star_mlx.engine.doctor import Check


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def doctor(as_json: bool) -> None:
    """Check this machine, and say how to fix what is wrong.

    Looks at the device, the memory, the libraries, and your config file. Exits with code 1 if a
    check fails.
    """
    from star_mlx.engine.doctor import examine

    checks = [*map(_plain, examine()), _config()]
    if as_json:
        import json

        click.echo(json.dumps(checks))
    else:
        width = max((len(check["name"]) for check in checks), default=0)
        for check in checks:
            mark = {True: "ok", False: "FAIL", None: "-"}[check["ok"]]
            click.echo(f"{mark:<4}  {check['name']:<{width}}  {check['value']}")
            if check["advice"] and check["ok"] is not True:
                click.echo(f"{'':<{width + 8}}{check['advice']}")
    if any(check["ok"] is False for check in checks):
        sys.exit(1)


def _plain(check: Check) -> dict[str, Any]:
    return {field: getattr(check, field) for field in ("name", "ok", "value", "advice")}


def _config() -> dict[str, Any]:
    """Whether the user's config file can be used, and what it sets."""
    from star_mlx.cli import config

    try:
        return {"name": "config", "ok": None, "value": config.read().words(), "advice": ""}
    except StarError as error:
        return {"name": "config", "ok": False, "value": str(error), "advice": "mend or remove it"}
