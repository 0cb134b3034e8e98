"""The record of a run that goes with its adapter: the folder run/ and the manifest of all files.

The same run always gives the same bytes, so that pushing it twice changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from star_mlx import prompts
from star_mlx.export.facts import Facts, gather
from star_mlx.store import metrics
from star_mlx.store.reading import file_sha256

CARD, MANIFEST = "README.md", "run/manifest.json"
RECIPE, PROMPTS = "run/recipe.yaml", "run/prompts.yaml"


def write_record(facts: Facts, folder: Path) -> None:
    """Write run/: the recipe, the metrics, the few-shot examples and their prompt."""
    (folder / "run").mkdir(exist_ok=True)
    asked = facts.asking
    texts = {
        RECIPE: yaml.safe_dump(dict(facts.recipe), sort_keys=False, allow_unicode=True),
        PROMPTS: prompts.dump(asked.examples),
    }
    if asked.turns is not None:
        texts["run/turns.json"] = json.dumps(asked.turns, ensure_ascii=False, indent=1) + "\n"
    elif asked.few_shot:
        texts["run/prompt.txt"] = asked.few_shot
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode("utf-8", "backslashreplace"))
    (folder / "run/metrics.jsonl").write_bytes(
        b"".join(metrics.line(line) + b"\n" for line in facts.metrics)
    )


def files(folder: Path) -> dict[str, Path]:
    """The files of a folder by their names in the repository, in order."""
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    return dict(sorted(found.items()))


def carry(run: Path, iteration: str, folder: Path) -> None:
    """Add the record in run/ to an exported MLX folder, so that `star-mlx try` can ask it.

    Raises:
        StarError: no such run or iteration, or its prompt cannot be loaded.
    """
    facts = gather(run, iteration, samples=False)
    write_record(facts, folder)
    write_manifest(folder, about(facts, ["mlx"]))


def about(facts: Facts, formats: Sequence[str]) -> dict[str, Any]:
    """The fields of a manifest besides the files."""
    base = facts.base
    return {
        "iteration": facts.iteration,
        "base": {"name": base.name, "revision": base.revision, "hash": base.hash},
        "formats": list(formats),
    }


def write_manifest(folder: Path, said: Mapping[str, Any]) -> None:
    """Write the list of all files except the card, with their SHA-256 and the fields of ``said``.

    A later push deletes files that only an earlier one listed; a pull compares the hashes.
    """
    (folder / "run").mkdir(exist_ok=True)
    hashes = {
        name: file_sha256(path)
        for name, path in files(folder).items()
        if name not in (CARD, MANIFEST)
    }
    text = json.dumps({"format": 1, **said, "files": hashes}, indent=2) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
