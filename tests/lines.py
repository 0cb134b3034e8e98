"""The objects of a JSONL file, as a reader of another program would see them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file, in order; none if there is no such file."""
    if path.exists():
        for line in path.read_bytes().splitlines():
            yield json.loads(line)
