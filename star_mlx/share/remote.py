"""A repository on the Hub: what is in it, and one commit that makes it what is wanted.

The client (huggingface_hub 2.4) repeats by itself, for up to 23 s a request, what looks up files
and sends large ones, but neither the commit nor what creates a repository: those are repeated here.
A commit whose answer was lost is recognized by what the repository then holds.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from star_mlx.data import hub_client
from star_mlx.export.run_record import MANIFEST
from star_mlx.share import folder
from star_mlx.store.reading import file_sha256

if TYPE_CHECKING:
    from huggingface_hub import HfApi

RepoType = Literal["model", "dataset"]
WAITS = (1, 2, 4)  # seconds before the commit is tried again
AS_IT_WAS = "the repository is as it was"
RESUMES = f"{AS_IT_WAS}, and what has been sent is kept: push again to go on"
UNSEEN = "whether the commit was made cannot be seen: push again, which makes no second one"


@dataclass(frozen=True, slots=True)
class State:
    """What a repository holds: by file, the hash it is known by there.

    ``commit`` is None where there is no repository (``exists`` false) or no such branch.
    """

    exists: bool
    private: bool = False
    commit: str | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)  # git's id, or ``sha256:`` of LFS


@dataclass(frozen=True, slots=True)
class Plan:
    """What a commit has to change."""

    add: tuple[str, ...]
    delete: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.add or self.delete)


@dataclass(frozen=True, slots=True)
class Target:
    """Where to: a repository, a branch of it (None: main), or a pull request to it."""

    repo_id: str
    kind: RepoType = "model"
    revision: str | None = None
    pr: bool = False

    @property
    def url(self) -> str:
        """The address of its page."""
        from huggingface_hub import constants

        kind = "" if self.kind == "model" else f"{self.kind}s/"
        return f"{constants.ENDPOINT}/{kind}{self.repo_id}"


def look(api: HfApi, target: Target) -> State:
    """What the repository holds now."""
    from huggingface_hub import errors
    from huggingface_hub.hf_api import RepoFile

    where: dict[str, Any] = {"repo_id": target.repo_id, "repo_type": target.kind}
    try:
        info = hub_client.again(
            lambda: api.repo_info(**where, revision=target.revision), time.sleep
        )
    except errors.RevisionNotFoundError:
        if (target.revision or "").startswith("refs/"):
            raise
        whole = hub_client.again(lambda: api.repo_info(**where), time.sleep)
        return State(True, bool(whole.private))
    except errors.GatedRepoError:
        raise
    except errors.RepositoryNotFoundError as error:
        if hub_client.status_of(error) == 401:  # not "there is none", but "who are you?"
            raise
        return State(False)
    entries = api.list_repo_tree(**where, revision=info.sha, recursive=True)
    hashes = {
        entry.path: f"sha256:{entry.lfs.sha256}" if entry.lfs else entry.blob_id
        for entry in entries
        if isinstance(entry, RepoFile)
    }
    return State(True, bool(info.private), info.sha, hashes)


def changes(api: HfApi, target: Target, state: State, files: Mapping[str, Path]) -> Plan:
    """What differs: files that are new or other, and those that an earlier push listed in its
    manifest and this one has no more. What star-mlx did not send is left alone."""
    add = tuple(name for name, path in files.items() if not _same(state.hashes.get(name), path))
    gone: set[str] = set()
    if MANIFEST in add and MANIFEST in state.hashes:
        ours = folder.listed(lambda: _fetched(api, target, state, MANIFEST))
        gone = {name for name in ours if name in state.hashes and name not in files}
        gone -= {folder.CARD, ".gitattributes"}
    return Plan(add, tuple(sorted(gone)))


def _same(known: str | None, path: Path) -> bool:
    """Whether a file has the content that the Hub's hash stands for."""
    if known is None:
        return False
    if known.startswith("sha256:"):
        return known == f"sha256:{file_sha256(path)}"
    return known == git_id(path)


