"""The fields of a row as text: named by a path, filled into a template, or turns of a chat."""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from star_mlx.errors import TaskError

_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_MOST = 12  # field names in a message


def text(row: Mapping[str, Any], name: str) -> str:
    """A field as text; ``a.b`` is the field ``b`` inside ``a``. Numbers are written out.

    Raises:
        TaskError: it is missing, blank, or not text.
    """
    value = value_of(row, name)
    if value is None:
        _refuse_turns(row, name)
        has = "" if name.split(".")[0] in row else f" (the row has {_listed(row)})"
        raise TaskError(f"its {name} is missing{has}")
    plain = written(value)
    if plain is None:
        raise TaskError(f"its {name} should be text, not {_kind(value)}")
    if not plain:
        raise TaskError(f"its {name} is blank")
    if wrong := no_text(plain):
        raise TaskError(f"its {name} {wrong}")
    return plain


def texts(row: Mapping[str, Any], name: str) -> list[str]:
    """The texts of a field that holds one or a list of them, as ``answers`` do in SQuAD; each once.

    Raises:
        TaskError: as ``text``; or the list is empty.
    """
    value = value_of(row, name)
    if not isinstance(value, (list, tuple)):
        return [text(row, name)]
    if not value:
        raise TaskError(f"its {name} is an empty list")
    return list(dict.fromkeys(text({name: item}, name) for item in value))


def value_of(row: Mapping[str, Any], name: str) -> Any:
    """A field, or None: by its whole name, else by its path of names.

    In a list of chat turns, ``messages.user`` is the content of the only turn with that role.
    """
    if name in row:
        return row[name]
    here: Any = row
    for part in name.split("."):
        if isinstance(here, Mapping):
            here = here.get(part)
        else:
            said = turns(here).get(part, ()) if isinstance(here, list) else ()
            here = said[0] if len(said) == 1 else None
    return here


def turns(value: Any) -> dict[str, list[Any]]:
    """Role -> its contents, in order, of a list of chat turns; empty if it is no such list.

    Turns have ``role`` and ``content``, as of OpenAI, or ``from`` and ``value``, as of ShareGPT.
    """
    found: dict[str, list[Any]] = {}
    for turn in value if isinstance(value, list) else ():
        if not isinstance(turn, Mapping):
            return {}
        role, said = ("role", "content") if "role" in turn else ("from", "value")
        if not isinstance(turn.get(role), str) or said not in turn:
            return {}
        found.setdefault(turn[role], []).append(turn[said])
    return found


def _refuse_turns(row: Mapping[str, Any], name: str) -> None:
    """Refuse a conversation in which a role has several turns, or none."""
    outer, _, role = name.rpartition(".")
    by_role = turns(value_of(row, outer)) if outer else {}
    if by_role:
        n = len(by_role.get(role, ()))
        raise TaskError(
            f"its {outer} have {n} turns of {role}: a problem is one question with one answer"
        )


def written(value: Any) -> str | None:
    """Text, a number or a boolean as text; None for anything else. 72.0 is "72"."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        value = Decimal(repr(value))
    if isinstance(value, Decimal) and value.is_finite():
        plain = format(value, "f")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    return None


def _kind(value: Any) -> str:
    if isinstance(value, (float, Decimal)):
        return str(value)  # nan or an infinity
    return "an object" if isinstance(value, Mapping) else f"a {type(value).__name__}"


def no_text(text: str) -> str | None:
    """The reason why a text cannot be given to a model, or None."""
    if "\0" in text:
        return "holds a NUL character"
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        return "holds half a surrogate pair, which is no character"
    return None


def _listed(row: Mapping[str, Any]) -> str:
    names = [str(name)[:40] for name in row]
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") or "no fields"


# --------------------------------------------------------------------------- templates of fields


def is_template(spec: str) -> bool:
    """Whether a text names fields in braces, as ``"{Body} {Question}"`` does."""
    return "{" in spec or "}" in spec


def placeholders(template: str) -> list[str]:
    """The fields that a template names; those with a ``?`` at the end may be blank.

    Raises:
        TaskError: a brace without its partner, an empty placeholder, or none at all.
    """
    names: list[str] = []
    for found in _PLACE.finditer(template):
        if found[0] in ("{", "}"):
            raise TaskError(
                f"has a {found[0]!r} without its partner: for a brace of the text write it twice"
            )
        if found[1] is not None:
            if not found[1].strip(" ?"):
                raise TaskError(f"has {found[0]!r} without the name of a field in it")
            names.append(found[1])
    if not names:
        raise TaskError("names no field: give a field, or a text with {FIELD}")
    return names


def filled_with(row: Mapping[str, Any], template: str) -> str:
    """A template with the fields of a row in it.

    ``{name}`` has to be there; ``{name?}`` may be missing or blank, and then the white space before
    it is left out as well. ``{{`` and ``}}`` are braces.

    Raises:
        TaskError: a field that has to be there is missing, blank or no text.
    """
    parts: list[str] = []
    for before, name in _split(template):
        if name.endswith("?") and name not in row:
            name = name[:-1]
            value = value_of(row, name)
            if value is None or (isinstance(value, str) and not value.strip()):
                parts.append(before.rstrip())
                continue
        parts += [before, text(row, name) if name else ""]
    return "".join(parts).strip()


@functools.cache
def _split(template: str) -> list[tuple[str, str]]:
    """The text before each placeholder, and its field; at the end without one."""
    found, text, end = [], "", 0
    for place in _PLACE.finditer(template):
        text += template[end : place.start()]
        end = place.end()
        if place[1] is None:
            text += place[0][0]
        else:
            found.append((text, place[1]))
            text = ""
    return [*found, (text + template[end:], "")]


# --------------------------------------------------------------------------- names of fields


def names_of(row: Mapping[str, Any]) -> list[str]:
    """The names of a row's fields, with those inside other fields and the roles of chat turns."""
    found: list[str] = []
    for name, value in row.items():
        inner = value if isinstance(value, Mapping) else turns(value)
        found += [str(name), *(f"{name}.{part}" for part in inner)]
    return found


def has(row: Mapping[str, Any], name: str) -> bool:
    """Whether a row has a field, also if its value is null."""
    if name in row or value_of(row, name) is not None:
        return True
    outer, _, last = name.rpartition(".")
    inside = value_of(row, outer) if outer else None
    return last in inside if isinstance(inside, Mapping) else last in turns(inside)


def unknown(name: str, there: Iterable[str], what: str = "") -> str:
    """The message on a field that is not ``there``: "no row has a field 'Boddy': did you mean ...".

    ``what`` is the words on the data, such as ``"of x.csv "``.
    """
    names = list(dict.fromkeys(there))
    by_case = {n.casefold(): n for n in reversed(names)}
    near = difflib.get_close_matches(name.casefold(), by_case, n=1)
    listed = f"he fields are {shown_names(names)}"
    guess = f"did you mean {by_case[near[0]]!r}? T{listed}" if near else f"t{listed}"
    return f"no row {what}has a field {name!r}: {guess}"


def shown_names(names: Sequence[str]) -> str:
    """Field names for a message."""
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return (", ".join(repr(name[:60]) for name in names[:_MOST]) or "none") + more
