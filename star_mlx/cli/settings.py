"""The section of a command's help that lists the recipe's settings, made from the recipe type."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click

_NAMES = {int: "int", float: "number", bool: "true|false", str: "text", dict: "mapping"}


class WithSettings(click.Command):
    """A command whose help ends with the settings that ``--set`` takes."""

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Settings (--set KEY=VALUE, or KEY: VALUE in a recipe file)"):
            formatter.write_dl(list(settings()), col_max=34)
        from star_mlx.recipe.loading import shipped

        formatter.write_paragraph()
        formatter.write_text(f"Shipped recipes: {', '.join(shipped())}.")


def settings(group: Any = None) -> Iterator[tuple[str, str]]:
    """Yield (key path, type with description and default) for every setting of a recipe, or of a
    group of settings such as a task's options."""
    from star_mlx.recipe.layers import keys
    from star_mlx.settings import Recipe

    for path, info in keys(group or Recipe):
        if info.is_required():
            default = "required"
        else:
            value = info.get_default(call_default_factory=True)
            default = f"default: {value if isinstance(value, str) else json.dumps(value)}"
        text = f"{_type(info.annotation)}{_bounds(info.metadata)}. {info.description} [{default}]"
        yield ".".join(path), text


def _type(annotation: Any) -> str:
    if annotation is NoneType:
        return "null"
    origin = get_origin(annotation)
    if origin is Annotated:
        return _type(get_args(annotation)[0])
    if origin is Literal:
        return "|".join(map(str, get_args(annotation)))
    if origin in (Union, UnionType):
        return " or ".join(map(_type, get_args(annotation)))
    if origin is tuple:
        return f"list of {_type(get_args(annotation)[0])}"
    return _NAMES[origin or annotation]


def _bounds(metadata: list[Any]) -> str:
    signs = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
    found = [
        f"{sign} {getattr(bound, name)}"
        for bound in metadata
        for name, sign in signs
        if getattr(bound, name, None) is not None and getattr(bound, name) < 2**53
    ]
    return f" {', '.join(found)}" if found else ""
