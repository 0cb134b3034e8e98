"""The formula of docs/scaling.md: checked against this machine, and its tables.

    python benchmarks/scaling.py check [--model tiny --model FOLDER ...] [--quick] [--out FILE]
    python benchmarks/scaling.py tables | devices

``check`` generates and trains a little with each model, in processor seconds, and compares that
with the formula: as computed from the rates of products and of memory just before, and corrected by
the first measurement of its kind with the model, which is what ``star-mlx plan --measure`` does.
Processor seconds are those of a machine with one processor, so bind it to one, and let nothing else
run there:

    OPENBLAS_NUM_THREADS=1 taskset -c 1 python benchmarks/scaling.py check --model tiny

``tables`` computes the tables of docs/scaling.md, of which nothing is measured; ``devices`` lists
the figures that they are computed from.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from star_mlx import engine as engines
from star_mlx.engine.batches import CPU_BUDGET
from star_mlx.errors import ModelError
from star_mlx.formatting import count, duration
from star_mlx.recipe import asking, loading, opening
from star_mlx.run import at_hand, passes, plan, timing
from star_mlx.scaling import formula, hardware, iteration, sizes, workload
from star_mlx.scaling.formula import CompletionSizes, RowSizes
from star_mlx.scaling.hardware import GIB, Hardware
from star_mlx.star import sample
from star_mlx.types import Amount

# --------------------------------------------------------------------------- check


class Point(NamedTuple):
    """A piece of work: problems to answer, or steps to train; rows at once, or of a step."""

    what: str
    number: int
    rows: int
    tokens: int = 0  # of a completion, at most


QUICK = (
    Point("generation", 16, 16, 40),
    Point("generation", 12, 4, 24),
    Point("training", 2, 4),
    Point("training", 2, 8),
)
POINTS = (
    *(Point("generation", 48, rows, 96) for rows in (32, 16, 4)),
    *(Point("training", 4, rows) for rows in (8, 4, 16)),
)


@dataclass(frozen=True)
class Measured:
    """A point as it came out, and as the formula has it: processor seconds."""

    model: str
    point: Point
    gflops: float  # of products
    gigabytes: float  # per second, of memory
    tokens: int  # generated, or trained on
    seconds: float
    computed: float
    corrected: float | None = None


def machine() -> Hardware:
    """One processor of this machine, with its products and its memory as they are measured."""
    from star_mlx.engine import blas

    blas.use_threads(1)  # loads it before mlx
    import mlx.core as mx

    def least(work: Any) -> float:
        taken = []
        for _ in range(5):
            started = time.process_time()
            mx.eval(work())
            taken.append(time.process_time() - started)
        return min(taken)

    n, long = 1024, 64 << 20
    a, b = mx.random.normal((n, n)), mx.random.normal((n, n))
    memory, vector = mx.random.normal((long // 4096, 4096)), mx.random.normal((4096, 1))
    mx.eval(a, b, memory, vector)
    here = hardware.here()
    return replace(
        here,
        flops=2 * n**3 / least(lambda: a @ b),
        bandwidth=4 * long / least(lambda: memory @ vector),
        processors=1,
    )


class Bench:
    """A model that is open, and how its work is measured and computed.

    ``on`` is this machine as it was just before the work: on a shared one that changes.
    """

    def __init__(self, model: str) -> None:
        self.sized = sizes.of_model(model)
        self.recipe = loading.load(None, task="arithmetic", model=model)
        self.at = at_hand.gather(self.recipe)
        self.engine = engines.open_base(self.recipe)
        self.prompts = opening.in_template(self.recipe, self.at.prompts, self.engine)
        self.problems = sample(self.at.problems or (), self.recipe.star, 0, 1)
        self.few_shot = plan.lengths(self.at).few_shot
        self.on = machine()
        work = workload.workload(self.at, 1)
        self.model, _ = iteration.on_device(self.recipe, work, self.sized, self.on)

    def measure(self, point: Point) -> Measured:
        """Do a piece of work."""
        self.on = machine()
        work = self.generation if point.what == "generation" else self.training
        tokens, seconds, computed = work(point)
        rates = self.on.flops / 1e9, self.on.bandwidth / 1e9
        return Measured(self.sized.name, point, *rates, tokens, seconds, computed)

    def generation(self, point: Point) -> tuple[int, float, float]:
        """Tokens generated, and seconds: measured and computed."""
        some = self.problems[: point.number]
        how = asking.generating(self.recipe, self.prompts, few_shot=True)
        decoding = replace(how.decoding, max_tokens=point.tokens, batch_size=point.rows)
        how = replace(how, decoding=decoding)
        passes.attempts(self.engine, None, how, some[:1], seeds=[0])  # reads the few-shot prompt
        started = time.process_time()
        made = passes.attempts(self.engine, None, how, some, seeds=list(range(len(some))))
        seconds = time.process_time() - started
        tokens = sum(len(one.token_ids) for one in made)
        asked = self.at.count([self.at.task.ask(problem.question) for problem in some])
        lengths = CompletionSizes(
            self.few_shot, round(sum(asked) / len(asked)), tokens / len(made), point.tokens,
            len(made), min(point.rows, len(made)),
        )  # fmt: skip
        made_up = formula.chunk(lengths, len(made), self.model, self.on, adapted=False)
        return tokens, seconds, made_up.seconds

    def training(self, point: Point) -> tuple[int, float, float]:
        """Tokens trained on, and seconds: measured and computed."""
        train = self.recipe.train.model_copy(update={"batch_size": point.rows})
        rows = timing.examples(self.at, self.engine, self.problems[: point.number * point.rows])
        stamps: list[float] = []
        with tempfile.TemporaryDirectory(prefix="star-mlx-scaling-") as out:
            self.engine.train(
                rows, train, Amount(steps=point.number + 1), seed=0, out=Path(out),
                progress=lambda _: stamps.append(time.process_time()),
            )  # fmt: skip
        own = sum(len(row.token_ids) + 1 for row in rows)
        tokens = own + sum(len(self.engine.encode(row.prompt)) for row in rows)
        sizes_ = RowSizes(tokens / len(rows), own / len(rows), point.rows, CPU_BUDGET)
        each = formula.step(sizes_, train, self.model, self.on, point.rows)
        # The first step also prepares the others.
        return tokens, stamps[-1] - stamps[0], point.number * each


def check(model: str, points: tuple[Point, ...]) -> Iterator[Measured]:
    """Measure the points with a model; the first of each kind corrects the others."""
    bench, first = Bench(model), {}
    for point in points:
        found = bench.measure(point)
        if factor := first.get(point.what):
            found = replace(found, corrected=found.computed * factor)
        else:
            first[point.what] = found.seconds / found.computed
        yield found


def as_table(found: list[Measured]) -> str:
    """The measurements in Markdown."""
    lines = [
        "| model | work | GFLOP/s, GB/s | tokens | measured, s | computed | corrected |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found:
        what = f"{one.point.what}: {one.point.number} {unit(one.point)}"
        fixed = "" if one.corrected is None else ratio(one.corrected, one.seconds)
        lines.append(
            f"| {Path(one.model).name} | {what} | {one.gflops:.0f}, {one.gigabytes:.1f} | "
            f"{one.tokens:,} | {one.seconds:.2f} | {ratio(one.computed, one.seconds)} | {fixed} |"
        )
    return "\n".join(lines)


def unit(point: Point) -> str:
    """The unit of a point's number, and its rows."""
    if point.what == "training":
        return f"steps of {point.rows}"
    return f"completions, {point.rows} at once"


