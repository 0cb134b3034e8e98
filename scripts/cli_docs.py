"""Write docs/cli.md: every command's help, as the commands print it.

python scripts/cli_docs.py > docs/cli.md
"""

from __future__ import annotations

from click.testing import CliRunner

from star_mlx.cli import cli


def page() -> str:
    """The whole page. ``tests/test_docs.py`` compares it with the file."""
    parts = ["# Commands\n\nWritten by `python scripts/cli_docs.py > docs/cli.md`.\n"]
    for name in ("", *cli.commands):
        command = f"star-mlx {name}".rstrip()
        arguments = [*name.split(), "--help"]
        result = CliRunner().invoke(
            cli, arguments, prog_name="star-mlx", terminal_width=100, catch_exceptions=False
        )
        parts.append(f"## {command}\n\n```\n{result.output.rstrip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
