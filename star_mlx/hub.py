"""What the Hub's client raises -> one line that says what to do. Imports nothing heavy by itself.

The client (huggingface_hub 2.4) hides its causes: that a server failed or that the network is
switched off arrives as a ``LocalEntryNotFoundError``, with the reason in ``__cause__``; that its
Xet store cannot be reached, as a bare ``RuntimeError``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from star_mlx.types import StarError

LOGIN = "`hf auth login`"


@contextmanager
def failures(
    kind: type[StarError], repo: str, revision: str | None, *, instead: str, missing: str = ""
) -> Iterator[None]:
    """Turn the client's failures in this block into a ``kind`` of one line.

    ``instead`` says what to do where the Hub cannot be reached; ``missing`` stands before "no
    repository ... on the Hub", such as "no folder NAME, and ".

    Raises:
        StarError: the ``kind`` asked for. What the client does not document passes unchanged.
    """
    from huggingface_hub import errors as hub
    from huggingface_hub.utils import logging

    said = logging.get_verbosity()
    logging.set_verbosity_error()  # it tells each of its retries; what comes of them is told here
    try:
        yield
    except (
        hub.HTTPError,
        OSError,
        hub.HFValidationError,
        json.JSONDecodeError,
        RuntimeError,  # all that hf_xet has for a store it cannot reach
    ) as error:
        text = _sentence(error, repo, revision, instead)
        absent = isinstance(error, hub.RepositoryNotFoundError)
        gated = isinstance(error, hub.GatedRepoError)
        raise kind(missing + text if absent and not gated else text) from error
    finally:
        logging.set_verbosity(said)


def _sentence(error: Exception, repo: str, revision: str | None, instead: str) -> str:
    from huggingface_hub import errors as hub

    if isinstance(error, (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled)):
        cause = error.__cause__
        if isinstance(cause, hub.HfHubHTTPError) and not isinstance(
            error, hub.IncompleteSnapshotError
        ):
            return f"{_refused(cause, repo, revision)}, or {instead}"
        return _unreachable(error, repo, revision) + instead
    if isinstance(error, hub.HfHubHTTPError):
        return _refused(error, repo, revision)
    if isinstance(error, hub.HFValidationError):
        return f"{_called(repo, revision)} cannot be on the Hub: {_first_line(error)}"
    if isinstance(error, json.JSONDecodeError):
        return (
            "what answers in the Hub's place does not speak its language (a login page or proxy "
            f"in between?): mend the network or HF_ENDPOINT, or {instead}"
        )
    if getattr(error, "filename", None):
        return _not_stored(error, repo, revision)
    broken = _broken_off(error, repo, revision)
    if isinstance(error, RuntimeError):
        broken += ", with HF_HUB_DISABLE_XET=1 if that does not help"
    return f"{broken}, or {instead}"


def _refused(error: BaseException, repo: str, revision: str | None) -> str:
    """What the Hub answered, by the client's class for it or its status."""
    from huggingface_hub import errors as hub

    if isinstance(error, hub.GatedRepoError):
        return f"{repo} is gated: accept its terms on the Hub, then log in with {LOGIN}"
    if isinstance(error, hub.RepositoryNotFoundError):
        return f"no repository {repo} on the Hub (if it is private, log in with {LOGIN})"
    if isinstance(error, hub.RevisionNotFoundError):
        return f"{repo} on the Hub has no revision {revision or 'main'!r}"
    if isinstance(error, hub.DisabledRepoError):
        return f"{repo} was disabled on the Hub: choose another"
    answer = getattr(error, "response", None)
    status = answer.status_code if answer is not None else 0
    if isinstance(error, hub.RemoteEntryNotFoundError):
        file = answer.url.path.rsplit("/", 1)[-1] if answer is not None else "such file"
        return f"{_called(repo, revision)} on the Hub has no {file}: is it the right revision?"
    if status == 401:
        return f"the Hub refuses your login (401): log in again with {LOGIN}, or unset HF_TOKEN"
    if status == 403:
        return f"the Hub refuses access to {repo} (403): your token lacks the permission"
    if status == 429:
        return f"the Hub had too many requests (429): wait, log in with {LOGIN}"
    if status >= 500:
        return f"the Hub failed with error {status} over {_called(repo, revision)}: try again later"
    return f"the Hub refuses {_called(repo, revision)} ({_first_line(error)})"


def _unreachable(error: BaseException, repo: str, revision: str | None) -> str:
    """The beginning of a sentence that ends in what to do instead."""
    from huggingface_hub import errors as hub

    what = _called(repo, revision)
    if isinstance(error, hub.IncompleteSnapshotError):
        have = f"{what} is only partly in the cache"
    else:
        have = f"{what} is not in the cache"
    cause = error.__cause__ or error
    if isinstance(cause, hub.OfflineModeIsEnabled):
        return f"{have} and HF_HUB_OFFLINE is set: unset it, or "
    return f"{have} and the Hub cannot be reached ({_first_line(cause)}): "


def _broken_off(error: BaseException, repo: str, revision: str | None) -> str:
    reason = getattr(error, "strerror", None) or _first_line(error)
    return (
        f"{_called(repo, revision)} could not be fetched from the Hub ({reason}): "
        "try again (what is complete is kept)"
    )


def _not_stored(error: BaseException, repo: str, revision: str | None) -> str:
    reason = f"{getattr(error, 'filename', '')}: {getattr(error, 'strerror', error)}"
    return (
        f"{_called(repo, revision)} cannot be stored in the cache ({reason}): mend that folder, or "
        "set HF_HOME to another"
    )


def _called(repo: str, revision: str | None) -> str:
    return f"{repo}@{revision}" if revision else repo


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
