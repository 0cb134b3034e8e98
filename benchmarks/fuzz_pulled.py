"""Repositories of the Hub that are wrong or out to harm: for ``fuzz.py``, without a network.

A repository as ``star-mlx push`` makes it is changed: its files, their names, links and sizes, and
its manifest, which mostly agrees with what was done to the files. It is then pulled, and the model
is asked. Whatever else happens, nothing may be written outside the folder that was asked for, and
nothing read outside the repository.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from star_mlx.share import asked, pull
from star_mlx.store.reading import file_sha256
from star_mlx.types import Decoding

CACHED = "models--user--name/snapshots/0000"  # where a repository is in the Hub's cache
MANIFEST = "run/manifest.json"
SECRET = "a secret of this machine"
LARGE = 600 << 20  # bytes, of a file with nothing in it
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
NAMES = [
    "../../x.json", "/tmp/x.json", "a" * 200 + ".json", "a" * 300 + ".json", "a/" * 3000 + "x.json",
    "\0.json", "", ".", "..", "\ud800.json", "x\n\x1b[31m\u202e.json", "run", "run/x.json/y.json",
    "README.md", "nothing.json", "adapters.safetensors/x.json", "C:\\x.json", "~/x.json",
]  # fmt: skip
HASHES: list[Any] = [None, 0, "", "0" * 64, [], {}, "x" * 100_000, 1e400]


class Outside(Exception):
    """Something outside the two folders was read or written."""


def change(repo: Path, draw: random.Random, file_changed: Callable[[Path], None]) -> None:
    """Change a repository in place; ``file_changed`` changes the content of a file at random."""
    for _ in range(draw.choice([1, 1, 2])):
        how = draw.choice([_content, _content, _content, _manifest, _link, _kind, _added, _large])
        how(repo, draw, file_changed)
    if draw.random() < 0.8:
        _agree(repo)


def _files(repo: Path) -> list[Path]:
    return sorted(path for path in repo.rglob("*") if path.is_file() and not path.is_symlink())


def _content(repo: Path, draw: random.Random, file_changed: Callable[[Path], None]) -> None:
    path = draw.choice(_files(repo))
    if draw.random() < 0.2:
        path.write_bytes(draw.choice([BOMB.encode(), pickle.dumps(_Code()), b"", b"[" * 100_000]))
    else:
        file_changed(path)


class _Code:
    """Its pickle runs code when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("run-by-a-pickle",)


def _manifest(repo: Path, draw: random.Random, file_changed: Callable[[Path], None]) -> None:
    path = repo / MANIFEST
    try:
        values = json.loads(path.read_bytes())
        files = values["files"]
        if draw.random() < 0.5:
            files[draw.choice(NAMES)] = draw.choice(["0" * 64, *HASHES])
        else:
            files[draw.choice(list(files))] = draw.choice(HASHES)
        path.write_bytes(json.dumps(values).encode("utf-8", "surrogatepass"))
    except (ValueError, LookupError, TypeError, OSError):
        return  # it was already changed


def _link(repo: Path, draw: random.Random, file_changed: Callable[[Path], None]) -> None:
    path = draw.choice(_files(repo))
    path.unlink()
    path.symlink_to(
        draw.choice([_home(repo) / "secret.json", "nowhere", path.name, "/dev/zero", repo, "/"])
    )


def _kind(repo: Path, draw: random.Random, file_changed: Callable[[Path], None]) -> None:
    """A file becomes a folder, or is gone; or a folder becomes a file."""
    path = draw.choice(_files(repo))
    if draw.random() < 0.2 and path.parent != repo:
        shutil.rmtree(path.parent)
        path.parent.write_bytes(b"{}")
        return
    path.unlink()
    if draw.random() < 0.5:
        path.mkdir()


def _added(repo: Path, draw: random.Random, file_changed: Callable[[Path], None]) -> None:
    """A file that ``push`` does not make, with a name that can be on a disk."""
    names = [
        b"x.json", b"evil.pkl", b"modeling_x.py", b"run/\x1b[31m.json", b"a\nb.txt", b"\xff.json",
        b"a" * 250 + b".md", "\u202egnp.json".encode(), b"recipe.yaml", b"journal.jsonl",
        b"tokenizer.json", b"chat_template.jinja", b"a/b/c/d/e/f.json", b"-rf.txt", b"config.json",
    ]  # fmt: skip
    path = os.path.join(os.fsencode(repo), draw.choice(names))
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(draw.choice([b"{}", b"x", BOMB.encode(), pickle.dumps(_Code())]))
    except OSError:
        return  # a folder of the name was made a file before


def _large(repo: Path, draw: random.Random, file_changed: Callable[[Path], None]) -> None:
    if draw.random() < 0.2:  # a hash of it takes half a second
        os.truncate(draw.choice(_files(repo)), LARGE)


def _agree(repo: Path) -> None:
    """Write the hashes of the files as they are now into the manifest."""
    path = repo / MANIFEST
    try:
        values = json.loads(path.read_bytes())
        for name in values["files"]:
            if ".." not in name and (repo / name).is_file():
                values["files"][name] = file_sha256(repo / name)
        path.write_bytes(json.dumps(values).encode("utf-8", "surrogatepass"))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return  # it is damaged, or has names that cannot be looked for


def read(repo: Path, engine: Any) -> None:
    """Pull a repository as the Hub's client would leave it, and ask its model.

    Raises:
        Outside: see the exception.
        StarError: it is refused.
    """
    place = _home(repo) / "place"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    (_home(repo) / "secret.json").write_text(json.dumps(SECRET), "utf-8")
    before = _beside(repo)
    out = place / "out"
    try:
        with (
            mock.patch("huggingface_hub.snapshot_download", lambda *a, **k: str(repo)),
            mock.patch("huggingface_hub.hf_hub_download", lambda *a, **k: str(repo)),
        ):
            pull.pull("user/name", out)
        for path in out.rglob("*"):
            if path.is_symlink() or path.suffix in (".py", ".pkl"):
                raise Outside(f"{path.name} was pulled")
            small = path.is_file() and path.stat().st_size < 1 << 20
            if small and SECRET.encode() in path.read_bytes():
                raise Outside(f"{path.name} has what is outside the repository")
        with mock.patch("star_mlx.engine.open_base", lambda recipe: _Brief(engine())):
            asked.ask(out, "1 + 1")
    finally:
        if _beside(repo) != before or [p.name for p in place.iterdir()] not in ([], ["out"]):
            raise Outside("something was written outside the folder that was asked for")


class _Brief:
    """An engine that answers with at most two tokens."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def generate(self, prompts: Any, decoding: Decoding, **more: Any) -> Any:
        return self._engine.generate(prompts, replace(decoding, max_tokens=2), **more)


def _beside(repo: Path) -> set[str]:
    return {*os.listdir(_home(repo)), *os.listdir(".")}


def _home(repo: Path) -> Path:
    """The folder with the cache, which has the repository in ``CACHED``."""
    return repo.parents[2]
