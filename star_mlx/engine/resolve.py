"""Find the folder of a model that the user named. Imports no mlx."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_mlx.data import hub_client
from star_mlx.engine import model_config, tokenizer_json
from star_mlx.errors import ModelError

TINY = Path(__file__).parents[1] / "models" / "tiny"
WANTED = (
    "*.json", "model*.safetensors", "tokenizer.model", "*.tiktoken", "*.txt", "*.jinja",
)  # fmt: skip
CODE = ("*.py",)  # the model's own code, which is not even fetched unless it is trusted
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")
IMPORTED = "import-gguf.json"  # says which file a folder was imported from; it changes no result
HASHED = ("*.json", "*.safetensors", "tokenizer.model", "*.tiktoken", "*.txt", "*.jinja")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
WITHOUT_NETWORK = (
    "download it where there is a network and pass its folder (`--model tiny` needs no download)"
)


@dataclass(frozen=True, slots=True)
class Found:
    """A folder with a model: the name given by the user, the folder, and its Hub commit if any."""

    name: str
    folder: Path
    revision: str | None = None


def find(path: str, revision: str | None = None, *, trust_remote_code: bool = False) -> Found:
    """Find a model's folder: ``tiny`` (shipped), a folder, or ``org/name[@revision]`` on the Hub.

    ``revision`` is a branch, tag or commit, for a Hub id that does not contain one.

    Raises:
        ModelError: there is no such folder or repository, the Hub cannot be reached, or the
            folder lacks a config, a tokenizer or safetensors weights.
    """
    found = _here(path)
    if found is None:
        name, _, at = path.partition("@")
        found = _download(name, at or revision, code=trust_remote_code)
    check(found.folder)
    return found


def at_hand(path: str, revision: str | None = None) -> Found | None:
    """Find a model's folder as ``find`` does, without any download: None if it would need one.

    Raises:
        ModelError: there can be no such model, or its folder lacks files.
    """
    found = _here(path)
    if found is None:
        name, _, at = path.partition("@")
        try:
            found = _download(name, at or revision, local=True)
            check(found.folder)
        except ModelError:
            return None
    check(found.folder)
    return found


def _here(path: str) -> Found | None:
    """The embedded model or that of a folder; None for the name of a model on the Hub.

    Raises:
        ModelError: it is neither.
    """
    if path == "tiny":
        return Found("tiny", TINY)
    place = Path(path).expanduser()
    if place.is_dir():
        return Found(path, place.resolve())
    if not HUB_ID.fullmatch(path.partition("@")[0]) or place.exists():
        raise ModelError(_missing(path))
    return None


def check(folder: Path) -> None:
    """Check that a folder has the files every model needs; a ModelError says what is missing."""
    if not folder.is_dir():
        raise ModelError(f"there is no folder {folder}: reinstall star-mlx")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} holds no config.json: it is not a model's folder")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{folder / 'config.json'} is not JSON: {error}") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(kind, str) or not kind:
        raise ModelError(f"{folder / 'config.json'} names no model_type")
    if wrong := model_config.problem(config):
        raise ModelError(f"{folder / 'config.json'}: {wrong}")
    tokenizer_json.check(folder / "tokenizer.json")
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise ModelError(f"{folder} holds no tokenizer (tokenizer.json or tokenizer.model)")
    if not any(folder.glob("model*.safetensors")):
        others = sorted(p.name for p in folder.glob("*") if p.suffix in (".gguf", ".bin", ".pth"))
        hint = f"; it has {others[0]}" if others else ""
        if others and others[0].endswith(".gguf"):
            hint += ", which `star-mlx import-gguf` imports"
        raise ModelError(f"{folder} holds no model*.safetensors weights{hint}")


def content_hash(folder: Path) -> str:
    """SHA-256 over the names and bytes of config, tokenizer and weights, sorted by name."""
    total = hashlib.sha256()
    names = {p.name for pattern in HASHED for p in folder.glob(pattern) if p.is_file()}
    for name in sorted(names - {IMPORTED}):
        with open(folder / name, "rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
        total.update(f"{name}\0{digest.hexdigest()}\n".encode())
    return total.hexdigest()


def imported(folder: Path) -> dict[str, Any] | None:
    """What ``import-gguf`` recorded of the file that a folder was made of; None if nothing."""
    try:
        found = json.loads((folder / IMPORTED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _missing(path: str) -> str:
    place = Path(path).expanduser()
    if place.is_file():
        hint = " (`star-mlx import-gguf` imports it)" if place.suffix == ".gguf" else ""
        return f"{path} is a file, not a model's folder{hint}"
    siblings = ["tiny"]
    if place.parent.is_dir():
        siblings += [str(p) for p in place.parent.iterdir() if p.is_dir()]
    near = difflib.get_close_matches(path, siblings, n=1) or difflib.get_close_matches(
        place.name, [Path(s).name for s in siblings], n=1
    )
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"no folder {path}, and {path} is not a Hub id (org/name), nor `tiny`{hint}"


def _download(name: str, revision: str | None, *, code: bool = False, local: bool = False) -> Found:
    """Fetch a model into the local cache of the Hub; with ``local`` only find it there."""
    from huggingface_hub import snapshot_download

    with hub_client.failures(
        ModelError, name, revision, instead=WITHOUT_NETWORK, missing=f"no folder {name}, and "
    ):
        wanted = [*WANTED, *CODE] if code else list(WANTED)
        snapshot = snapshot_download(
            name,
            revision=revision,
            allow_patterns=wanted,
            ignore_patterns=["*/*"],  # subfolders have the model in other formats
            local_files_only=local,
        )
        folder = Path(snapshot)
    commit = folder.name if folder.parent.name == "snapshots" else revision
    return Found(name, folder, commit)
