"""The process that reads and compares answers, and ends when the one that started it does.

A request is a line of JSON, ``[what, *arguments]``, and so is the reply to it. It runs no text of a
request as code, and ignores Ctrl-C, which is meant for the other process.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from star_mlx.answers.math import decide, second
from star_mlx.errors import TaskError

MEMORY = 2 << 30  # bytes, where the system has such a limit
GRACE = 2.0  # seconds beyond its limit in which the other process would have ended this one


def serve() -> None:
    """Answer requests from standard input until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # nothing that a library prints is taken for a reply
    _bound_memory()
    handlers = _handlers()
    replies.write(b'"ready"\n')
    with open(os.devnull, "w") as nowhere:
        for line in sys.stdin.buffer:
            what, seconds, *arguments = json.loads(line)
            # If the other process is killed while this one is busy, nobody else ends it.
            faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=nowhere)
            reply = _reply(handlers, what, arguments)
            faulthandler.cancel_dump_traceback_later()
            replies.write(json.dumps(reply).encode() + b"\n")


def _reply(handlers: Mapping[str, Callable[..., Any]], what: str, arguments: list[str]) -> Any:
    """The reply to a request. An exception is a reply too, which the other process raises."""
    try:
        return handlers[what](*arguments)
    except (MemoryError, RecursionError) as error:
        return {"undecided": f"it is too large ({type(error).__name__})"}
    except TaskError as error:
        return {"error": str(error), "missing": True}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}", "missing": False}


def _bound_memory() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))


def _handlers() -> dict[str, Callable[..., Any]]:
    return {"judge": _judged, "unreadable": decide.unreadable, "second": second.opinions}


def _judged(answer: str, gold: str) -> dict[str, str]:
    found = decide.judged(answer, gold)
    return {"decision": found.decision, "reason": found.reason}
