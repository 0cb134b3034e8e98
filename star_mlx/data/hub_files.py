"""Download the files of a data set from the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from star_mlx.data import hub_client
from star_mlx.errors import TaskError


def fetch(repo: str, files: Sequence[str], revision: str | None = None) -> list[Path]:
    """The files of a data set, downloaded or from the cache, all of one commit.

    ``files`` are paths inside the repository ``repo`` (``org/name``); ``revision`` is a branch, a
    tag or a commit, by default ``main``.

    Raises:
        TaskError: there is no such repository, revision or file, or the Hub cannot be reached.
    """
    from huggingface_hub import hf_hub_download

    paths: list[Path] = []
    at = revision
    with hub_client.failures(
        TaskError, repo, revision, instead="pass --data PATH with the official files"
    ):
        for file in files:
            path = Path(hf_hub_download(repo, file, repo_type="dataset", revision=at))
            at = path.parents[len(Path(file).parts) - 1].name  # .../snapshots/COMMIT/FILE
            paths.append(path)
    return paths
