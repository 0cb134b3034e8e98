"""How fast star-mlx is on this machine's GPU or CPU, beside mlx-lm: five minutes, one command.

    python benchmarks/metal.py [--model OWNER/NAME] [--out DIR]

The embedded base and a model of the Hub (``--model none`` leaves it out) decode and train in every
way that the engine has for it, so that the figures show which is the right one on this device:

- the few-shot prompt kept once for all rows, or copied into every row;
- an adapter beside the weights, or folded into (on a GPU dequantized) copies of them;
- the steps of decoding in the order for a GPU, or for a CPU;
- training with steps that mlx compiles, as the engine has them on a GPU, or without;
- and mlx-lm itself: ``batch_generate``, and the trainer of ``mlx_lm.lora``.

Completions are greedy, without a stop but the end token; the rows that are trained on are of mixed
lengths and mean nothing. Writes ``metal.json`` and ``metal.md``, and prints the latter: please send
both (docs/performance.md says where).
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent / "contestants"))

from star_mlx.engine import blas

blas.load()  # before mlx is imported

import mlx.core as mx  # noqa: E402
from common import versions  # noqa: E402

from star_mlx.engine import batch, device, machine, optimizer_step, resolve  # noqa: E402
from star_mlx.engine.load import Base, load  # noqa: E402
from star_mlx.engine.mlx_engine import MlxEngine  # noqa: E402
from star_mlx.errors import StarError  # noqa: E402
from star_mlx.recipe import asking, loading, opening  # noqa: E402
from star_mlx.settings import Train  # noqa: E402
from star_mlx.types import Amount, Decoding, Example, Step  # noqa: E402

HUB = "mlx-community/Qwen2.5-0.5B-Instruct-4bit"
PACKAGES = ("star-mlx", "mlx", "mlx-metal", "mlx-cuda-13", "mlx-cuda-12", "mlx-cpu", "mlx-lm")
Figures = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The work: prompts, new tokens of each, training steps and their rows, and repetitions."""

    prompts: int = 64
    tokens: int = 96
    steps: int = 6
    rows: int = 16
    longest: int = 256
    repeats: int = 2
    seconds: float = 300  # after which nothing new is begun


SMALL = Sizes(prompts=4, tokens=4, steps=2, rows=2, longest=64, repeats=1)


class Work:
    """Prompts and training rows for a model, the same for every way of computing."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        recipe = loading.load(None, task="arithmetic")
        task, prompts = opening.open_task(recipe)
        how = asking.generating(recipe, prompts, few_shot=True)
        self.prefix, self.prompts = how.batch(task.problems("train")[: sizes.prompts])
        self.lora = Train(batch_size=sizes.rows, max_length=sizes.longest, warmup=0)

    def examples(self, engine: MlxEngine) -> list[Example]:
        """Rows of mixed lengths, a quarter to the whole of the longest."""
        ids = engine.encode(self.prefix * 8)
        most = self.sizes.longest - len(engine.encode(self.prompts[0])) - 2
        lengths = [most * (4 + 12 * i // 7 % 13) // 16 for i in range(self._rows)]
        return [
            Example(str(i), self.prompts[0], "", "given", tuple(ids[:length]), 1)
            for i, length in enumerate(lengths)
        ]

    @property
    def _rows(self) -> int:
        return self.sizes.rows * self.sizes.steps


def generation(engine: MlxEngine, work: Work, adapter: Path | None = None) -> Figures:
    """Decode all prompts: seconds, and the tokens of all completions."""
    size = work.sizes
    start = time.perf_counter()
    made = engine.generate(
        work.prompts,
        Decoding(size.tokens, (), batch_size=size.prompts),
        prefix=work.prefix,
        adapter=adapter,
        seeds=[0] * len(work.prompts),
        progress=lambda done, tokens: None,
    )
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "tokens": sum(len(c.token_ids) for c in made)}


def training(engine: MlxEngine, work: Work, out: Path) -> Figures:
    """Train for a few steps; the first, which may compile, is not counted."""
    times: list[tuple[float, int, float]] = []

    def progress(step: Step) -> None:
        times.append((time.perf_counter(), step.tokens, step.loss))

    amount = Amount(steps=work.sizes.steps)
    engine.train(work.examples(engine), work.lora, amount, seed=0, out=out, progress=progress)
    (first, seen, loss), (last, tokens, _) = times[0], times[-1]
    return {"seconds": last - first, "tokens": tokens - seen, "first_loss": loss}


def stock_generation(base: Base, work: Work, engine: MlxEngine) -> Callable[[], Figures]:
    """mlx-lm's ``batch_generate`` on the same prompts."""
    from mlx_lm import load as load_model
    from stock_mlx_lm import batched

    model, tokenizer = load_model(str(base.found.folder))
    prompts = [engine.encode(work.prefix + prompt) for prompt in work.prompts]

    def run() -> Figures:
        found = batched(model, tokenizer, prompts, work.sizes.tokens)
        seconds = found["prompt_seconds"] + found["decode_seconds"]
        return {"seconds": seconds, "tokens": found["decode_tokens"]}

    return run


