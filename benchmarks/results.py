"""``results.json``: everything measured so far, and the page made from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import table
from work import BenchmarkError


class Results:
    """What was measured, as ``results.json`` holds it; written whole after every change."""

    def __init__(self, out: Path) -> None:
        self.out, self.path = out, out / "results.json"
        self.data: dict[str, Any] = {"work": {}, "trials": [], "skipped": [], "measurements": []}
        if self.path.is_file():
            try:
                self.data = json.loads(self.path.read_text("utf-8"))
            except ValueError as error:
                raise BenchmarkError(f"{self.path} is not JSON: {error}") from None

    def save(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.data, indent=1), "utf-8")
        part.replace(self.path)
        (self.out / "table.md").write_text(table.page(self.data), "utf-8")

    def add(self, kind: str, entry: dict[str, Any]) -> None:
        """Append an entry in place of what failed before under the same key."""
        self.data[kind] = [e for e in self.data[kind] if e["key"] != entry["key"]]
        self.data[kind].append(entry)
        self.save()

    def find(self, kind: str, key: str) -> dict[str, Any] | None:
        """The entry with this key that did not fail."""
        return next((e for e in self.data[kind] if e["key"] == key and "error" not in e), None)
