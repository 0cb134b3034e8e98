"""A repository on the Hub: read its state, and bring it up to date with one commit.

The client (huggingface_hub 2.4) itself repeats requests that look up files or send large ones, for
up to 23 s each, but neither the commit nor the creation of a repository: those are repeated here.
A commit whose response was lost is recognized by the state of the repository afterwards.
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
AS_IT_WAS = "the repository is unchanged"
RESUMES = f"{AS_IT_WAS}, and the data sent so far is kept: push again to continue"
UNSEEN = "it is not known whether the commit was made: push again, which makes no second one"


@dataclass(frozen=True, slots=True)
class State:
    """The state of a repository: the hash of each file on the Hub.

    ``commit`` is None if there is no repository (``exists`` false) or no such branch.
    """

    exists: bool
    private: bool = False
    commit: str | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)  # git's id, or ``sha256:`` of LFS


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes to commit."""

    add: tuple[str, ...]
    delete: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.add or self.delete)


@dataclass(frozen=True, slots=True)
class Target:
    """The target: a repository, a branch of it (None: main), or a pull request to it."""

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
    """Read the current state of the repository."""
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
        if (
            hub_client.status_of(error) == 401
        ):  # not authenticated, which does not mean that there is none
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
    """The differences: new or changed files, and files listed in the manifest of an earlier push
    that are no longer wanted. Files that star-mlx did not send are left alone."""
    add = tuple(name for name, path in files.items() if not _same(state.hashes.get(name), path))
    gone: set[str] = set()
    if MANIFEST in add and MANIFEST in state.hashes:
        ours = folder.listed(lambda: _fetched(api, target, state, MANIFEST))
        gone = {name for name in ours if name in state.hashes and name not in files}
        gone -= {folder.CARD, ".gitattributes"}
    return Plan(add, tuple(sorted(gone)))


def _same(known: str | None, path: Path) -> bool:
    """Whether a file has the content of the Hub's hash."""
    if known is None:
        return False
    if known.startswith("sha256:"):
        return known == f"sha256:{file_sha256(path)}"
    return known == git_id(path)


def git_id(path: Path) -> str:
    """The id that git gives to a file's content."""
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
    """Refuse to send private files to a public repository.

    Raises:
        HubError: it is public.
    """
    if state.exists and not state.private:
        raise hub_client.HubError(
            f"{target.repo_id} exists on the Hub and is public: make it private there, leave "
            "--private out, or give another name"
        )


def prepare(api: HfApi, target: Target, state: State, *, private: bool) -> None:
    """Create the repository and the branch if they are missing."""
    where: dict[str, Any] = {"repo_id": target.repo_id, "repo_type": target.kind}
    if not state.exists:
        create = {**where, "private": True if private else None, "exist_ok": True}
        hub_client.again(lambda: api.create_repo(**create), time.sleep)
    if state.commit is None and target.revision not in (None, "main"):
        branch = {**where, "branch": target.revision, "exist_ok": True}
        hub_client.again(lambda: api.create_branch(**branch), time.sleep)


@dataclass(frozen=True, slots=True)
class Sent:
    """A commit, and its pull request if there is one; ``made`` is false if nothing differed."""

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
    """Bring the repository up to date with ``files``, in one commit or none.

    If another commit came in between, the difference is computed and sent again.

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
        if not plan:  # nothing to do, or already done although the response was lost
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
    """Whether a commit may be repeated: a pull request only if none can have been opened."""
    return hub_client.passing(error) and (
        not target.pr or hub_client.status_of(error) in (408, 429)
    )


def _operations(api: HfApi, target: Target, plan: Plan, files: Mapping[str, Path]) -> list[Any]:
    """The operations of the commit, after sending the large files that were not sent yet."""
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
    """Try to commit once, and return the result or the error of the Hub or the network."""
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
    """The open pull request that already has these files."""
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
