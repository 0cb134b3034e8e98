"""A run's events in the flat form of trackers: numbers and settings by path, rows of samples."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from star_mlx.events import Sampled
from star_mlx.formatting import harmless
from star_mlx.trackers.tracker import SampleRow
from star_mlx.types import Phase

COLUMNS = ("pass", "id", "question", "completion", "answer", "gold", "verdict")
CUT = 2000  # maximum characters of a text
PASSES: dict[Phase, str] = {"generate": "direct", "rationalize": "hinted", "evaluate": "dev"}


def numbers(line: Mapping[str, Any]) -> dict[str, float]:
    """Every number of a metrics line by its path, such as ``eval/accuracy``; text is left out.

    An interval becomes ``ci95_low`` and ``ci95_high``, a class its accuracy: ``eval/by_class/3``.
    """
    rest = {key: value for key, value in line.items() if key != "iteration"}
    return dict(_numbers(rest, ()))


def _numbers(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    name = "/".join(path)
    if isinstance(value, (int, float)):
        yield name, value
    elif isinstance(value, (list, tuple)) and len(value) == 2:
        yield f"{name}_low", value[0]
        yield f"{name}_high", value[1]
    elif isinstance(value, Mapping) and path and path[-1] == "by_class":
        for key, counts in value.items():
            yield f"{name}/{clean(key)}", counts["correct"] / counts["n"]
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _numbers(part, (*path, clean(key)))


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting by its path with dots; a list is one value."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= {f"{clean(key)}.{name}": part for name, part in settings(value).items()}
        else:
            found[clean(key)] = value
    return found


def clean(key: object) -> str:
    """A part of a path that every tracker accepts: letters, digits, ``_``, ``-``, dots, blanks."""
    text = re.sub(r"[^\w.\- ]", "_", str(key))[:80].strip()
    return text if text.strip(".") else "_"


def sample(event: Sampled, phase: Phase) -> SampleRow:
    """A row of ``COLUMNS``; ``phase`` is the phase of the attempt."""
    attempt = event.attempt
    answer = attempt["answer"]
    verdict = "no answer" if answer is None else "right" if attempt["correct"] else "wrong"
    if attempt.get("undecided"):
        verdict = "undecided"
    texts = (attempt["id"], event.question, attempt["completion"], answer or "", event.gold)
    return (PASSES[phase], *map(shown, texts), verdict)


def shown(text: str) -> str:
    """A text without control characters, cut to ``CUT``."""
    return harmless(text if len(text) <= CUT else text[: CUT - 1] + "…")
