"""The templates of the task ``jsonl``, and the forms in which its data writes answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from star_mlx.errors import TaskError

_PLACES = "question|choices|answer|rationale"
PLACE = re.compile(rf"\{{({_PLACES})\}}")
# A placeholder, or another name in doubled braces.
_FILLED = re.compile(rf"\{{({_PLACES})\}}|\{{(\{{(?!(?:{_PLACES})\}})[^\W\d][\w. -]*\}})\}}")
_BRACED = re.compile(r"(?<!\{)\{([^{}\n]+)\}(?!\})")
_NAME = re.compile(r"[^\W\d][\w.]+")  # a single letter is more often mathematics: {x}
# Before a brace of LaTeX: a command with its other arguments, or a sub- or superscript.
_LATEX = re.compile(r"(?:\\[A-Za-z]+\*?(?:\[[^\[\]]*\])?(?:\{[^{}]*\})*|[\^_])$")


def filled(template: str, **parts: str) -> str:
    """Fill the placeholders of a template, all at once: those inside a part are left alone.

    A name in doubled braces that is no placeholder keeps one pair: ``{{name}}`` is ``{name}``.
    """

    def part(found: re.Match[str]) -> str:
        if found[1]:
            return parts.get(found[1], found[0])
        return found[0] if _in_latex(template, found.start()) else found[2]

    return _FILLED.sub(part, template)


def unfilled(template: str) -> list[str]:
    """The texts in single braces that ``filled`` leaves as they are, except those of LaTeX."""
    hidden = PLACE.sub(lambda m: " " * len(m[0]), template)
    return [m[1] for m in _BRACED.finditer(hidden) if not _in_latex(hidden, m.start())]


def _in_latex(template: str, place: int) -> bool:
    return _LATEX.search(template[max(0, place - 100) : place]) is not None


def check_places(
    name: str, template: str | None, needed: Sequence[str], also: Sequence[str] = (), more: str = ""
) -> None:
    """Refuse a template without a placeholder that it needs, or with one that is not filled.

    Args:
        name: the option's name.
        template: its text.
        needed: the placeholders that have to be in it.
        also: those that can be in it.
        more: what else can be given, for the message.

    Raises:
        TaskError: naming the option, and what to write instead.
    """
    if template is None:
        return
    has = {m[1] for m in PLACE.finditer(template)}
    if lacks := next((place for place in needed if place not in has), None):
        raise TaskError(
            f"task.options.{name} lacks {{{lacks}}}: give a text with {_listed(needed)}{more}"
        )
    if extra := next(iter(sorted(has - {*needed, *also})), None):
        raise TaskError(f"task.options.{name} cannot hold {{{extra}}}")
    if left := next((text for text in unfilled(template) if _NAME.fullmatch(text)), None):
        raise TaskError(_not_filled(name, left))


def _listed(places: Sequence[str]) -> str:
    return " and ".join(f"{{{place}}}" for place in places)


def check_no_field(name: str, template: str | None, fields: Iterable[str]) -> None:
    """Refuse a template that has a field of the data in braces: it would not be filled.

    Raises:
        TaskError: naming the option, and what to write instead.
    """
    there = set(fields)
    if left := next((text for text in unfilled(template or "") if text in there), None):
        raise TaskError(_not_filled(name, left))


def _not_filled(name: str, left: str) -> str:
    known = {"ask": "{question} and {choices} are", "hint": "{question} and {answer} are"}
    return (
        f"task.options.{name} has {{{left}}}, but only "
        f"{known.get(name, '{rationale} and {answer} are')} filled in: for fields of the data give "
        f'task.options.fields.question a text such as "{{Body}} {{Question}}", and for braces that '
        f"are part of the text write {{{{{left}}}}}"
    )


def counted(answer: str, first: int, choices: Sequence[tuple[str, str]]) -> str:
    """The label of the choice at a position, counted from ``first``."""
    place = int(answer) - first if re.fullmatch(r"[0-9]{1,3}", answer) else -1
    if not 0 <= place < len(choices):
        last = len(choices) - 1 + first
        raise TaskError(f"its answer {answer[:60]!r} is not a whole number from {first} to {last}")
    return choices[place][0]


_SO = re.compile(r"(?:^|(?<=\s))(?:so|thus|hence|therefore|and so)?,?\s*\Z", re.IGNORECASE)


def without_conclusion(text: str, marker: str) -> str | None:
    """The rationale in a text that ends in "The answer is ...": None without such an end."""
    at = text.casefold().rfind(marker.casefold())
    return _SO.sub("", text[:at]).strip() or None if at > 0 else None
