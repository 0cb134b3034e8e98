"""The settings of a recipe in words, made from the recipe type."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click

_NAMES = {int: "int", float: "number", bool: "true|false", str: "text", dict: "mapping"}


@dataclass(frozen=True, slots=True)
class Described:
    """A setting: its key path, the type and bounds of its value, its default and its meaning."""

    key: str
    type: str
    default: str
    meaning: str

    def words(self) -> str:
        """All of it but the key."""
        return f"{self.type}. {self.meaning} [{self.default}]"

    def brief(self) -> str:
        """The first clause of the meaning."""
        return self.meaning.split(" (")[0].split(";")[0].split(": ")[0]


def settings(group: Any = None, above: str = "") -> Iterator[Described]:
    """Every setting of a recipe, or of a group of settings such as a task's options, whose key
    paths begin with ``above``."""
    from star_mlx.recipe.layers import keys
    from star_mlx.settings import Recipe

    for path, info in keys(group or Recipe):
        if info.is_required():
            default = "required"
        else:
            value = info.get_default(call_default_factory=True)
            default = f"default: {value if isinstance(value, str) else json.dumps(value)}"
        kind = f"{_type(info.annotation)}{_bounds(info.metadata)}"
        yield Described(above + ".".join(path), kind, default, info.description or "")


def write(formatter: click.HelpFormatter, found: Iterable[Described], also: Any = None) -> None:
    """Write settings as a list; ``also`` maps a key to more words about it."""
    rows = [(one.key, one.words() + (also or {}).get(one.key, "")) for one in found]
    formatter.write_dl(rows, col_max=34)


def _type(annotation: Any) -> str:
    if annotation is NoneType:
        return "null"
    origin = get_origin(annotation)
    if origin is Annotated:
        kind, *fields = get_args(annotation)
        return _type(kind) + _bounds([b for f in fields for b in getattr(f, "metadata", [f])])
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
