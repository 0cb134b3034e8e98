"""Write docs/cli.md: every command's help, as the commands print it.

python scripts/cli_docs.py > docs/cli.md
"""

from __future__ import annotations

from click.testing import CliRunner

from star_mlx.cli import cli

HEAD = """\
# Commands

Written by `python scripts/cli_docs.py > docs/cli.md`.

`star-mlx loop --help` is shorter than what is here, which is `star-mlx loop --help-all`.
[Options, settings and your config file](config.md) explains how options and settings go together,
the config file, and completion in a shell.
"""


def page() -> str:
    """The whole page. ``tests/test_docs.py`` compares it with the file."""
    parts = [HEAD]
    commands = [name for names in cli.groups.values() for name in names]
    for name in ("", *commands):
        command = f"star-mlx {name}".rstrip()
        arguments = [*name.split(), "--help-all" if name == "loop" else "--help"]
        result = CliRunner().invoke(
            cli, arguments, prog_name="star-mlx", terminal_width=100, catch_exceptions=False
        )
        parts.append(f"## {command}\n\n```\n{result.output.rstrip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