def stock_training(base: Base, work: Work, engine: MlxEngine) -> Callable[[], Figures]:
    """The trainer of ``mlx_lm.lora`` on the same rows; its first step is not counted either."""
    from mlx_lm import load as load_model
    from stock_mlx_lm import training as train

    prompt = engine.encode(work.prompts[0])
    rows = [
        {"ids": [*prompt, *e.token_ids, base.tokenizer.eos_token_id], "start": len(prompt)}
        for e in work.examples(engine)
    ]
    slow = {"rows": work.sizes.rows, "steps": work.sizes.steps, "row_tokens": work.sizes.longest}

    def run() -> Figures:
        model, _ = load_model(str(base.found.folder))
        found = train(model, {"rows": rows, "lora": work.lora.model_dump()}, slow)
        return {**found["measured"], "first_loss": found["losses"][0]}

    return run


@contextlib.contextmanager
def compiling(wanted: bool) -> Iterator[None]:
    """Inside the block, training steps are compiled, or not. On a CPU the engine never does so."""
    if not os.environ.get("MLX_DISABLE_COMPILE"):
        (mx.enable_compile if wanted else mx.disable_compile)()
    try:
        with mock.patch.object(optimizer_step, "compiled", lambda: wanted or not device.on_cpu()):
            yield
    finally:  # as the engine has it
        if device.on_cpu():
            mx.disable_compile()
        elif not os.environ.get("MLX_DISABLE_COMPILE"):
            mx.enable_compile()


Way = tuple[str, str, Callable[[], Figures], Callable[[], Any]]


def ways(base: Base, work: Work, out: Path) -> Iterator[Way]:
    """Everything that is measured on a model: part, name, what runs, and in which context."""
    bound = device.bound(None)
    plain = contextlib.nullcontext
    engine = MlxEngine(base, bound)
    adapter = out / "adapter"

    def train() -> Figures:
        return training(engine, work, adapter)

    def taught() -> Figures:
        return generation(engine, work, adapter)

    yield "decoding", "as it is", lambda: generation(engine, work), plain
    if base.form.unshared:
        yield "decoding", f"prefix shared: not possible, {base.form.unshared}", dict, plain
    else:
        form = dataclasses.replace(base.form, unshared="to compare", copied=True)
        copying = MlxEngine(dataclasses.replace(base, form=form), bound)
        yield "decoding", "prefix copied", lambda: generation(copying, work), plain
    for name, cpu in (("in the order for a GPU", False), ("in the order for a CPU", True)):
        order = _patched(batch, "on_cpu", lambda cpu=cpu: cpu)
        yield "decoding", f"steps {name}", lambda: generation(engine, work), order
    yield "decoding", "mlx_lm.batch_generate", stock_generation(base, work, engine), plain
    yield "training", "as it is", train, plain
    for name, wanted in (("compiled", True), ("not compiled", False)):
        yield "training", name, train, lambda wanted=wanted: compiling(wanted)
    yield "training", "mlx_lm.lora", stock_training(base, work, engine), plain
    for name, fold in (("beside the weights", False), ("folded into them", True)):
        place = _patched(engine._switch, "_fold", lambda size, fold=fold: fold)
        yield "with an adapter", name, taught, place
        engine.generate(["1"], Decoding(1, ()), prefix="", adapter=None, seeds=[0],
                        progress=lambda *_: None)  # fmt: skip  # takes the adapter off


