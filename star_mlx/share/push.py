"""``push``: send a run's adapter, with its card and its record, to a repository on the Hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from star_mlx.data import hub_client
from star_mlx.engine.resolve import HUB_ID
from star_mlx.events import Emit
from star_mlx.export import Format
from star_mlx.export.run_record import files as files_of
from star_mlx.share import dataset as rationales
from star_mlx.share import folder, kept, license, remote
from star_mlx.share.folder import DEFAULT
from star_mlx.share.remote import RepoType, Target

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(frozen=True, slots=True)
class Pushed:
    """The result of a push, or with ``dry_run`` its plan.

    ``commit`` is None if the repository was already up to date. ``exists`` says whether the
    repository existed before, None if the Hub could not be reached. ``sizes`` has the bytes of all
    files; ``changed`` and ``deleted`` name the files changed by the commit.
    """

    repo_id: str
    kind: RepoType
    url: str
    exists: bool | None
    sizes: Mapping[str, int]
    changed: tuple[str, ...]
    deleted: tuple[str, ...] = ()
    commit: str | None = None
    pull_request: str | None = None
    dry_run: bool = False
    dataset: Pushed | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def push(
    run: Path,
    repo_id: str,
    *,
    formats: Sequence[Format] = DEFAULT,
    iteration: str = "best",
    private: bool = False,
    revision: str | None = None,
    pr: bool = False,
    dry_run: bool = False,
    out: Path | None = None,
    dataset: bool = False,
    dataset_format: rationales.FileFormat = "jsonl",
    license_id: str | None = None,
    samples: bool = True,
    emit: Emit = lambda event: None,
) -> Pushed:
    """Send an iteration of a run to the Hub, in one commit; unchanged files are not sent.

    The token is taken from ``HF_TOKEN`` or from the login.

    Args:
        run: the run folder.
        repo_id: ``user/name``; created if it does not exist.
        formats: the formats to send, of ``star_mlx.export``; see ``folder.build``.
        iteration: a number, ``best`` or ``last``.
        private: whether a new repository is private.
        revision: the branch, created if missing; by default main.
        pr: open a pull request instead of a commit to main.
        dry_run: only return what would be sent.
        out: with ``dry_run``, a folder to write what would be sent to: the files of the
            repository, or with ``dataset`` the folders ``model`` and ``dataset``. It must not
            exist, or be empty.
        dataset: also send the kept rationales, to the data set ``repo_id-rationales``.
        license_id: the license; by default the base's.
        samples: whether the card shows some dev problems with answers.

    Raises:
        StarError: no such run or iteration, unknown license of the base, or the Hub refuses, fails
            or cannot be reached; then the repository is unchanged. Or ``out`` is not empty.
    """
    _check(repo_id, revision, pr)
    if out is not None:
        kept.check(out)
    from star_mlx.export.source import source

    found = source(run, iteration)
    with hub_client.writing(repo_id):
        api = _login(dry_run)
    licensed = license.of(found.base, license_id, fetch=not dry_run)
    target = Target(repo_id, "model", revision, pr)
    data = Target(f"{repo_id}-rationales", "dataset", revision, pr) if dataset else None
    state = _looked(api, target, private, dry_run)
    with TemporaryDirectory(prefix="star-mlx-") as scratch:
        place, rows = Path(scratch) / "model", Path(scratch) / "dataset"
        place.mkdir()
        facts = folder.build(
            run, repo_id, place, licensed,
            iteration=str(found.iteration), formats=formats, samples=samples,
            dataset=data.repo_id if data else None, emit=emit,
        )  # fmt: skip
        other = None
        if data is not None:
            rows.mkdir()
            rationales.build(run, data.repo_id, rows, facts, form=dataset_format,
                             license_id=license_id)  # fmt: skip
            there = _looked(api, data, private, dry_run)
            message = "The rationales that a STaR run kept (star-mlx)"
            other = _sent(api, data, there, rows, message, private, dry_run)
        message = f"Iteration {found.iteration} of a STaR run (star-mlx)"
        done = _sent(api, target, state, place, message, private, dry_run)
        if dry_run and out is not None:
            kept.keep(place if data is None else Path(scratch), out)
    return replace(done, dataset=other)


def _check(repo_id: str, revision: str | None, pr: bool) -> None:
    if not HUB_ID.fullmatch(repo_id):
        raise hub_client.HubError(f"{repo_id}: write the repository as user/name")
    if pr and revision is not None:
        raise hub_client.HubError(
            "a pull request is opened against main: leave --revision or --pr out"
        )


def _login(dry_run: bool) -> HfApi:
    """The client, with the token from ``HF_TOKEN`` or from the login."""
    from huggingface_hub import HfApi, get_token

    if get_token() is None and not dry_run:
        raise hub_client.HubError(
            f"you are not logged in to the Hub: {hub_client.LOGIN}, or set HF_TOKEN"
        )
    return HfApi(library_name="star-mlx")


def _looked(api: HfApi, target: Target, private: bool, dry_run: bool) -> remote.State | None:
    """The state of the repository; None if a dry run cannot get it."""
    try:
        with hub_client.writing(target.repo_id, target.revision, left="nothing was sent"):
            state = remote.look(api, target)
    except hub_client.HubError:
        if dry_run:
            return None
        raise
    if private:
        remote.refuse_public(target, state)
    return state


def _sent(
    api: HfApi,
    target: Target,
    state: remote.State | None,
    place: Path,
    message: str,
    private: bool,
    dry_run: bool,
) -> Pushed:
    """Send a folder, or return what would be sent."""
    files = files_of(place)
    sizes = {name: path.stat().st_size for name, path in files.items()}
    exists = None if state is None else state.exists
    if dry_run or state is None:
        plan = remote.Plan(tuple(files), ())
        if state is not None:
            with hub_client.writing(target.repo_id, target.revision):
                plan = remote.changes(api, target, state, files)
        return Pushed(
            target.repo_id, target.kind, target.url, exists, sizes, plan.add, plan.delete,
            dry_run=True,
        )  # fmt: skip
    with hub_client.writing(target.repo_id, target.revision, left="nothing was sent"):
        remote.prepare(api, target, state, private=private)
    done = remote.send(api, target, files, message)
    return Pushed(
        target.repo_id, target.kind, target.url, exists, sizes, done.plan.add, done.plan.delete,
        commit=done.commit if done.made else None, pull_request=done.pull_request,
    )  # fmt: skip
