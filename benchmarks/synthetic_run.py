"""Write a long run folder without running anything: what opening and resuming is measured on.

    python benchmarks/synthetic_run.py write DIR [--iterations 100] [--attempts 10000]
    python benchmarks/synthetic_run.py interrupt DIR
    python benchmarks/synthetic_run.py resume DIR

The folder is in the public format (docs/run-folder.md): recipe, journal, metrics, attempts, dev
attempts and training sets, as a loop on the arithmetic task with the embedded base leaves them, so
that ``star-mlx loop --run`` goes on with it. Only the adapters are missing. The sums and their
scratchpads are real, which of them were solved is drawn. ``interrupt`` makes it a run that was cut
off in its last iteration; ``resume`` goes on with it up to where the model would be asked.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn
from zlib import crc32

from star_mlx import engine as engines
from star_mlx.measure.accuracy import measured
from star_mlx.prompts import Prompts
from star_mlx.recipe import loading, opening, provenance
from star_mlx.run import loop
from star_mlx.settings import Recipe
from star_mlx.star import sample
from star_mlx.store import journal as journals
from star_mlx.store import reading, rows, writing
from star_mlx.store.files import json_line
from star_mlx.store.metrics import as_json
from star_mlx.types import Attempt, Engine, Evaluation, Example, Problem, Source, Task

FAILED = 4  # one direct attempt in so many fails and is rationalized


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a run; ``attempts`` an iteration, direct and hinted together."""

    iterations: int = 100
    attempts: int = 10_000
    train: int = 50_000
    dev: int = 500

    def recipe(self) -> Recipe:
        """Long sums, so that a row has the 600 bytes of a rationale in words."""
        settings = {
            "star.iterations": self.iterations,
            "star.problems": self.attempts * FAILED // (FAILED + 1),
            "task.options.train": self.train,
            "task.options.digits": "[4, 6]",
            "task.options.held_out": -(-self.dev // 3),
            "evaluate.dev": self.dev,
        }
        overrides = [f"{key}={value}" for key, value in settings.items()]
        return loading.load(None, task="arithmetic", overrides=overrides)


class Rows:
    """The lines of a problem's attempts and examples, each made once."""

    def __init__(self, task: Task, prompts: Prompts, engine: Engine) -> None:
        self._task, self._prompts, self._engine = task, prompts, engine
        self._attempts: dict[tuple[str, bool, bool], bytes] = {}
        self._examples: dict[tuple[str, bool], bytes] = {}
        self._ids: dict[str, tuple[int, ...]] = {}  # by text

    def attempt(self, problem: Problem, hinted: bool, correct: bool) -> bytes:
        key = (problem.id, hinted, correct)
        if key not in self._attempts:
            made = self._attempt(problem, hinted, correct)
            self._attempts[key] = rows.attempts([made])
        return self._attempts[key]

    def example(self, problem: Problem, hinted: bool, iteration: int) -> bytes:
        key = (problem.id, hinted)
        if key not in self._examples:
            made = self._attempt(problem, hinted, True)
            prompt = self._prompts.training(problem.question, few_shot=False)
            source: Source = "rationalized" if hinted else "direct"
            text, ids = made.completion, made.token_ids
            self._examples[key] = json_line(asdict(Example(made.id, prompt, text, source, ids, -1)))
        return self._examples[key].replace(b'"iteration":-1', b'"iteration":%d' % iteration)

    def _attempt(self, problem: Problem, hinted: bool, correct: bool) -> Attempt:
        answer = problem.answer if correct else "1" + problem.answer[1:] + " 0"
        text = self._task.worked(problem.rationale, answer)
        if text not in self._ids:
            self._ids[text] = tuple(self._engine.encode(text))
        return Attempt(problem.id, hinted, text, answer, correct, "stop", self._ids[text])


def write(path: Path, shape: Shape, engine: Engine | None = None) -> None:
    """Write a finished run of this shape to a folder that does not exist.

    ``engine`` is what the run is said to be made with: by default the embedded base.
    """
    made = shape.recipe()
    task, prompts = opening.open_task(made)
    engine = engine or engines.open_base(made)
    values = opening.settled(made, task)
    values["provenance"] = provenance.provenance(task, prompts, engine)
    with writing.opened(path, values):
        pass  # makes the folder and its recipe
    writer = _Writer(path, made, task, Rows(task, prompts, engine))
    with open(path / "journal.jsonl", "ab") as journal, open(path / "metrics.jsonl", "ab") as lines:
        for number in range(shape.iterations + 1):
            entries, line = writer.iteration(number)
            data = json_line(line)
            entries[-1]["metrics_sha256"] = reading.sha256(data.removesuffix(b"\n"))
            journal.writelines(_line(entry) for entry in entries)
            lines.write(data)
        journal.write(_line({"event": "finished", "reason": "done"}))


def interrupt(path: Path) -> None:
    """Make the run one that was cut off in its last iteration, one hinted chunk before the end."""
    *lines, last = (path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    number = json.loads(last)["iteration"]
    entries = (path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    own = [i for i, line in enumerate(entries) if json.loads(line).get("iteration") == number]
    hinted = [i for i in own if b'"kind":"hinted"' in entries[i]]
    (path / "metrics.jsonl").write_bytes(b"".join(lines))
    (path / "journal.jsonl").write_bytes(b"".join(entries[: hinted[-1]]))


class Asked(Exception):
    """The model was asked: from here on a resumed run does new work."""


def resume(path: Path, engine: Engine | None = None) -> None:
    """Go on with a run as ``star-mlx loop --run`` does, up to where its model is asked.

    Raises:
        Asked: it is.
    """
    made = opening.resume_recipe(path)
    engine = engine or engines.open_base(made)

    def ask(*arguments: Any, **more: Any) -> NoReturn:
        raise Asked

    engine.generate = ask  # type: ignore[method-assign]
    loop.run(made, path, lambda event: None, engine=engine)


class _Writer:
    """Writes one iteration's files after the other; returns what is said of them elsewhere."""

    def __init__(self, path: Path, made: Recipe, task: Task, rows: Rows) -> None:
        self._path, self._made, self._task, self._rows = path, made, task, rows
        self._last: dict[str, bool] = {}  # was the last direct attempt right

    def iteration(self, number: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Its journal entries and its metrics line."""
        folder = self._path / "iterations" / f"{number:03d}"
        folder.mkdir(parents=True)
        if number == 0:
            evaluation, entries = self._dev(folder, number)
            line = {"iteration": 0, "eval": evaluation, "seconds": {"evaluate": 2.0}}
            verdicts: dict[str, Any] = {"solved": [], "failed": []}
        else:
            options = self._made.star
            drawn = sample(self._task.problems("train"), options, self._made.seed, number)
            solved = [p for p in drawn if not _lot(number, p.id, FAILED)]
            failed = [p for p in drawn if _lot(number, p.id, FAILED)]
            told = [p for p in failed if _lot(number, p.id + "/hinted", FAILED)]
            entries = self._attempts(folder, number, drawn, failed, {p.id for p in told})
            trained = {"steps": 48, "epochs": 1.0, "tokens": 60_000, "first_loss": 0.9}
            trained |= {"last_loss": 0.3, "seconds": 10.0, "too_long": []}
            entries.append(_entry("trained", number, **trained))
            (folder / "adapter").mkdir()
            evaluation, more = self._dev(folder, number)
            entries += more
            verdicts = {"solved": [p.id for p in solved], "failed": [p.id for p in failed]}
            line = self._line(number, solved, failed, told, evaluation)
            self._last.update({p.id: True for p in solved} | {p.id: False for p in failed})
        return [*entries, _entry("iteration", number, **verdicts)], line

    def _attempts(
        self,
        folder: Path,
        number: int,
        drawn: Sequence[Problem],
        failed: Sequence[Problem],
        told: set[str],
    ) -> list[dict[str, Any]]:
        lost = {p.id for p in failed}
        make = self._rows.attempt
        direct = [make(p, False, p.id not in lost) for p in drawn]
        hinted = [make(p, True, p.id in told) for p in failed]
        (folder / "attempts.jsonl").write_bytes(b"".join([*direct, *hinted]))
        kept = [(p, False) for p in drawn if p.id not in lost]
        kept += [(p, True) for p in failed if p.id in told]
        rows = (self._rows.example(p, hint, number) for p, hint in kept)
        (folder / "examples.jsonl").write_bytes(b"".join(rows))
        offset = sum(map(len, direct))
        return self._chunks(number, "direct", direct, 0) + self._chunks(
            number, "hinted", hinted, offset
        )

    def _dev(self, folder: Path, number: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        problems = self._task.problems("dev")[: self._made.evaluate.dev]
        right = {p.id for p in problems if _lot(number, p.id, FAILED)}
        rows = [self._rows.attempt(p, False, p.id in right) for p in problems]
        (folder / "eval.jsonl").write_bytes(b"".join(rows))
        there = Counter(p.group for p in problems)
        solved = Counter(p.group for p in problems if p.id in right)
        by_class = {group: (n, solved[group]) for group, n in there.items()}
        evaluation = Evaluation("dev", len(rows), len(right), by_class)
        return as_json(measured(evaluation, self._task.classes)), self._chunks(
            number, "dev", rows, 0
        )

    def _chunks(
        self, number: int, kind: str, rows: Sequence[bytes], offset: int
    ) -> list[dict[str, Any]]:
        entries, size = [], self._made.generate.per_chunk
        for index, first in enumerate(range(0, len(rows), size)):
            chunk = rows[first : first + size]
            extent: dict[str, Any] = {
                "offset": offset,
                "bytes": sum(map(len, chunk)),
                "seconds": 1.0,
            }
            extent["sha256"] = reading.sha256(b"".join(chunk))
            entries.append(
                _entry("chunk", number, kind=kind, index=index, rows=len(chunk), **extent)
            )
            offset += sum(map(len, chunk))
        return entries

    def _line(
        self,
        number: int,
        solved: Sequence[Problem],
        failed: Sequence[Problem],
        told: Sequence[Problem],
        evaluation: dict[str, Any],
    ) -> dict[str, Any]:
        kept = len(solved) + len(told)
        return {
            "iteration": number,
            "teacher": number - 1,
            "problems": len(solved) + len(failed),
            "solved": len(solved),
            "rationalized": len(told),
            "examples": kept,
            "newly_solved": sum(self._last.get(p.id) is False for p in solved),
            "forgotten": sum(self._last.get(p.id) is True for p in failed),
            "train": {"steps": 48, "epochs": 1.0, "tokens": 60_000},
            "eval": evaluation,
            "seconds": {"generate": 30.0, "rationalize": 12.0, "train": 10.0, "evaluate": 2.0},
        }


def _entry(event: str, iteration: int, **fields: Any) -> dict[str, Any]:
    return {"event": event, "iteration": iteration, **fields}


def _line(entry: dict[str, Any]) -> bytes:
    return journals.line(entry["event"], {k: v for k, v in entry.items() if k != "event"})


def _lot(number: int, name: str, one_in: int) -> bool:
    return crc32(f"{number}/{name}".encode()) % one_in == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("what", choices=["write", "interrupt", "resume"])
    parser.add_argument("run", type=Path, metavar="DIR")
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--attempts", type=int, default=10_000)
    given = parser.parse_args()
    if given.what == "write":
        train = max(Shape().train, given.attempts * FAILED // (FAILED + 1))
        write(given.run, Shape(given.iterations, given.attempts, train))
    elif given.what == "interrupt":
        interrupt(given.run)
    else:
        try:
            resume(given.run)
            print("the run is finished")
        except Asked:
            print("the model would now be asked")


if __name__ == "__main__":
    main()
