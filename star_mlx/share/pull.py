"""``pull``: fetch a pushed repository into a folder, and verify it.

Only data is fetched: no code and no pickle, even if the repository has any.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_mlx.data import hub_client
from star_mlx.engine.resolve import HUB_ID
from star_mlx.errors import RunError
from star_mlx.export.run_record import CARD, MANIFEST, RECIPE
from star_mlx.store import names
from star_mlx.store.reading import file_sha256

SUFFIXES = (".json", ".jsonl", ".yaml", ".safetensors", ".gguf", ".txt", ".md", ".png", ".parquet")
NAMES = ("*.jinja", "*.model", "*.tiktoken")  # a tokenizer's, and a chat template's
ALLOWED = (*(f"*{suffix}" for suffix in SUFFIXES), *NAMES)


@dataclass(frozen=True, slots=True)
class Pulled:
    """The fetched folder; ``fresh`` is false if it already had the files."""

    folder: Path
    repo_id: str
    commit: str
    files: tuple[str, ...]
    iteration: int | None
    fresh: bool


def pull(name: str, out: Path | None = None) -> Pulled:
    """Fetch ``user/name[@revision]`` into the folder ``out``, by default ``pulled/user--name``.

    Raises:
        HubError: it cannot be fetched, or a file does not match its manifest.
        RunError: ``out`` has other content, or cannot be written.
    """
    repo_id, _, revision = name.partition("@")
    if not HUB_ID.fullmatch(repo_id):
        raise hub_client.HubError(
            f"{name}: write the repository as user/name, or user/name@revision"
        )
    out = out or Path("pulled") / repo_id.replace("/", "--")
    from huggingface_hub import hf_hub_download, snapshot_download

    with hub_client.failures(
        hub_client.HubError, repo_id, revision or None, instead="copy the folder from where it is"
    ):
        found = Path(
            snapshot_download(repo_id, revision=revision or None, allow_patterns=list(ALLOWED))
        )
        _refuse_links(repo_id, found)
        manifest = _manifest(repo_id, found)
        odd = _differing(found, _listed(manifest))
        for name, _ in odd:  # a file damaged in transfer would stay in the cache
            hf_hub_download(repo_id, name, revision=found.name, force_download=True)
    files = _wanted(found)
    _check(repo_id, found, manifest, odd)
    fresh = not _same(out, found, files)
    if fresh:
        _copy(found, files, out)
    number = manifest.get("iteration")
    return Pulled(
        out, repo_id, found.name, tuple(files), number if isinstance(number, int) else None, fresh
    )


def _refuse_links(repo_id: str, found: Path) -> None:
    """Refuse a file that is a link to elsewhere than where the Hub's client keeps contents: in the
    repository's part of the cache, or in the part that all repositories share."""
    own = found.parents[1].resolve()
    kept = own, own.parent / "blobs"
    for name in _wanted(found):
        if not any(map((found / name).resolve().is_relative_to, kept)):
            raise hub_client.HubError(f"{repo_id}: {name} is a link to a place outside of it")


def _manifest(repo_id: str, found: Path) -> dict[str, Any]:
    """The manifest of the repository."""
    try:
        values = json.loads((found / MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(values["files"], dict):
            raise KeyError
    except OSError:
        raise hub_client.HubError(
            f"{repo_id} has no {MANIFEST}: it is not from `star-mlx push`; an adapter in mlx-lm's "
            "format can be loaded with mlx_lm"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise hub_client.HubError(f"{repo_id}: {MANIFEST} is damaged: it lists no files") from None
    return dict(values)


def _wanted(found: Path) -> list[str]:
    """The allowed files, in order; the snapshot may have others from another tool."""
    names = [p.relative_to(found) for p in found.rglob("*") if p.is_file()]
    allowed = [n for n in names if any(n.match(pattern) for pattern in ALLOWED)]
    return sorted(n.as_posix() for n in allowed)


def _listed(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """The files to verify, with their hashes; not the card, which may have been edited."""
    return [
        (name, wanted)
        for name, wanted in sorted(manifest["files"].items())
        if name != CARD and any(Path(name).match(pattern) for pattern in ALLOWED)
    ]


def _differing(found: Path, listed: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The existing files that have another hash."""
    return [
        (name, wanted)
        for name, wanted in listed
        if _is_in(found, name) and file_sha256(found / name) != wanted
    ]


def _is_in(found: Path, name: str) -> bool:
    inside = not Path(name).is_absolute() and ".." not in Path(name).parts
    return inside and (found / name).is_file()


def _check(repo_id: str, found: Path, manifest: dict[str, Any], odd: list[tuple[str, str]]) -> None:
    """Check that every listed file exists, and that the ``odd`` ones now match their hash."""
    for name, _ in _listed(manifest):
        if not _is_in(found, name):
            raise hub_client.HubError(f"{repo_id} lacks {name}, which its {MANIFEST} lists")
    for name, _ in _differing(found, odd):
        raise hub_client.HubError(
            f"{repo_id}: {name} is not what its {MANIFEST} says: it was changed after the push, or "
            "comes damaged"
        )
    if RECIPE in manifest["files"] and (found / names.WEIGHTS).is_file():
        config = found / "adapter_config.json"
        try:
            fits = isinstance(json.loads(config.read_text(encoding="utf-8")), dict)
        except (OSError, ValueError):
            fits = False
        if not fits:
            raise hub_client.HubError(f"{repo_id}: adapter_config.json is missing or damaged")


def _same(out: Path, found: Path, files: list[str]) -> bool:
    """Whether ``out`` already has exactly these files."""
    if not out.is_dir():
        return False
    have = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    return have == files and all(file_sha256(out / n) == file_sha256(found / n) for n in files)


def _copy(found: Path, files: list[str], out: Path) -> None:
    """Copy the files from the cache to the new folder ``out``, atomically."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise RunError(f"{out} exists and holds something else: give another --out")
    partial = out.with_name(out.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        for name in files:
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found / name, partial / name)
        os.replace(partial, out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise RunError(f"{out} cannot be written: {error.strerror or error}") from None
