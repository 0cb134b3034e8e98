"""The folders of the files that come with the code: the few-shot prompts and the recipes."""

from __future__ import annotations

from pathlib import Path


def prompts_dir() -> Path:
    """The folder of prompt files, with one folder per task."""
    return _folder("prompts")


def recipes_dir() -> Path:
    """The folder of shipped recipes."""
    return _folder("recipes")


def _folder(name: str) -> Path:
    """The folder: in ``shipped/`` if installed from a wheel, beside the package in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "shipped" / name
    return installed if installed.is_dir() else package.parent / name
