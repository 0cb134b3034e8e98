"""What the contestants share: reading their work, writing their result, where a row ends.

Needs nothing but the standard library and ``tokenizers``, so that it runs in any environment.
A contestant is a script: ``NAME.py WORK.json RESULT.json``.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

Phase = Callable[[dict[str, Any]], dict[str, Any]]


class Ends:
    """Where a completion ends: at a stop string, also inside a token, or at the end token."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str], eos: int) -> None:
        self._tokenizer, self._stop, self._eos = tokenizer, tuple(stop), eos
        self._last = {s[-1] for s in self._stop}
        self._tail = 2 * max((len(s.encode()) for s in self._stop), default=0) + 8
        self._known: dict[int, bool] = {}

    def text(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens included."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def ended(self, ids: Sequence[int]) -> bool:
        """Whether the last of these generated ids ends the row."""
        token = ids[-1]
        if token == self._eos:
            return True
        known = self._known.get(token)
        if known is None:
            piece = self.text([token])
            known = not piece or "\ufffd" in piece or any(c in piece for c in self._last)
            self._known[token] = known
        return known and any(s in self.text(ids[-self._tail :]) for s in self._stop)

    def kept(self, ids: Sequence[int]) -> list[int]:
        """The ids before the end token or stop; what stands before a stop in its own first token
        is encoded anew."""
        ids = list(ids)
        if self._eos in ids:
            ids = ids[: ids.index(self._eos)]
        text = self.text(ids)
        at = min((i for s in self._stop if (i := text.find(s)) >= 0), default=None)
        if at is None:
            return ids
        n = len(ids)
        while n and not text[:at].startswith(self.text(ids[:n])):
            n -= 1
        rest = text[len(self.text(ids[:n])) : at]
        return ids[:n] + (
            self._tokenizer.encode(rest, add_special_tokens=False).ids if rest else []
        )


def peak_rss() -> int:
    """Bytes, the most this process ever held in memory."""
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss may be the parent's
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of the installed packages of these names."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def tokenizer(work: dict[str, Any]) -> Tokenizer:
    return Tokenizer.from_file(str(Path(work["model"]) / "tokenizer.json"))


def main(
    load: Callable[[dict[str, Any]], dict[str, Phase]],
    packages: Sequence[str],
    settings: Callable[[dict[str, Any]], dict[str, Any]] = lambda work: dict(work["settings"]),
) -> None:
    """Load, run the phases of the work in order, and write what they took.

    Loading counts from the start of the process, imports included.

    Args:
        load: makes the model ready and returns a function for each kind of phase, "generation"
            (hinted or not) and "training"; each returns its figures, and with ``completions``
            the raw ids of each row.
        packages: whose versions are written down.
        settings: what it was run with, to be shown.
    """
    work = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    run = load(work)
    loaded = time.time() - float(os.environ.get("BENCHMARK_STARTED", time.time()))
    result: dict[str, Any] = {"load_seconds": loaded, "phases": {}}
    begin = time.perf_counter()
    for name, phase in work["phases"].items():
        start = time.perf_counter()
        figures = run["training" if name == "training" else "generation"](phase)
        figures.setdefault("seconds", time.perf_counter() - start)
        result["phases"][name] = figures
    result["seconds"] = time.perf_counter() - begin
    for name, figures in result["phases"].items():
        if "completions" in figures:
            stop = work["phases"][name]["stop"]
            ends = Ends(tokenizer(work), stop, work["eos"])
            figures["completions"] = [ends.kept(ids) for ids in figures["completions"]]
            figures["tokens"] = sum(map(len, figures["completions"]))
    result |= {"peak_rss": peak_rss(), "versions": versions(packages), "settings": settings(work)}
    Path(sys.argv[2]).write_text(json.dumps(result), "utf-8")
