"""``star-mlx check``: compare every file of a run with its checksum, and repair what can be.

A finding names the damaged unit and what is still valid. A repair takes out damaged units that can
be made again by ``star-mlx loop --run`` or ``star-mlx evaluate``, and keeps them in the folder
``damaged/`` of the run.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from star_mlx.errors import RunError
from star_mlx.store import journal as journals
from star_mlx.store import names, reading, results
from star_mlx.store.files import replace
from star_mlx.store.journal import Chunk, Journal
from star_mlx.store.lock import locked
from star_mlx.types import Attempt

# The passes of an iteration of the loop, with those in which a model writes new questions.
LOOP = ("rephrase-questions", "sv-statements", "direct", "hinted", "dev")


@dataclass(frozen=True, slots=True)
class Finding:
    """A damaged or missing unit: where, why, and what is still valid.

    ``mend`` takes it out, to be made again; None if that is not possible. ``again`` says how to
    make it again, or what to do instead.
    """

    place: str
    why: str
    holds: str
    again: str
    mend: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of a check: the number of units compared with a checksum, the number without one,
    and the findings."""

    verified: int
    without: int
    findings: tuple[Finding, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged."""
        return not self.findings


def check(run: Path) -> Checked:
    """Verify every file of a run and of its baselines; nothing is written.

    Raises:
        RunError: there is no such folder, or it is not a run.
    """
    if not run.is_dir():
        raise RunError(f"{run} is not a run folder: there is no such folder")
    if not (run / names.RECIPE).is_file() and not (run / names.JOURNAL).is_file():
        raise RunError(f"{run} is not a run folder: it has no {names.RECIPE}")
    checker = _Checker(run)
    checker.all()
    parts = [checker.checked()]
    if (run / names.BASELINES).is_dir():
        folders = sorted(p for p in (run / names.BASELINES).iterdir() if p.is_dir())
        parts += [check(folder) for folder in folders if (folder / names.RECIPE).is_file()]
    findings = tuple(finding for part in parts for finding in part.findings)
    verified, without = (sum(p.verified for p in parts), sum(p.without for p in parts))
    return Checked(verified, without, findings)


class _Checker:
    """Checks a run, and counts the compared units."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._verified = self._without = 0
        self._findings: list[Finding] = []
        self._journal = Journal()
        self._last = 0  # the last finished iteration

    def checked(self) -> Checked:
        return Checked(self._verified, self._without, tuple(self._findings))

    def all(self) -> None:
        if not self._read_journal():
            return
        self._recipe()
        self._metrics()
        for number, name in self._journal.files():
            self._attempts(number, name)
        for number in self._journal.trained:
            self._training(number)
        for file in names.results(self._run):
            self._result(file)

    # ----------------------------------------------------------------------- the record

    def _read_journal(self) -> bool:
        path = self._run / names.JOURNAL
        try:
            self._journal = journals.read(self._run)
        except RunError as error:
            self._found(path, _why(error), "no row can be told to be finished", _RESTORE)
            return False
        if not self._journal.exists:
            holds = "what is in the files can be shown, but not verified"
            self._found(path, "it is missing", holds, _RESTORE)
            return False
        return True

    def _recipe(self) -> None:
        path = self._run / names.RECIPE
        known = self._journal.recipe_sha256
        if not path.is_file():
            self._found(path, "it is missing", "everything else", _RESTORE)
        elif self._count(known) and reading.file_sha256(path) != known:
            self._found(path, _DIFFERS, "everything else", "restore it, if it was not you")
        else:
            self._trying(path, lambda: reading.recipe_values(path, path.read_bytes()))

    def _metrics(self) -> None:
        path = self._run / names.METRICS
        try:
            lines = reading.metrics_lines(self._run)
        except RunError as error:
            self._found(path, _why(error), "attempts and adapters", _RESTORE)
            return
        numbers = []
        for at, line in enumerate(lines, 1):
            place = f"{path}, line {at}"
            try:
                [entry] = reading.verified_metrics(self._run, [line], self._journal)
            except RunError as error:
                self._found(place, _why(error), "attempts, adapters and other lines", _RESTORE)
                continue
            numbers.append(number := entry.iteration)
            finished = self._journal.finished.get(number)
            self._count(finished.metrics_sha256 if finished else "")
            if finished is None:
                why = f"the journal does not know that iteration {number} is finished"
                self._found(place, why, "the line itself", _RESTORE)
        self._last = max(numbers, default=0)

    # ----------------------------------------------------------------------- an iteration

    def _attempts(self, number: int, name: str) -> None:
        file = names.iteration(self._run, number) / name
        for chunk in self._journal.of_file(number, name):
            self._count(chunk.sha256)
            try:
                for _, data in reading.chunk_bytes(file, [chunk]):
                    reading.decoded(file, chunk, data, Attempt)
            except RunError as error:
                holds = f"every chunk before it; {self._of(number)}"
                again, mend = self._again(number, chunk)
                self._found(file, _why(error), holds, again, mend)
                return  # the chunks after it are made again with it

    def _again(self, number: int, chunk: Chunk) -> tuple[str, Callable[[], None] | None]:
        """How a chunk is made again, and the function that takes it out."""
        if chunk.kind not in LOOP or (chunk.kind == "dev" and number <= self._last):
            whose = "zero-shot" if chunk.kind.startswith("zero-shot") else str(number)
            again = f"star-mlx evaluate {self._run} --iteration {whose} makes it again"
            return again, lambda: self._drop_chunks(number, chunk)
        if number > self._last:
            return _LOOP_AGAIN, lambda: self._drop_chunks(number, chunk)
        if number == self._last:
            return _LOOP_AGAIN, lambda: self._drop_iteration(number, chunk)
        return _TOO_OLD, None

    def _training(self, number: int) -> None:
        trained = self._journal.trained[number]
        if not trained.files:
            self._count("")
        for name in trained.files:
            self._count("known")
            try:
                reading.verify_file(self._run, self._journal, number, name)
            except RunError as error:
                file = names.iteration(self._run, number) / name
                rows = f"star-mlx train --iteration {number} of its {names.EXAMPLES} makes the same"
                adapter = name.startswith(f"{names.ADAPTER}/")
                last = number >= self._last
                again = _LOOP_AGAIN if last else rows if adapter else _TOO_OLD
                mend = (lambda: self._drop_iteration(number, None)) if last else None
                self._found(file, _why(error), self._of(number), again, mend)
                if last:
                    return

    def _result(self, file: Path) -> None:
        known = self._journal.results.get(file.name)
        self._count(known.sha256 if known else "")
        data = file.read_bytes()
        wrong = "" if results.decoded(data) else "it is no result of star-mlx evaluate"
        if known and reading.sha256(data) != known.sha256:
            wrong = _DIFFERS
        if wrong:
            self._found(
                file, wrong, "the attempts it was made of", "star-mlx evaluate makes it again",
                lambda: self._drop_result(file),
            )  # fmt: skip

    def _of(self, number: int) -> str:
        """The other parts that are still valid, in words."""
        return "the other iterations" if number else "every iteration"

    # ----------------------------------------------------------------------- findings

    def _count(self, checksum: str) -> bool:
        """Count a unit, and return whether it has a checksum."""
        self._verified += bool(checksum)
        self._without += not checksum
        return bool(checksum)

    def _trying(self, place: Path, read: Callable[[], object]) -> None:
        try:
            read()
        except RunError as error:
            self._found(place, _why(error), "everything else", _RESTORE)

    def _found(
        self,
        place: Path | str,
        why: str,
        holds: str,
        again: str,
        mend: Callable[[], None] | None = None,
    ) -> None:
        self._findings.append(Finding(str(place), why, holds, again, mend))

    # ----------------------------------------------------------------------- mending

    def _drop_chunks(self, number: int, chunk: Chunk) -> None:
        """Take out a chunk and those after it in its file."""
        file = names.attempts(self._run, number, chunk.kind)
        self._keep(file)
        later = [c for c in self._journal.of_file(number, file.name) if c.offset >= chunk.offset]
        first = {c.kind: min(d.index for d in later if d.kind == c.kind) for c in later}
        for kind, index in first.items():
            self._log("dropped", what="chunks", iteration=number, kind=kind, index=index)
        if file.is_file():
            data = file.read_bytes()
            replace(file, data[: chunk.offset])

    def _drop_iteration(self, number: int, chunk: Chunk | None) -> None:
        """Take out the training of the last iteration and its metrics line, and a chunk of it."""
        lines = reading.metrics_lines(self._run)
        kept = [line for line in lines if json.loads(line)["iteration"] != number]
        self._keep(self._run / names.METRICS)
        if chunk:
            self._drop_chunks(number, chunk)
        if number in self._journal.trained:
            self._log("dropped", what="trained", iteration=number)
        if len(kept) < len(lines):
            replace(self._run / names.METRICS, b"".join(line + b"\n" for line in kept))
            self._log("dropped", what="iteration", iteration=number)
        if names.adapter(self._run, number).is_dir():
            self._keep(names.adapter(self._run, number), move=True)

    def _drop_result(self, file: Path) -> None:
        self._keep(file, move=True)

    def _log(self, event: str, **fields: object) -> None:
        line = journals.append(self._run, event, fields)
        self._journal.enter(event, line)

    def _keep(self, path: Path, *, move: bool = False) -> None:
        """Keep a file that is taken out in the folder ``damaged/``."""
        if not path.exists():
            return
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S%fZ")
        to = self._run / names.DAMAGED / stamp / path.relative_to(self._run)
        to.parent.mkdir(parents=True, exist_ok=True)
        if move:
            path.replace(to)
        elif path.is_dir():
            shutil.copytree(path, to)
        else:
            shutil.copyfile(path, to)


_DIFFERS = "its checksum does not match"
_RESTORE = "restore it from a copy"
_LOOP_AGAIN = "star-mlx loop --run makes it again"
_TOO_OLD = "it cannot be made again alone; later iterations do not need it"


def _why(error: RunError) -> str:
    """The reason of an error raised by the readers, without its place and its advice."""
    text = str(error).partition("; star-mlx check")[0]
    return text.partition("is damaged: ")[2] or text


def repair(run: Path) -> list[Finding]:
    """Take out damaged units that can be made again, one by one, and return the findings.

    Raises:
        RunError: see ``check``; or the run is in use, or cannot be written to.
    """
    check(run)  # raises for a folder that is no run before anything is written
    done: list[Finding] = []
    try:
        with locked(run):
            while finding := _next(check(run).findings, done):
                if finding.mend:
                    finding.mend()
                done.append(finding)
    except OSError as error:
        raise RunError(f"{run} cannot be written to: {error.strerror or error}") from None
    return done


def _next(findings: Sequence[Finding], done: Sequence[Finding]) -> Finding | None:
    """The first finding that can be repaired and has not been yet."""
    tried = {(finding.place, finding.why) for finding in done}
    return next((f for f in findings if f.mend and (f.place, f.why) not in tried), None)
