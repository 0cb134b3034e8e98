"""``star-mlx doctor``: check whether this machine can run the loop."""

from __future__ import annotations

import sys

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def doctor(as_json: bool) -> None:
    """Check the device, memory and libraries of this machine, and say how to fix what is missing.

    Exits with code 1 if a check fails.
    """
    from star_mlx.engine.doctor import examine

    checks = examine()
    if as_json:
        import json

        fields = ("name", "ok", "value", "advice")
        click.echo(json.dumps([{f: getattr(check, f) for f in fields} for check in checks]))
    else:
        width = max((len(check.name) for check in checks), default=0)
        for check in checks:
            mark = {True: "ok", False: "FAIL", None: "-"}[check.ok]
            click.echo(f"{mark:<4}  {check.name:<{width}}  {check.value}")
            if check.advice and check.ok is not True:
                click.echo(f"{'':<{width + 8}}{check.advice}")
    if any(check.ok is False for check in checks):
        sys.exit(1)
