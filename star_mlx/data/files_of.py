"""Find the data files that a path names: a file, a folder of shards, or a pattern of names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from star_mlx.errors import TaskError

KINDS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
SplitName = Literal["train", "validation", "test"]
# "train.jsonl", "train-00000-of-00002.parquet", "squad_dev.json"; in folders of other tools too
_SPLITS: dict[SplitName, str] = {
    "train": "train|training",
    "validation": "validation|valid|val|dev",
    "test": "test|testing|eval",
}
_PATTERN = frozenset("*?[")


def files_of(path: Path, split: SplitName = "train") -> list[Path]:
    """The files that a path names, in order.

    A file is itself. Of a folder, the files of the split are taken; if no file in it is named for
    a split, all are. ``data/train-*.parquet`` names the files that match.

    Raises:
        TaskError: there are none, or they are of different kinds.
    """
    if path.is_dir():
        found, named = _listed(path), by_split(path)
        if named:
            found = named.get(split, [])
        if not found:
            there = ", ".join(f.name for f in _listed(path)[:5])
            has = f"it has {there}" if there else f"give a file that ends in {', '.join(KINDS)}"
            what = f"no {split} file" if named else "no data files"
            raise TaskError(f"data folder {path} holds {what}: {has}")
    elif not path.is_file() and _PATTERN & set(path.name):
        found = sorted((f for f in _inside(path.parent) if f.match(path.name)), key=_natural)
        if not found:
            raise TaskError(f"data files {path}: no file has such a name")
    else:
        return [path]
    kinds = {f.suffix.lower() for f in found}
    if len(kinds) > 1:
        raise TaskError(
            f"data files {path} are of the kinds {', '.join(sorted(kinds))}: name those of one "
            f"kind, such as {path / '*' if path.is_dir() else path.parent / '*'}{min(kinds)}"
        )
    return found


def by_split(folder: Path) -> dict[SplitName, list[Path]]:
    """The files of a folder that are named for a split, by split; empty if none is."""
    found: dict[SplitName, list[Path]] = {}
    for file in _listed(folder):
        words = re.split(r"[^a-z]+", file.stem.casefold())
        for split, names in _SPLITS.items():
            if any(re.fullmatch(names, word) for word in words):
                found.setdefault(split, []).append(file)
                break
    return found


def pattern(files: Sequence[Path]) -> Path:
    """A path that names exactly these files of one folder: a file, or a pattern of names.

    Raises:
        TaskError: no simple pattern names these files only.
    """
    if len(files) == 1:
        return files[0]
    names = [file.name for file in files]
    front = next((n for n in range(len(names[0])) if len({x[: n + 1] for x in names}) > 1), 0)
    for start in (names[0][:front].rstrip("0123456789"), names[0][:front]):
        made = files[0].parent / f"{start}*{files[0].suffix}"
        if files_of(made) == list(files):
            return made
    raise TaskError(f"data folder {files[0].parent}: give a pattern of names, such as {made}")


def _listed(folder: Path) -> list[Path]:
    """The data files of a folder, or of its subfolder ``data``, as in data sets of the Hub."""
    for place in (folder, folder / "data"):
        found = [f for f in _inside(place) if f.suffix.lower() in KINDS]
        if found:
            return sorted(found, key=_natural)
    return []


def _inside(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [f for f in folder.iterdir() if f.is_file() and not f.name.startswith(".")]


def _natural(file: Path) -> list[tuple[int, str]]:
    """A sort key by which shard 10 comes after shard 9."""
    return [(int(n or 0), text) for text, n in re.findall(r"(\D*)(\d*)", file.name)]