def git_id(path: Path) -> str:
    """As git names a file's content."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    digest.update(path.read_bytes())
    return digest.hexdigest()


def _fetched(api: HfApi, target: Target, state: State, name: str) -> bytes:
    with TemporaryDirectory() as scratch:
        path = api.hf_hub_download(
            target.repo_id, name, repo_type=target.kind, revision=state.commit, local_dir=scratch
        )
        return Path(path).read_bytes()


# --------------------------------------------------------------------------- writing


def refuse_public(target: Target, state: State) -> None:
    """Refuse to send what should be private to a repository that is not.

    Raises:
        HubError: it is public.
    """
    if state.exists and not state.private:
        raise hub_client.HubError(
            f"{target.repo_id} exists on the Hub and is public: make it private there, leave "
            "--private out, or give another name"
        )


def prepare(api: HfApi, target: Target, state: State, *, private: bool) -> None:
    """Create the repository and the branch, where they are missing."""
    where: dict[str, Any] = {"repo_id": target.repo_id, "repo_type": target.kind}
    if not state.exists:
        create = {**where, "private": True if private else None, "exist_ok": True}
        hub_client.again(lambda: api.create_repo(**create), time.sleep)
    if state.commit is None and target.revision not in (None, "main"):
        branch = {**where, "branch": target.revision, "exist_ok": True}
        hub_client.again(lambda: api.create_branch(**branch), time.sleep)


@dataclass(frozen=True, slots=True)
class Sent:
    """A commit, and its pull request where it is one; ``made`` is false where nothing differed."""

    commit: str | None
    plan: Plan
    made: bool
    pull_request: str | None = None


def send(
    api: HfApi,
    target: Target,
    files: Mapping[str, Path],
    message: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Sent:
    """Make the repository hold ``files``, in one commit or none.

    Where another commit came in between, the difference is taken anew and sent once more.

    Raises:
        HubError: the Hub refuses, fails or cannot be reached; the text says what is left.
    """
    waits, budget, conflicts = iter(WAITS), float(hub_client.LONGEST_WAIT), 0
    first: Plan | None = None
    while True:
        with hub_client.writing(
            target.repo_id, target.revision, left=AS_IT_WAS if not first else UNSEEN
        ):
            state = look(api, target)
            plan = changes(api, target, state, files)
            if plan and target.pr and (known := _open_request(api, target, files, message)):
                return Sent(None, plan, False, known)
        if not plan:  # either nothing to do, or it was done although no answer came
            return Sent(state.commit, first or plan, first is not None)
        first = first or plan
        with hub_client.writing(target.repo_id, target.revision, left=RESUMES):
            operations = _operations(api, target, plan, files)
        with hub_client.writing(target.repo_id, target.revision, left=AS_IT_WAS):
            outcome = _commit(api, target, state, operations, message)
            if isinstance(outcome, Sent):
                return Sent(outcome.commit, plan, True, outcome.pull_request)
            conflict = hub_client.status_of(outcome) in (409, 412)
            conflicts += conflict
            wait = max(next(waits, 1e9), hub_client.asked_wait(hub_client.headers_of(outcome)) or 0)
            budget -= wait
            if conflicts > 1 or budget < 0 or not (conflict or _repeatable(outcome, target)):
                unseen = hub_client.status_of(outcome) not in range(400, 500)
                left = UNSEEN if unseen else AS_IT_WAS
                told = hub_client.unwritten(outcome, target.repo_id, target.revision, left=left)
                raise told or outcome from outcome
        sleep(wait)


def _repeatable(error: Exception, target: Target) -> bool:
    """Whether a commit may be tried again: a pull request only where none can have been opened."""
    return hub_client.passing(error) and (
        not target.pr or hub_client.status_of(error) in (408, 429)
    )


def _operations(api: HfApi, target: Target, plan: Plan, files: Mapping[str, Path]) -> list[Any]:
    """The commit's operations, with the large files sent already, as far as they were not."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    additions = [CommitOperationAdd(name, files[name]) for name in plan.add]
    api.preupload_lfs_files(
        target.repo_id,
        additions,
        repo_type=target.kind,
        revision=target.revision,
        create_pr=target.pr,
        free_memory=False,
    )
    return [*additions, *(CommitOperationDelete(name) for name in plan.delete)]


def _commit(
    api: HfApi, target: Target, state: State, operations: list[Any], message: str
) -> Sent | Exception:
    """One attempt at the commit; what the Hub or the network made of it is returned."""
    from huggingface_hub import errors

    try:
        made = api.create_commit(
            target.repo_id,
            operations,
            commit_message=message,
            repo_type=target.kind,
            revision=target.revision,
            create_pr=target.pr,
            parent_commit=state.commit,
        )
    except errors.HTTPError as error:
        return error
    return Sent(made.oid, Plan((), ()), True, made.pr_url)


def _open_request(
    api: HfApi, target: Target, files: Mapping[str, Path], message: str
) -> str | None:
    """The open pull request that holds these files already."""
    requests = api.get_repo_discussions(
        target.repo_id,
        repo_type=target.kind,
        discussion_type="pull_request",
        discussion_status="open",
    )
    for request in requests:
        if request.title == message and request.git_reference:
            at = Target(target.repo_id, target.kind, request.git_reference)
            state = look(api, at)
            if not changes(api, at, state, files):
                return str(request.url)
    return None
