"""star-mlx beside other ways to do the same on a CPU, in one run, the contestants taking turns.

    python benchmarks/run.py --data DIR [--parts generation training iteration tiny] [--out DIR]
    python benchmarks/run.py table --out DIR

Every measurement has a process of its own and is written to ``results.json`` at once, so that an
interrupted run continues where it was; ``table.md`` is made from that file. See README.md beside.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, NoReturn

import peers
import work as works
from peers import BY_NAME, Contestant, Place
from results import Results
from work import PARTS, PHASES, BenchmarkError, Sizes

TRIAL_TOKENS = 6  # decoded to try settings on


class Bench:
    """One benchmark: the contestants, the sizes, and where things are."""

    def __init__(self, given: argparse.Namespace, sizes: Sizes) -> None:
        self.given, self.sizes = given, sizes
        self.place = Place(given.work, given.model, given.gguf)
        self.results = Results(given.out)
        star = BY_NAME["star"]
        if given.products != "float32":
            star = replace(star, settings={**star.settings, "products": given.products})
        self.contestants = [star, *(BY_NAME[name] for name in given.peers)]
        self.failed: set[tuple[str, str]] = set()
        self.warm: set[tuple[str, bool]] = set()

    def run(self) -> None:
        self.results.data["machine"] = works.machine()
        self.results.data["sizes"] = asdict(self.sizes)
        self.results.data["repeats"] = self.given.repeats
        for part in self.given.parts:
            work = works.build(
                part, self.sizes, self.place.model(part.startswith("tiny-")), self.given.data
            )
            facts = {**works.facts(work), "digest": works.digest(work["phases"])}
            self.results.data["work"][part] = facts
            self.results.save()
            self.part(part, work)
        print(self.results.out / "table.md")

    def part(self, part: str, work: dict[str, Any]) -> None:
        reference = self.reference(work) if "generation" in work["phases"] else None
        ready = []
        for contestant in self.contestants:
            if why := self.unavailable(contestant, part):
                self.results.add("skipped", _entry(part, contestant, why=why))
            elif (settings := self.settings(contestant, part, work)) is not None:
                ready.append((contestant, settings))
        for repeat in range(self.given.repeats):
            for contestant, settings in ready:
                if not (contestant.slow and repeat >= self.given.slow_repeats):
                    self.measure(contestant, {**work, "settings": settings}, repeat, reference)

    def unavailable(self, contestant: Contestant, part: str) -> str:
        """Why a contestant is not run on a part; slow ones' iterations are summed, not run."""
        if contestant.slow and part.endswith("iteration") and "training" in contestant.parts:
            return "it is summed from generation and training, one of which is not measured"
        return peers.unavailable(contestant, part)

    def measure(
        self, contestant: Contestant, work: dict[str, Any], repeat: int, reference: Any
    ) -> None:
        part = work["part"]
        what: list[Any] = [part, contestant.name, repeat, work["settings"], work["phases"]]
        what += [work["slow"]] if contestant.slow else []
        what += [peers.code()] if contestant.name == "star" else []
        key = works.digest(what)
        if self.results.find("measurements", key) or (part, contestant.name) in self.failed:
            return
        print(f"{part} {repeat + 1}/{self.given.repeats} {contestant.name}", flush=True)
        entry = _entry(part, contestant, repeat=repeat, key=key, slow=contestant.slow)
        entry["work"] = self.results.data["work"][part]["digest"]
        try:
            result = self.place.run(
                contestant.script, contestant.environment, work, self.given.timeout
            )
        except (BenchmarkError, OSError) as error:
            self.failed.add((part, contestant.name))
            self.results.add("measurements", {**entry, "error": str(error)})
            print(f"  failed: {error}", flush=True)
            return
        raw = self.given.out / "raw" / f"{part}-{contestant.name}-{repeat + 1}.json"
        _write(raw, result)
        if contestant.name == "star":
            result["versions"]["star-mlx"] += f" (code {peers.code()})"
        for name, figures in result["phases"].items():
            completions = figures.pop("completions", None)
            if completions is not None:
                figures["sha256"] = works.digest(completions)
            if completions is not None and name == "generation" and reference:
                figures["agreement"] = works.agreement(completions, reference)
        self.results.add("measurements", {**entry, **result})
        print(f"  {result['seconds']:.1f} s", flush=True)

    def settings(
        self, contestant: Contestant, part: str, work: dict[str, Any]
    ) -> dict[str, Any] | None:
        """A contestant's settings, the quickest of its axes where it has any; None if it fails."""
        tiny = part.startswith("tiny-")
        if contestant.like:
            found = self.settings(BY_NAME[contestant.like], part, work)
            kept = {k: v for k, v in (found or {}).items() if k in ("batch_size", "threads")}
            return {**contestant.settings, **kept}
        axes = contestant.tiny_axes if tiny else contestant.axes
        best = {**contestant.settings, **(contestant.tiny_settings if tiny else {})}
        if not axes or self.given.no_trials:
            return best
        if "generation" not in work["phases"]:
            name = "tiny-generation" if tiny else "generation"
            work = works.build(name, self.sizes, self.place.model(tiny), self.given.data)
        most = max(axes.get("batch_size", axes.get("rows", [64])))
        trial = works.shrink(work, most, TRIAL_TOKENS)
        for axis, values in axes.items():
            scores = [self.trial(contestant, trial, {**best, axis: value}) for value in values]
            if min(scores) == float("inf"):
                return best  # its measurement will say why
            best[axis] = values[scores.index(min(scores))]
        return best

    def trial(
        self, contestant: Contestant, work: dict[str, Any], settings: dict[str, Any]
    ) -> float:
        """Seconds that settings promise; see ``foreseen``."""
        tiny = work["part"].startswith("tiny-")
        work = {**work, "part": "tiny-generation" if tiny else "generation", "settings": settings}
        key = works.digest([contestant.name, work])
        known = self.results.find("trials", key)
        if known is None:
            print(f"trying {contestant.name} {settings}", flush=True)
            known = _entry(work["part"], contestant, key=key, settings=settings)
            try:
                if (contestant.name, tiny) not in self.warm:  # files read, caches filled
                    self.warm.add((contestant.name, tiny))
                    short = {**works.shrink(work, 1, 2), "settings": settings}
                    self.place.run(
                        contestant.script, contestant.environment, short, self.given.timeout
                    )
                result = self.place.run(
                    contestant.script, contestant.environment, work, self.given.timeout
                )
                known["seconds"] = foreseen(work, result["phases"]["generation"], self.sizes)
            except (BenchmarkError, OSError) as error:
                known["error"] = str(error)
            self.results.add("trials", known)
        return float(known.get("seconds", "inf"))

    def reference(self, work: dict[str, Any]) -> list[list[int]] | None:
        """The reference's completions of the first problems; made once, kept beside the results."""
        tiny = work["part"].startswith("tiny-")
        n = self.given.reference_problems
        trimmed = works.shrink(work, n, work["phases"]["generation"]["max_tokens"])
        key = works.digest([trimmed["phases"], n])
        path = (
            self.given.out / "raw" / f"reference-{'tiny' if tiny else self.place.name}-{key}.json"
        )
        if n and not path.is_file():
            print(f"reference of {work['part']}", flush=True)
            trimmed["settings"] = {"problems": n}
            try:
                _write(path, self.place.run("reference.py", "", trimmed, self.given.timeout))
            except (BenchmarkError, OSError) as error:
                print(f"  failed: {error}; agreement is not reported", flush=True)
                return None
        if not n:
            return None
        found = json.loads(path.read_text("utf-8"))["phases"]["generation"]["completions"]
        return [list(ids) for ids in found]


