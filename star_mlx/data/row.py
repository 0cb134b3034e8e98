"""A row of a data file, with its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file: its place ("FILE, line 3"), and its fields or the error in it."""

    place: str
    values: Mapping[str, Any] | str
