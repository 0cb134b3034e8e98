"""Recipe files and overrides as layers of plain values, and errors that name the file and line.

A later layer overrides an earlier one, key by key. If it names another task or another model, the
options of the earlier task or model are dropped.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from star_mlx.data import yaml_text
from star_mlx.errors import RecipeError
from star_mlx.formatting import clipped, refused, without_password

Key = tuple[str, ...]


@dataclass(frozen=True)
class Layer:
    """Values and their source; ``lines`` has the line of each key of a file."""

    source: str
    values: dict[str, Any]
    lines: Mapping[Key, int] = field(default_factory=dict)

    def place(self, key: Key) -> str:
        """The place of a key: the source, and the line if it is known."""
        line = next(
            (self.lines[k] for n in range(len(key), 0, -1) if (k := key[:n]) in self.lines), None
        )
        return self.source if line is None else f"{self.source}, line {line}"


# --------------------------------------------------------------------------- reading


def read(name: str, shipped: Path, above: tuple[Path, ...] = ()) -> list[Layer]:
    """Read the layers of a recipe, starting with those it extends.

    Args:
        name: a file, or the name of one in the folder ``shipped``.
        above: the files that led here, each extending the next.
    """
    path = _find(name, shipped, above[-1].parent if above else Path())
    if path.resolve() in [p.resolve() for p in above]:
        chain = " -> ".join(map(str, (*above, path)))
        raise RecipeError(f"{path} extends itself ({chain}): remove one of the extends")
    layer = _layer(path)
    base = layer.values.pop("extends", None)
    if base is None:
        return [layer]
    if not isinstance(base, str):
        raise RecipeError(f"{layer.place(('extends',))}: extends should be a recipe's name or file")
    return [*read(base, shipped, (*above, path)), layer]


def _find(name: str, shipped: Path, folder: Path) -> Path:
    """A file beside the recipe that names it, or a shipped recipe."""
    here, own = folder / name, shipped / f"{name}.yaml"
    if here.is_file():
        return here
    if "/" not in name and own.is_file():
        return own
    names = sorted(path.stem for path in shipped.glob("*.yaml"))
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names) or 'none'}"
    what = f"{here} is a folder" if here.is_dir() else f"there is no file {here}"
    raise RecipeError(f"no recipe {clipped(name)!r}: {what}, and of the shipped recipes {hint}")


def _layer(path: Path) -> Layer:
    layer = document(path, "a recipe", "seed: 1")
    values = layer.values
    _beside(values.get("prompts"), ("file",), path.parent)
    task = values.get("task")
    if isinstance(task, dict):
        _beside(task.get("options"), ("data", "path", "test"), path.parent)
    return layer


def document(path: Path, what: str, such_as: str, *, empty: bool = False) -> Layer:
    """A YAML file of keys and values.

    Raises:
        RecipeError: it cannot be read, or is no such file; ``what`` and ``such_as`` say in the
            message what it should be. With ``empty``, an empty file is one without keys.
    """
    try:
        text = yaml_text.text_of(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = str(error) if isinstance(error, yaml.YAMLError) else "it is not UTF-8 text"
        why = error.strerror or why if isinstance(error, OSError) else why
        raise RecipeError(f"{path} cannot be read: {why}") from None
    values, node = _parsed(text, str(path))
    if values is None and empty:
        values = {}
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: {what} is a mapping of keys to values, such as `{such_as}`")
    return Layer(str(path), values, dict(_lines(node)))


def _beside(group: Any, names: Sequence[str], folder: Path) -> None:
    """Resolve the paths of a group of settings relative to the folder of their recipe."""
    for name in names:
        if isinstance(group, dict) and isinstance(group.get(name), str):
            group[name] = str(folder / Path(group[name]).expanduser())


def _parsed(text: str, source: str) -> tuple[Any, yaml.Node | None]:
    try:
        return yaml_text.load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark and not source.startswith("--") else ""
        raise RecipeError(f"{source}{line}: this is no valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{source}: this is no valid YAML: {_one_line(error)}") from None


def _lines(node: yaml.Node | None, above: Key = ()) -> Iterator[tuple[Key, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*above, str(key.value)), key.start_mark.line + 1
            yield from _lines(value, (*above, str(key.value)))


def override(text: str, source: str = "") -> Layer:
    """The layer of one ``key.path=value``, which was given as ``source`` or with ``--set``."""
    source = source or f"--set {clipped(without_password(text))}"
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise RecipeError(f"{source}: write KEY=VALUE as one word, such as --set star.iterations=3")
    values, _ = _parsed(value, source)
    for key in reversed(keys):
        values = {key: values}
    return Layer(source, values)


def assigned(name: str, value: Any, root: type[BaseModel]) -> Layer:
    """The layer of one setting that is given in Python.

    Args:
        name: the key path, such as ``train.rank``, the name of a group, or the last name of a
            setting if no other has the same, such as ``rank``.
        value: plain data, or for a group also an object of it.

    Raises:
        RecipeError: there is no such setting, or several have this last name.
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_unset=True)
    value = str(value) if isinstance(value, Path) else value
    try:
        yaml.safe_dump(value)
    except yaml.YAMLError:
        raise RecipeError(f"{name}={value!r}: a setting is a number, a text, a list...") from None
    source = without_password(f"{name}={value!r}")
    for key in reversed(name.split(".") if "." in name else _full(name, root)):
        value = {key: value}
    return Layer(source, value)


