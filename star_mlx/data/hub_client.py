"""Turn the exceptions of the Hub's client into one line with advice. Imports nothing heavy.

The client (huggingface_hub 2.4) hides the causes. A failed server or a missing network is raised as
``LocalEntryNotFoundError``, with the reason in ``__cause__``; an unreachable Xet store as a plain
``RuntimeError``; and a failed file of an upload as a ``RuntimeError`` around its error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from star_mlx.errors import StarError
from star_mlx.formatting import harmless

LOGIN = "`hf auth login`"
LONGEST_WAIT = 40  # seconds in all that the Hub may ask to wait during an upload
TIMEOUT = (10.0, 100.0, 60.0, None)  # seconds to connect, to read, to write; no limit for the pool
PASSING = (408, 429, 500, 502, 503, 504)  # statuses after which the same request may succeed


class HubError(StarError):
    """The Hub refused a request, or something cannot be sent to it or fetched from it."""


@contextmanager
def failures(
    kind: type[StarError], repo: str, revision: str | None, *, instead: str, missing: str = ""
) -> Iterator[None]:
    """Turn the client's failures in this block into a ``kind`` of one line.

    ``instead`` says what to do if the Hub cannot be reached; ``missing`` is the text before "no
    repository ... on the Hub", such as "no folder NAME, and ".

    Raises:
        StarError: of the ``kind``. Exceptions that the client does not document pass unchanged.
    """
    from huggingface_hub import errors as hub

    try:
        with _silent_client():
            yield
    except (
        hub.HTTPError,
        OSError,
        hub.HFValidationError,
        json.JSONDecodeError,
        RuntimeError,  # raised by hf_xet for a store it cannot reach
    ) as error:
        text = _sentence(error, repo, revision, instead)
        absent = isinstance(error, hub.RepositoryNotFoundError)
        gated = isinstance(error, hub.GatedRepoError)
        raise kind(_fit(missing + text if absent and not gated else text)) from error


@contextmanager
def _silent_client() -> Iterator[None]:
    """Silence the client, which reports every retry; the result is reported here."""
    from huggingface_hub.utils import logging

    said = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
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
            "the answer is not from the Hub (a login page or proxy in between?): fix the network "
            f"or HF_ENDPOINT, or {instead}"
        )
    if getattr(error, "filename", None):
        return _not_stored(error, repo, revision)
    broken = _broken_off(error, repo, revision)
    if isinstance(error, RuntimeError):
        broken += ", with HF_HUB_DISABLE_XET=1 if that does not help"
    return f"{broken}, or {instead}"


def _refused(error: BaseException, repo: str, revision: str | None) -> str:
    """The answer of the Hub in words, by the client's exception class or the status."""
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
    status = status_of(error)
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
    """The beginning of a sentence; the caller adds what to do instead."""
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
        f"{_called(repo, revision)} cannot be stored in the cache ({reason}): fix that folder, or "
        "set HF_HOME to another"
    )


# --------------------------------------------------------------------------- writing


@contextmanager
def writing(repo: str, revision: str | None = None, *, left: str = "") -> Iterator[None]:
    """Turn the client's failures in this block, which writes to the Hub, into a ``HubError``.

    ``left`` is the state of the repository, for the end of the line.

    Raises:
        HubError: one line. Exceptions that the client does not document pass unchanged.
    """
    from huggingface_hub import errors as hub

    try:
        with _silent_client(), _bounded_waits():
            yield
    except (hub.HTTPError, OSError, ValueError, RuntimeError) as error:
        if (told := unwritten(error, repo, revision, left=left)) is None:
            raise
        raise told from error


def unwritten(
    error: Exception, repo: str, revision: str | None = None, *, left: str = ""
) -> HubError | None:
    """The error that ``writing`` raises for a failure of the client; None if it is a bug."""
    text = _unwritten(error, repo, revision)
    return None if text is None else HubError(_fit(f"{text}; {left}" if left else text))