def _patched(owner: Any, name: str, value: Any) -> Callable[[], Any]:
    return lambda: mock.patch.object(owner, name, value)


def measure(way: Way, model: str, sizes: Sizes, until: float) -> Figures:
    """One line of the results."""
    part, name, run, context = way
    line: Figures = {"model": model, "part": part, "way": name}
    if run is dict:
        return line
    if time.perf_counter() > until:
        return {**line, "left_out": "no time was left"}
    mx.clear_cache()
    mx.reset_peak_memory()
    made = []
    with context():
        for _ in range(1 + sizes.repeats):  # the first warms up, and is counted if it is alone
            made.append(run())
            if time.perf_counter() > until:
                break
    counted = made[1:] or made
    rates = sorted(m["tokens"] / m["seconds"] for m in counted)
    best = max(counted, key=lambda m: m["tokens"] / m["seconds"])
    peak = mx.get_peak_memory()
    return {**line, **best, "tokens_per_second": rates, "peak_bytes": peak}


def about() -> Figures:
    """The machine, and the versions of what runs on it."""
    info = mx.device_info()
    return {
        "device": str(info.get("device_name") or info.get("architecture", "unknown")),
        "kind": "cpu" if device.on_cpu() else "gpu",
        "memory_bytes": int(info.get("memory_size", 0)) or device.physical(),
        "system": f"macOS {platform.mac_ver()[0]}" if sys.platform == "darwin" else "Linux",
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": versions(PACKAGES),
        "state": {check.name: check.value for check in machine.checks()},
        "date": time.strftime("%Y-%m-%d"),
    }


def table(results: Figures) -> str:
    """The results as Markdown."""
    at, packages = results["about"], results["about"]["versions"]
    gib = at["memory_bytes"] / (1 << 30)
    named = ", ".join(f"{name} {number}" for name, number in packages.items())
    lines = [
        f"{at['device']} ({at['kind']}, {gib:.0f} GiB), {at['system']}, Python {at['python']}, "
        f"{named}; {at['date']}.",
        "",
        "| model | part | way | tokens/s (least-greatest) | peak, GiB |",
        "|---|---|---|---|---|",
    ]
    for line in results["measurements"]:
        head = f"| {line['model']} | {line['part']} | {line['way']} |"
        if rates := line.get("tokens_per_second"):
            peak = line["peak_bytes"] / (1 << 30)
            lines.append(f"{head} {rates[0]:,.0f}-{rates[-1]:,.0f} | {peak:.2f} |")
        else:
            lines.append(f"{head} {line.get('error') or line.get('left_out', '')} | |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--model", default=HUB, help="a model beside the embedded one, or none")
    parser.add_argument("--out", type=Path, default=Path("runs/metal"))
    parser.add_argument(
        "--small", action="store_true", help="seconds instead of minutes: no result"
    )
    given = parser.parse_args(arguments)
    sizes = SMALL if given.small else Sizes()
    given.out.mkdir(parents=True, exist_ok=True)
    lines: list[Figures] = []
    device.restrict(device.bound(None))
    models = ["tiny"] + [given.model] * (given.model != "none")
    with contextlib.suppress(StarError):  # said below
        resolve.find(models[-1])  # a download does not count
    until = time.perf_counter() + sizes.seconds
    for model in models:
        try:
            base = load(resolve.find(model))
            for way in ways(base, Work(sizes), given.out):
                lines.append(measure(way, model, sizes, until))
                print(f"{model}: {way[0]}, {way[1]}", file=sys.stderr)
        except (StarError, RuntimeError, ValueError) as error:
            lines.append(
                {"model": model, "part": "", "way": "", "error": " ".join(str(error).split())}
            )
        base = None
        gc.collect()
    results = {"about": about(), "sizes": dataclasses.asdict(sizes), "measurements": lines}
    (given.out / "metal.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (given.out / "metal.md").write_text(table(results), encoding="utf-8")
    print(table(results), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