def foreseen(work: Mapping[str, Any], phase: Mapping[str, float], sizes: Sizes) -> float:
    """Seconds of a trial's problems at full length: reading as measured, and the median step."""
    rows = work["settings"].get("rows") or work["settings"]["batch_size"]
    batches = -(-len(work["phases"]["generation"]["ids"]) // rows)
    most = works.TINY_TOKENS if work["part"].startswith("tiny-") else sizes.max_tokens
    return phase["prompt_seconds"] + phase["step_seconds"] * batches * most


def _entry(part: str, contestant: Contestant, **more: Any) -> dict[str, Any]:
    key = works.digest([part, contestant.name])
    return {"key": key, "part": part, "contestant": contestant.name, **more}


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), "utf-8")


class _Parser(argparse.ArgumentParser):
    """One line for a wrong argument."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _count(text: str) -> int:
    value = int(text) if text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return value


def _any_count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 up")
    return int(text)


def parser() -> argparse.ArgumentParser:
    made = _Parser(prog="benchmarks/run.py", description=(__doc__ or "").split("\n\n")[0])
    made.add_argument("what", nargs="?", choices=["run", "table"], default="run")
    made.add_argument("--parts", nargs="+", metavar="PART", default=[*PHASES, "tiny"],
                      help=f"of {', '.join([*PHASES, 'tiny'])}, tiny-generation, ...")  # fmt: skip
    made.add_argument("--peers", nargs="*", metavar="NAME", default=list(BY_NAME)[1:],
                      help=f"of {', '.join(list(BY_NAME)[1:])}; nothing: star alone")  # fmt: skip
    for name in fields(Sizes):
        flag = "--" + name.name.replace("_", "-")
        made.add_argument(flag, type=_count, default=name.default, metavar="N")
    made.add_argument("--repeats", type=_count, default=3)
    made.add_argument("--slow-repeats", type=_count, default=1)
    made.add_argument("--reference-problems", type=_any_count, default=64, metavar="N",
                      help="completions to compare with the reference; 0: none")  # fmt: skip
    made.add_argument("--data", type=Path, metavar="DIR", help="GSM8K's train.jsonl, test.jsonl")
    made.add_argument("--gguf", type=Path, metavar="FILE",
                      help="another model than SmolLM2-135M-Instruct")  # fmt: skip
    made.add_argument("--model", type=Path, metavar="FOLDER",
                      help="what import-gguf makes of it; made if not given")  # fmt: skip
    made.add_argument("--out", type=Path, metavar="DIR", default=Path("runs/benchmark"))
    made.add_argument("--work", type=Path, metavar="DIR", default=Path("runs/benchmark-work"),
                      help="environments, downloads, converted models")  # fmt: skip
    made.add_argument("--products", choices=["float32", "bfloat16"], default="float32",
                      help="star-mlx's model.products")  # fmt: skip
    made.add_argument("--timeout", type=_count, default=7200, metavar="SECONDS")
    made.add_argument("--no-trials", action="store_true", help="do not try out settings first")
    return made


def _checked(given: argparse.Namespace) -> argparse.Namespace:
    parts: list[str] = []
    for part in given.parts:
        if part != "tiny" and part not in PARTS:
            raise BenchmarkError(f"--parts {part}: there are {', '.join([*PHASES, 'tiny'])}")
        parts += [f"tiny-{name}" for name in PHASES] if part == "tiny" else [part]
    given.parts = list(dict.fromkeys(parts))
    given.peers = [name for name in dict.fromkeys(given.peers) if name != "star"]
    if unknown := [name for name in given.peers if name not in BY_NAME]:
        raise BenchmarkError(f"--peers {unknown[0]}: there are {', '.join(list(BY_NAME)[1:])}")
    if given.data and (given.data / "gsm8k").is_dir():
        given.data = given.data / "gsm8k"
    given.work, given.out = given.work.resolve(), given.out.resolve()
    given.model = given.model and given.model.resolve()
    given.gguf = given.gguf and given.gguf.resolve()
    if given.gguf and not given.gguf.is_file():
        raise BenchmarkError(f"--gguf {given.gguf} is not a file")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    try:
        given = _checked(given)
        if given.what == "table":
            results = Results(given.out)
            if not results.path.is_file():
                raise BenchmarkError(f"{results.path} is not there: run the benchmark first")
            results.save()
            print(results.out / "table.md")
        else:
            sizes = Sizes(**{f.name: getattr(given, f.name) for f in fields(Sizes)})
            Bench(given, sizes).run()
    except BenchmarkError as error:
        print(f"benchmarks/run.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
