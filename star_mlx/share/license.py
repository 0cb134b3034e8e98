"""The license of a base, which also applies to its adapters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from star_mlx.data import hub_client
from star_mlx.engine.resolve import Found
from star_mlx.share.metadata import License

TINY = License("apache-2.0")  # it is part of star-mlx


def of(base: Found, given: str | None, *, fetch: bool = True) -> License:
    """The license given, or that of the base's own card.

    Args:
        base: the base's folder and name.
        given: an identifier of the Hub, such as ``mit``.
        fetch: whether the card of a base on the Hub may be fetched; else only the cache is read.

    Raises:
        HubError: no license is given, and the base has none.
    """
    if given is not None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", given):
            raise hub_client.HubError(
                f"--license {given}: write it as the Hub does, such as apache-2.0"
            )
        return License(given)
    if base.name == "tiny":
        return TINY
    for card in (base.folder / "README.md", _card(base, fetch)):
        if card is not None and card.is_file() and (found := _read(card)):
            return found
    raise hub_client.HubError(
        f"the license of the base {base.name} is not known: give it with --license, as the Hub "
        "writes it (apache-2.0, mit, llama3.2, ...)"
    )


def _card(base: Found, fetch: bool) -> Path | None:
    """The README.md of a base on the Hub, or None if it cannot be fetched."""
    if base.revision is None:
        return None
    from huggingface_hub import hf_hub_download

    try:
        with hub_client.failures(
            hub_client.HubError, base.name, base.revision, instead="give --license"
        ):
            return Path(
                hf_hub_download(
                    base.name, "README.md", revision=base.revision, local_files_only=not fetch
                )
            )
    except hub_client.HubError:
        return None  # then the user must give the license


def _read(card: Path) -> License | None:
    from huggingface_hub.repocard import metadata_load

    try:
        data: dict[str, Any] = metadata_load(card) or {}
    except (ValueError, OSError, yaml.YAMLError):
        return None
    found = data.get("license")
    if isinstance(found, list):
        found = found[0] if len(found) == 1 else None
    if not isinstance(found, str) or not found:
        return None
    if found != "other":
        return License(found)
    name, link = data.get("license_name"), data.get("license_link")
    return License(found, _text(name), _text(link))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