def _full(name: str, root: type[BaseModel]) -> Key:
    """The key path of the setting with that last name."""
    if name in root.model_fields:
        return (name,)
    paths = [key for key, _ in keys(root)]
    found = [".".join(key) for key in paths if key[-1] == name]
    if len(found) == 1:
        return tuple(found[0].split("."))
    if found:
        written = " or ".join(f"settings={{{path!r}: ...}}" for path in found)
        raise RecipeError(f"{name} may be {' or '.join(found)}: write {written}")
    near = difflib.get_close_matches(name, {*(key[-1] for key in paths), *root.model_fields}, n=1)
    hint = f"did you mean {near[0]}?" if near else "star-mlx settings lists them"
    raise RecipeError(f"there is no setting {name}: {hint}")


# --------------------------------------------------------------------------- merging


def merged(layers: Sequence[Layer]) -> dict[str, Any]:
    """Merge all layers, later ones over earlier ones, without short forms."""
    values: dict[str, Any] = {}
    for layer in layers:
        new = _long(layer.values)
        for group, name in (("task", "name"), ("model", "path")):
            if _renames(new.get(group), values.get(group), name):
                values[group] = {}
        values = _over(values, new)
    return values


def _renames(new: Any, old: Any, name: str) -> bool:
    """Whether a group names another task or model than the one before it."""
    both = isinstance(new, dict) and isinstance(old, dict)
    return both and name in new and new[name] != old.get(name)


def _long(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same without the short forms of ``task`` and ``model``."""
    new = dict(values)
    if isinstance(task := new.get("task"), str):
        new["task"] = {"name": task}
    if isinstance(model := new.get("model"), str):
        new["model"] = model_values(model)
    return new


def model_values(text: str) -> dict[str, Any]:
    """The group of a model's short form: ``PATH`` or ``owner/name@revision``."""
    hub = re.fullmatch(r"([\w.-]+/[\w.-]+)@(\S+)", text)
    return {"path": hub[1], "revision": hub[2]} if hub else {"path": text}


def _over(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(old)
    for key, value in new.items():
        under = both.get(key)
        if isinstance(under, dict) and isinstance(value, dict):
            value = _over(under, value)
        both[key] = value
    return both


def leaves(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """``"key.path"`` -> value, for every value that is not a mapping (or is an empty one)."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(leaves(value, f"{above}{key}."))
        else:
            flat[f"{above}{key}"] = value
    return flat


def shown(value: Any) -> str:
    """A value as YAML, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("\n").removesuffix("...").strip()


# --------------------------------------------------------------------------- errors


def explained(
    error: ValidationError,
    layers: Sequence[Layer],
    root: type[BaseModel],
    others: Sequence[Key] = (),
) -> RecipeError:
    """The first error, as one line: the place, the key, what is wrong and how to fix it.

    Args:
        others: keys that ``root`` does not know, to suggest in place of an unknown one.
    """
    errors = error.errors()
    first = errors[0]
    key, demand = refused(errors, _example([str(part) for part in first["loc"]], root))
    place = _place(layers, key)
    path = clipped(".".join(key))
    if first["type"] == "extra_forbidden":
        return RecipeError(f"{place}: unknown key {path}: {_nearest(key, root, others)}")
    if first["type"] == "value_error":
        group = f"{path}: " if path else ""  # none: it is about two groups
        return RecipeError(f"{place}: {group}{first['ctx']['error']}")
    if demand == "is missing":
        return RecipeError(f"{place}: {path} {demand}")
    if first["type"] == "model_type":
        inner = ", ".join(_group(key, root).model_fields)
        return RecipeError(f"{place}: {path} {demand}: {inner}")
    about = _description(key, root)
    given = clipped(without_password(shown(first["input"])))
    return RecipeError(f"{place}: {path} {demand}, but is {given}{about}")


def _example(key: Sequence[str], root: type[BaseModel]) -> str:
    """A list that a setting could be: its default if that is one."""
    info = next((info for at, info in keys(root) if at == tuple(key)), None)
    default = info.get_default(call_default_factory=True) if info else None
    return shown(list(default)) if isinstance(default, tuple | list) and default else "[a, b]"


def _place(layers: Sequence[Layer], key: Key) -> str:
    """The place from which the value of a key, or of its nearest group, comes."""
    for length in range(len(key), 0, -1):
        for layer in reversed(layers):
            values: Any = _long(layer.values)
            for part in key[:length]:
                values = values.get(part, layer) if isinstance(values, dict) else layer
            if values is not layer:
                return layer.place(key)
    return layers[-1].place(key)


def _group(key: Sequence[str], root: type[BaseModel]) -> type[BaseModel]:
    """The innermost group of settings on a key path."""
    group = root
    for part in key:
        info = group.model_fields.get(part)
        if info is None or not _is_group(info.annotation):
            break
        group = info.annotation  # type: ignore[assignment]
    return group


def _is_group(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def keys(root: type[BaseModel], above: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every setting: its key path and its pydantic field."""
    for name, info in root.model_fields.items():
        if _is_group(info.annotation):
            yield from keys(info.annotation, (*above, info.alias or name))  # type: ignore[arg-type]
        else:
            yield (*above, info.alias or name), info


def _nearest(key: Key, root: type[BaseModel], others: Sequence[Key]) -> str:
    siblings = list(_group(key[:-1], root).model_fields)
    last = {k[-1]: ".".join(k) for k in (*others, *(k for k, _ in keys(root)))}
    if key[-1] in last:
        return f"did you mean {last[key[-1]]}?"
    if near := difflib.get_close_matches(key[-1], siblings, n=1):
        return f"did you mean {'.'.join((*key[:-1], near[0]))}?"
    if near := difflib.get_close_matches(key[-1], last, n=1):
        return f"did you mean {last[near[0]]}?"
    return f"there are: {', '.join(siblings)}"


def _description(key: Key, root: type[BaseModel]) -> str:
    about = {k: info.description for k, info in keys(root)}
    text = next((about[key[:n]] for n in range(len(key), 0, -1) if key[:n] in about), None)
    return f" ({text})" if text else ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
