"""What a shell completes: run folders, tasks, recipes, names of settings.

``eval "$(_STAR_MLX_COMPLETE=bash_source star-mlx)"`` turns it on (also zsh_source, fish_source).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from star_mlx.errors import StarError
from star_mlx.store import names


def runs(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Run folders: those in the folder of runs, and those below what is typed."""
    from star_mlx.cli import config

    try:
        root = str(config.read().runs)
    except StarError:
        root = str(config.RUNS)
    folders = sorted({*_inside(root), *_inside(os.path.dirname(incomplete) or ".")})
    found = [folder for folder in folders if folder.startswith(incomplete)]
    return [CompletionItem(folder) for folder in found] or [CompletionItem(incomplete, type="dir")]


def _inside(folder: str) -> Iterator[str]:
    """The run folders in a folder."""
    try:
        inside = os.listdir(os.path.expanduser(folder))
    except OSError:
        return
    for name in inside:
        path = name if folder == "." else os.path.join(folder, name)
        if (Path(path).expanduser() / names.RECIPE).is_file():
            yield path


def tasks(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of tasks."""
    from star_mlx.tasks import names as described

    found = [(name, text) for name, text in described().items() if name.startswith(incomplete)]
    files = [] if found else [CompletionItem(incomplete, type="file")]
    return [CompletionItem(name, help=text) for name, text in found] + files


def recipes(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shipped recipes; files, if none begins so."""
    from star_mlx.recipe.loading import shipped

    found = [CompletionItem(name) for name in shipped() if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


def settings(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The key paths of settings, for ``--set``."""
    from star_mlx.cli.setting_text import settings as every

    found = [one for one in every() if one.key.startswith(incomplete)]
    return [CompletionItem(f"{one.key}=", help=one.brief()) for one in found]


def setting_words(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The key paths of settings, and their groups."""
    from star_mlx.cli.setting_text import settings as every

    keys = [one.key for one in every()]
    groups = {key.rpartition(".")[0] for key in keys if "." in key}
    return [CompletionItem(key) for key in sorted({*keys, *groups}) if key.startswith(incomplete)]