def _unwritten(error: Exception, repo: str, revision: str | None) -> str | None:
    """The failure in words; None for a ``ValueError`` that is a bug."""
    from huggingface_hub import errors as hub

    cause = error.__cause__
    if isinstance(error, RuntimeError) and isinstance(cause, (hub.HTTPError, OSError)):
        return f"{_first_line(error)} ({_unwritten(cause, repo, revision)})"
    if isinstance(error, hub.HfHubHTTPError):
        return _refused_to_write(error, repo, revision)
    if isinstance(error, hub.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so nothing can be sent to the Hub: unset it"
    if isinstance(error, hub.HFValidationError):
        return f"{_called(repo, revision)} cannot be on the Hub: {_first_line(error)}"
    if isinstance(error, json.JSONDecodeError):
        return (
            "the answer is not from the Hub (a login page or proxy in between?): fix the network "
            "or HF_ENDPOINT"
        )
    if isinstance(error, ValueError):
        said = " ".join(str(error).split())
        ours = said.startswith(("Invalid metadata", "LFS batch API", "Malformed response"))
        return f"the Hub refuses what is sent to {repo}: {said}" if ours else None
    if getattr(error, "filename", None):
        return f"{getattr(error, 'filename', '')} cannot be read: {getattr(error, 'strerror', '')}"
    said = _first_line(error)
    answered = "HTTP status" in said  # in hf_xet's words, which has no class for a refusal
    failed = (
        "the Hub's Xet store refused or failed" if answered else "the connection to the Hub failed"
    )
    text = f"{failed} ({said}): try again"
    if not isinstance(error, hub.HTTPError):  # hf_xet raises RuntimeError or ConnectionError
        text += ", with HF_HUB_DISABLE_XET=1 if that does not help"
    return text


def _refused_to_write(error: BaseException, repo: str, revision: str | None) -> str:
    from huggingface_hub import errors as hub

    status, said = status_of(error), getattr(error, "server_message", None)
    why = f" ({' '.join(str(said).split())})" if said else ""
    if status == 401:
        return f"the Hub refuses your login (401): log in again with {LOGIN}, or fix HF_TOKEN"
    if isinstance(error, hub.RepositoryNotFoundError):
        return f"no repository {repo} on the Hub, or your login may not see it: {LOGIN}"
    if isinstance(error, (hub.RevisionNotFoundError, hub.DisabledRepoError)):
        return _refused(error, repo, revision)
    if status == 402:
        return f"the Hub asks for payment before it stores this in {repo} (402){why}"
    if status == 403:
        return f"the Hub does not let you write to {repo} (403): take a token that may write{why}"
    if status in (409, 412):
        return f"another commit came to {repo} in between, twice ({status}): push again{why}"
    if status == 413:
        return f"what is sent to {repo} is too large for the Hub (413): push fewer formats{why}"
    if status == 429:
        wait = asked_wait(getattr(error.response, "headers", {}))  # type: ignore[attr-defined]
        much = "try again later" if wait is None else f"it asks to wait {wait} s: then try again"
        return f"the Hub had too many requests (429): {much}"
    if status >= 500:
        return f"the Hub failed with error {status} over {_called(repo, revision)}: try again later"
    return f"the Hub refuses {_called(repo, revision)} ({_first_line(error)})"


def status_of(error: BaseException) -> int:
    """The HTTP status of an error of the client; 0 if it has none."""
    answer = getattr(error, "response", None)
    return 0 if answer is None else int(answer.status_code)


def asked_wait(headers: Mapping[str, str]) -> int | None:
    """Seconds that a response asks to wait, by ``Retry-After`` or ``RateLimit``."""
    from huggingface_hub.utils import parse_ratelimit_headers

    limit = parse_ratelimit_headers(headers)
    if limit is not None and limit.remaining == 0:
        return limit.reset_in_seconds
    after = {name.lower(): value for name, value in headers.items()}.get("retry-after", "")
    return int(after) if after.strip().isdigit() else None


@contextmanager
def _bounded_waits() -> Iterator[None]:
    """Inside the block, raise an error at once if a response asks for too long a wait.

    The client itself would sleep for any time that the Hub asks for, up to six times.
    """
    from huggingface_hub.utils import get_session, hf_raise_for_status

    asked = 0

    def refuse_long_waits(response: Any) -> None:
        nonlocal asked
        wait = asked_wait(response.headers) if response.status_code in PASSING else None
        if wait is not None:
            asked += wait
            if asked > LONGEST_WAIT:
                response.read()
                hf_raise_for_status(response)

    client = get_session()
    hooks, timeout = client.event_hooks, client.timeout
    client.event_hooks = {**hooks, "response": [*hooks["response"], refuse_long_waits]}
    client.timeout = TIMEOUT  # the default has no limit
    try:
        yield
    finally:
        client.event_hooks, client.timeout = hooks, timeout


def again(call: Callable[[], Any], sleep: Callable[[float], None]) -> Any:
    """Make a call that the client itself does not repeat, up to four times if that may help."""
    from huggingface_hub import errors as hub

    budget = float(LONGEST_WAIT)
    for least in (1, 2, 4):
        try:
            return call()
        except hub.HTTPError as error:
            wait = max(least, asked_wait(headers_of(error)) or 0)
            budget -= wait
            if budget < 0 or not passing(error):
                raise
        sleep(wait)
    return call()


def passing(error: BaseException) -> bool:
    """Whether the same request may succeed later: after a network error or server overload."""
    from huggingface_hub import errors as hub

    if isinstance(error, hub.HfHubHTTPError):
        return status_of(error) in PASSING
    return isinstance(error, hub.HTTPError)


def headers_of(error: BaseException) -> Mapping[str, str]:
    """The response headers of an error of the client."""
    return getattr(getattr(error, "response", None), "headers", {})


# --------------------------------------------------------------------------- words


def _fit(text: str) -> str:
    """Make a server's text safe to show: it may contain anything, even the token sent to it."""
    from huggingface_hub import get_token

    token = None
    with suppress(OSError):  # if the folder of the login cannot be read
        token = get_token()
    return harmless(text.replace(token, "[token]") if token else text)


def _called(repo: str, revision: str | None) -> str:
    return f"{repo}@{revision}" if revision else repo


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