def ratio(computed: float, measured: float) -> str:
    """A computed time, and as a share of the measured one."""
    return f"{computed:.2f} ({computed / measured:.2f})"


# --------------------------------------------------------------------------- tables

MODELS = ("135M", "500M", "1.5B", "3B", "7B", "14B", "32B", "70B")
PROBLEMS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
PLACES = (
    ("One laptop: `m4-pro:24`", "m4-pro:24"),
    ("Four Macs: `4xm4-max:64`", "4xm4-max:64"),
    ("One server with 8 GPUs: `8xh100`", "8xh100"),
)
# One epoch of gsm8k in batches of 64, with lengths as SmolLM2's tokenizer has them in 3,000 rows of
# the training file, and 8 examples in front; half of the problems fail and half of those are kept.
RECIPE = ("train.batch_size=64", "star.schedule={kind: epochs, base: 1}",
          "generate.batch_size=auto", "generate.chunk=auto", "generate.max_tokens=256")  # fmt: skip
FEW_SHOT, PROMPT, COMPLETION, LONGEST, DEV = 800, 60, 122, 194, 200


def gsm8k(problems: int) -> workload.Workload:
    """The work of an iteration of so many problems like GSM8K's."""
    hinted = problems // 2
    rows = problems - hinted + hinted // 2
    row = PROMPT + COMPLETION + 1
    return workload.Workload(
        iteration=1, problems=problems, attempts=problems, hinted=hinted, rows=rows,
        steps=-(-rows // 64), dev=DEV, few_shot=FEW_SHOT, prompt=PROMPT, longest=LONGEST,
        completion=COMPLETION, row=row, longest_row=LONGEST + 256 + 1,
        attempt_bytes=8 * COMPLETION + 300, example_bytes=12 * COMPLETION + 500,
    )  # fmt: skip


def computed(model: str, problems: int, place: str) -> tuple[iteration.Forecast, bool] | str:
    """An iteration, and whether it needs gradient checkpointing; or why it is impossible."""
    why = ""
    for checkpoint in (False, True):
        more = f"train.checkpoint={str(checkpoint).lower()}"
        recipe = loading.load("gsm8k", overrides=[*RECIPE, more])
        try:
            found = iteration.forecast(
                recipe, gsm8k(problems), sizes.of_size(model, 4), hardware.machines(place)
            )
        except ModelError as error:
            why = str(error)
        else:
            return found, checkpoint
    return why


def tables() -> str:
    """The tables of docs/scaling.md."""
    return "\n\n".join(_table(title, place) for title, place in PLACES)


def _table(title: str, place: str) -> str:
    heads = " | ".join(count(n).replace(".0", "") for n in PROBLEMS)
    lines = [
        f"**{title}** (computed, not measured)", "",
        f"| model | {heads} | memory | adapter | a machine sends |",
        f"|---|{'---|' * (len(PROBLEMS) + 3)}",
    ]  # fmt: skip
    for model in MODELS:
        made = [computed(model, problems, place) for problems in PROBLEMS]
        fine = [one for one in made if not isinstance(one, str)]
        if len(fine) < len(made):
            lines.append(f"| {model} |{' does not fit |' * len(PROBLEMS)} | | |")
            continue
        times = " | ".join(rounded(one.seconds) for one, _ in fine)
        first, marked = fine[0][0], "*" if fine[0][1] else ""
        sent = f"{first.sent / 1e9:.2g} GB" if first.sent else ""
        memory = f"{first.memory / 1e9:.2g} GB{marked}"
        lines.append(f"| {model} | {times} | {memory} | {first.adapter / 1e6:.0f} MB | {sent} |")
    return "\n".join(lines)


def devices() -> str:
    """The table of devices, and that of the shares of their peaks."""
    lines = [
        "| device | TFLOP/s | GB/s | memory | link, GB/s |",
        "|---|---|---|---|---|",
    ]
    for one in hardware.TABLE.values():
        gpu = f", {one.words.split(', ')[1]}" if ", " in one.words else ""
        lines.append(
            f"| `{one.name}`{gpu} | {one.flops / 1e12:.4g} | {one.bandwidth / 1e9:.4g} | "
            f"{one.memory / GIB:.3g} GiB | {one.link / 1e9:.3g} |"
        )
    lines += [
        "",
        "| | FLOP/s: reading, decoding, training | bytes/s | step | layer | token | training |",
        "|---|---|---|---|---|---|---|",
    ]
    titles = {"metal": "Metal", "cuda": "CUDA", "cpu": "CPU"}
    for kind, share in hardware.SHARES.items():
        lines.append(
            f"| {titles[kind]} | {share.reading:g}, {share.decoding:g}, {share.training:g} | "
            f"{share.bandwidth:g} | {1e3 * share.step:g} ms | {1e6 * share.layer:g} us | "
            f"{1e6 * share.token:g} us | {share.back:g} steps |"
        )
    return "\n".join(lines)


def rounded(seconds: float) -> str:
    """A time in about two digits."""
    for size, unit_ in ((86400 * 365, "years"), (86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return (
                f"{seconds / size:.2g} {unit_}"
                if seconds < 100 * size
                else (f"{seconds / size:.0f} {unit_}")
            )
    return duration(seconds)


# --------------------------------------------------------------------------- command line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("what", choices=("check", "tables", "devices"))
    parser.add_argument("--model", action="append", metavar="FOLDER", help="tiny, or a folder")
    parser.add_argument("--quick", action="store_true", help="a few problems, in half a minute")
    parser.add_argument("--out", type=Path, help="a JSON file for the measurements")
    given = parser.parse_args()
    if given.what != "check":
        print(tables() if given.what == "tables" else devices())
        return
    points = QUICK if given.quick else POINTS
    found = [one for model in given.model or ["tiny"] for one in check(model, points)]
    print(as_table(found))
    if given.out:
        values = [one.__dict__ | {"point": one.point._asdict()} for one in found]
        given.out.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
