"""Where the files beside the code are: the few-shot prompts and the recipes."""

from __future__ import annotations

from pathlib import Path


def prompts_dir() -> Path:
    """The folder of prompt files, one folder a task."""
    return _folder("prompts")


def recipes_dir() -> Path:
    """The folder of shipped recipes."""
    return _folder("recipes")


def _folder(name: str) -> Path:
    """In an install the wheel holds it in ``shipped/``; in a checkout it is beside the package."""
    package = Path(__file__).parents[1]
    installed = package / "shipped" / name
    return installed if installed.is_dir() else package.parent / name
