"""YAML that people write: recipes, prompt files, the config file.

Every key is text, so that ``yes:``, ``null:`` and ``12:30:`` are the words they are written as, and
so are dates and times of day. Numbers may be written ``5e-4``. Duplicate keys are refused, and so
is a file that is huge or becomes huge when its aliases are written out.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import yaml

LARGEST_FILE = 512 * 1024  # bytes; a second's work for PyYAML's parser, and hundreds of examples
LARGEST = 1_000_000  # characters and values, with every alias written out

_MERGE = "tag:yaml.org,2002:merge"
_STR = "tag:yaml.org,2002:str"
_NO_TEXT = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class Loader(yaml.SafeLoader):
    """The kind of YAML that this module describes."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refused(key, "a key is a word, not a list or a group")
            if key.tag == _MERGE:
                continue
            if key.value in seen:
                first = seen[key.value]
                raise _refused(key, f"{key.value} is given twice, first in line {first}")
            seen[key.value] = key.start_mark.line + 1
            key.tag = _STR
        return super().construct_mapping(node, deep)


# Without dates (text) and numbers of base 60 (12:30 is a time of day, not 750).
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag not in _NO_TEXT]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+)$"),
    list("-+0123456789"),
)
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def text_of(path: Path) -> str:
    """The text of a file.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read.
        yaml.YAMLError: it is too large for a file that a person wrote.
    """
    with open(path, "rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise yaml.YAMLError(f"it is larger than {LARGEST_FILE // 1024} kB")
    return data.decode("utf-8")


def load(text: str, kind: type[Loader] = Loader) -> tuple[Any, yaml.Node | None]:
    """The value of a YAML text, and its nodes, which know their lines.

    Raises:
        yaml.YAMLError: the text is no YAML, or not of this kind.
    """
    loader = kind(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, None
        _written_out(node, {}, set())
        return loader.construct_document(node), node
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except (ValueError, TypeError, OverflowError) as error:  # such as !!int "a", or 5,000 digits
        raise yaml.YAMLError(str(error)) from None
    finally:
        loader.dispose()


def load_own(text: str) -> Any:
    """The value of a YAML text that star-mlx wrote, as ``yaml.safe_load`` reads it.

    libyaml reads it six times as fast, but words its errors otherwise, and PyYAML may lack it.

    Raises:
        yaml.YAMLError, ValueError, RecursionError: it was changed, and cannot be read.
    """
    if yaml.__with_libyaml__:
        with suppress(yaml.YAMLError):
            return yaml.load(text, _quick_loader())
    return yaml.safe_load(text)


@cache
def _quick_loader() -> Any:
    """libyaml's parser with PyYAML's composer, whose recursion Python bounds."""
    from yaml.composer import Composer
    from yaml.constructor import SafeConstructor
    from yaml.cyaml import CParser  # type: ignore[attr-defined]
    from yaml.resolver import Resolver

    class Quick(Composer, CParser, SafeConstructor, Resolver):
        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            Composer.__init__(self)
            SafeConstructor.__init__(self)
            Resolver.__init__(self)

    return Quick


def _written_out(node: yaml.Node, known: dict[int, int], above: set[int]) -> int:
    """The characters and values of a node, counting what an alias names as often as it is named."""
    if id(node) in above:
        raise _refused(node, "an alias names something that it is itself a part of")
    if id(node) in known:
        return known[id(node)]
    if isinstance(node, yaml.CollectionNode):
        parts = node.value
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        size = 1 + sum(_written_out(part, known, above | {id(node)}) for part in parts)
    else:
        size = 1 + len(node.value)
    if size > LARGEST:
        raise _refused(
            node, f"it is larger than {LARGEST:,} characters with its aliases written out"
        )
    known[id(node)] = size
    return size


def _refused(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
