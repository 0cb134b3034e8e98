"""A server's answer to a request for a completion, or why it is none."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import msgspec

from star_mlx.endpoints.key import KEY, Secret
from star_mlx.types import Finish

# again: the same request may be answered later; server: this server answers none; missing: it has
# no such model or adapter; request: no server answers this request.
FaultKind = Literal["again", "server", "missing", "request"]
_REQUEST = (400, 413, 414, 422)
_AGAIN = (408, 409, 425, 429)
_STOP = ("stop", "eos", "eos_token", "end_turn", "stop_sequence")
_LENGTH = ("length", "max_tokens")


class Fault(Exception):
    """Why there is no completion. ``wait`` is the number of seconds that the server asks for,
    ``reached`` whether it answered at all."""

    def __init__(
        self, kind: FaultKind, text: str, wait: float | None = None, *, reached: bool = True
    ) -> None:
        super().__init__(text)
        self.kind, self.text, self.wait, self.reached = kind, text, wait, reached


@dataclass(frozen=True, slots=True)
class Reply:
    """A completion as a server gives it; the numbers of tokens, and the tokens that it drew, with
    those that ended it, are None if it does not say."""

    text: str
    finish: Finish
    ids: tuple[int, ...] | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Choice(msgspec.Struct):
    text: str
    finish_reason: str | None = None
    token_ids: Any = None  # vLLM
    logprobs: Any = None  # mlx_lm.server


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    model: str | None = None
    usage: dict[str, Any] | None = None


def check(status: int, headers: Mapping[str, str], body: bytes, key: Secret) -> None:
    """Raise ``Fault`` if the status of an answer is not that of a success."""
    if 200 <= status < 300:
        return
    said = _said(body)
    about = f"it answers {status}{': ' if said else ''}{key.shown(said)}"
    if 300 <= status < 400:
        to = key.shown(headers.get("location", "another address"))
        raise Fault("server", f"it leads on to {to}: give that address")
    if status in (401, 403):
        what = f"it refuses the key in {KEY}" if key else f"it wants a key: set {KEY}"
        raise Fault("server", f"{what} ({about})")
    if status == 404:
        raise Fault("missing", f"{about}. It has no such model, or no such API at this address")
    if status in _REQUEST:
        raise Fault("request", about)
    if status >= 500 or status in _AGAIN:
        raise Fault("again", about, waiting(headers.get("retry-after", "")))
    raise Fault("server", about)


def read(body: bytes, model: str, key: Secret) -> Reply:
    """The completion in the body of a successful answer, which is to be by this model.

    Raises:
        Fault: it has none.
    """
    answer = decoded(body, _Answer, key)
    if answer.model is not None and not same_model(answer.model, model):
        other = key.shown(answer.model)
        raise Fault(
            "server",
            f"it was asked for the model {key.shown(model)} and answers as {other}: serve that "
            "model there, or give endpoints.model",
        )
    if len(answer.choices) != 1:
        raise Fault("again", f"it answers with {len(answer.choices)} completions instead of one")
    [choice] = answer.choices
    return Reply(
        key.out_of(choice.text),
        _finish(choice.finish_reason, key),
        None if key.in_(choice.text) else _ids(choice),
        _number(answer.usage, "prompt_tokens"),
        _number(answer.usage, "completion_tokens"),
    )


def decoded(body: bytes, kind: Any, key: Secret) -> Any:
    """The body of an answer as an object of this type.

    Raises:
        Fault: it is not one.
    """
    if not body.strip():
        raise Fault("again", "it answers with nothing")
    if body.lstrip()[:1] == b"<":
        raise Fault("again", "it answers with a page of HTML: is this the address of its API?")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Fault("again", f"its answer is not a completion: {key.shown(str(error))}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        text = key.shown(str(error))
        raise Fault("again", f"its answer is cut off, or no JSON: {text}") from None


def _number(usage: Mapping[str, Any] | None, name: str) -> int | None:
    found = (usage or {}).get(name)
    return found if isinstance(found, int) and found >= 0 else None


def _ids(choice: _Choice) -> tuple[int, ...] | None:
    """The tokens that a server drew, if it says which."""
    found = choice.token_ids
    if found is None and isinstance(choice.logprobs, dict):
        content = choice.logprobs.get("content")
        each = content if isinstance(content, list) else []
        found = [one.get("id") if isinstance(one, dict) else None for one in each]
    if not isinstance(found, list) or not found:
        return None
    return tuple(found) if all(type(one) is int and one >= 0 for one in found) else None


def same_model(one: str, other: str) -> bool:
    """Whether two names mean the same model; Ollama leaves ``:latest`` out."""
    return one.removesuffix(":latest") == other.removesuffix(":latest")


def _finish(reason: str | None, key: Secret) -> Finish:
    if reason in _STOP:
        return "stop"
    if reason in _LENGTH:
        return "length"
    shown = "no reason" if not reason else f"the reason {key.shown(reason)!r}"
    raise Fault("again", f"a completion ended for {shown}, neither 'stop' nor 'length'")


def waiting(text: str) -> float | None:
    """The seconds of a ``Retry-After`` header: a number, or a date; None if it is neither."""
    with contextlib.suppress(ValueError):
        seconds = float(text)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    then = then if then.tzinfo else then.replace(tzinfo=timezone.utc)
    return max(0.0, (then - datetime.now(timezone.utc)).total_seconds())


def _said(body: bytes) -> str:
    """What a server says about an error: the message of OpenAI's form, or of similar ones."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "" if body.lstrip()[:1] == b"<" else body[:1000].decode(errors="replace")
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    return found if isinstance(found, str) else msgspec.json.encode(found).decode()
