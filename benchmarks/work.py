"""What every contestant is given, and the arithmetic of what it gives back.

A work file is JSON: the model's folders, the phases to run, and for each phase token ids and text
that are the same for everybody. Nothing here imports mlx.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from star_mlx import prompts
from star_mlx.errors import StarError
from star_mlx.recipe import loading, shipped
from star_mlx.tasks.arithmetic import Arithmetic
from star_mlx.tasks.gsm8k import Gsm8k, Gsm8kOptions
from star_mlx.types import Problem, Task

HERE = Path(__file__).resolve().parent
PHASES = {
    "generation": ["generation"],
    "training": ["training"],
    "iteration": ["generation", "hinted", "training"],
}
TINY_TOKENS = 160  # of the recipe, for one sum
PARTS = (*PHASES, *(f"tiny-{name}" for name in PHASES))
GSM8K_STOP = ("\n\nQ:",)  # where the next problem would begin
GSM8K_LORA = {
    "rank": 8, "scale": 2.0, "dropout": 0.0, "layers": -1, "keys": None, "learning_rate": 1e-4,
    "warmup": 0, "decay": "none", "batch_size": 8, "max_length": 1024, "grad_clip": 1.0,
    "weight_decay": 0.0,
}  # fmt: skip


class BenchmarkError(Exception):
    """What the user can mend: one clear line."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is run. ``slow_*`` is what is run of a contestant whose figure is then scaled."""

    problems: int = 64
    max_tokens: int = 160
    examples: int = 64
    tiny_problems: int = 2000
    slow_problems: int = 8
    slow_prompt_tokens: int = 64
    slow_tokens: int = 8
    slow_rows: int = 4
    slow_row_tokens: int = 64
    slow_tiny_problems: int = 64


def build(part: str, sizes: Sizes, model: Path, data: Path | None) -> dict[str, Any]:
    """The work of a part: its phases, with the same token ids for everybody.

    Args:
        part: one of ``PARTS``.
        model: folder with the tokenizer.json and config.json of the part's model.
        data: folder with GSM8K's train.jsonl and test.jsonl; not needed for tiny.

    Raises:
        BenchmarkError: the data or the tokenizer is not there, or holds too few problems.
    """
    tiny = part.startswith("tiny-")
    try:
        tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        config = json.loads((model / "config.json").read_text("utf-8"))
    except Exception as error:  # tokenizers raises Exception itself
        raise BenchmarkError(f"{model} is no model's folder: {error}") from None
    try:
        source = _tiny(sizes) if tiny else _gsm8k(sizes, data)
    except StarError as error:
        raise BenchmarkError(str(error)) from None
    work: dict[str, Any] = {"part": part, "eos": config["eos_token_id"], "phases": {}}
    for phase in PHASES[part.removeprefix("tiny-")]:
        if phase == "training":
            work["phases"][phase] = _training(source, tokenizer, work["eos"])
        else:
            work["phases"][phase] = _generation(source, tokenizer, hinted=phase == "hinted")
    work["slow"] = {
        "problems": sizes.slow_tiny_problems if tiny else sizes.slow_problems,
        "prompt_tokens": 1 << 20 if tiny else sizes.slow_prompt_tokens,
        "max_tokens": source.max_tokens if tiny else sizes.slow_tokens,
        "row_tokens": 1 << 20 if tiny else sizes.slow_row_tokens,
        "rows": source.lora["batch_size"] if tiny else sizes.slow_rows,
        "steps": 3 if tiny else 2,  # the first one is not counted
    }
    return work


@dataclass(frozen=True, slots=True)
class _Source:
    prompts: prompts.Prompts
    asked: Sequence[Problem]
    taught: Sequence[Problem]
    stop: tuple[str, ...]
    max_tokens: int
    lora: dict[str, Any]


def _gsm8k(sizes: Sizes, data: Path | None) -> _Source:
    if data is None or not (data / "train.jsonl").is_file() or not (data / "test.jsonl").is_file():
        raise BenchmarkError(
            "GSM8K's train.jsonl and test.jsonl are needed: give their folder as --data, or "
            "--parts tiny"
        )
    task = Gsm8k(Gsm8kOptions(data=str(data)))
    shown = prompts.load(HERE / "prompts" / "gsm8k_8shot.yaml", task)
    asked = _first(task, "test", sizes.problems)
    taught = _first(task, "train", sizes.examples)
    return _Source(shown, asked, taught, GSM8K_STOP, sizes.max_tokens, dict(GSM8K_LORA))


def _tiny(sizes: Sizes) -> _Source:
    settings = loading.load("arithmetic")
    task = Arithmetic()
    shown = prompts.load(shipped.prompts_dir() / "arithmetic" / "few_shot.yaml", task)
    problems = _first(task, "train", sizes.tiny_problems)
    lora = settings.train.model_dump(mode="json")
    return _Source(shown, problems, problems, shown.stop, settings.generate.max_tokens, lora)


def _first(task: Task, split: str, n: int) -> Sequence[Problem]:
    problems = task.problems(split)  # type: ignore[arg-type]
    if len(problems) < n:
        raise BenchmarkError(f"{n} problems of {task.name} ({split}) asked, there are only "
                             f"{len(problems)}")  # fmt: skip
    return problems[:n]


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def _generation(source: _Source, tokenizer: Tokenizer, *, hinted: bool) -> dict[str, Any]:
    prefix, asked = source.prompts.batch(source.asked, hinted=hinted, few_shot=True)
    whole = [_ids(tokenizer, prefix + text) for text in asked]
    begins = _ids(tokenizer, prefix)
    shared = min([len(begins), *(len(ids) - 1 for ids in whole)])
    for ids in whole:
        shared = next((i for i in range(shared) if ids[i] != begins[i]), shared)
    return {
        "prefix": prefix,
        "prompts": asked,
        "ids": whole,  # of prefix + prompt, every one of which begins with the same
        "shared": shared,  # tokens
        "stop": list(source.stop),
        "max_tokens": source.max_tokens,
    }


def _training(source: _Source, tokenizer: Tokenizer, eos: int) -> dict[str, Any]:
    rows = []
    for problem in source.taught:
        prompt = source.prompts.training(problem.question, few_shot=False)
        completion = source.prompts.completion(problem.rationale, problem.answer)
        prompt_ids, completion_ids = _ids(tokenizer, prompt), _ids(tokenizer, completion)
        rows.append(
            {"id": problem.id, "prompt": prompt, "completion": completion,
             "start": len(prompt_ids), "ids": [*prompt_ids, *completion_ids, eos]}
        )  # fmt: skip
    return {"rows": rows, "lora": source.lora}


def shrink(work: Mapping[str, Any], problems: int, max_tokens: int) -> dict[str, Any]:
    """The generation of a work alone, of fewer problems and tokens, to try settings on."""
    phase = dict(work["phases"]["generation"])
    phase["prompts"], phase["ids"] = phase["prompts"][:problems], phase["ids"][:problems]
    phase["max_tokens"] = max_tokens
    return {**work, "phases": {"generation": phase}}


def facts(work: Mapping[str, Any]) -> dict[str, Any]:
    """How much a work is: rows and tokens, by phase."""
    found: dict[str, Any] = {}
    for name, phase in work["phases"].items():
        ids = [row["ids"] for row in phase["rows"]] if name == "training" else phase["ids"]
        found[name] = {"rows": len(ids), "tokens": sum(map(len, ids))}
        if name != "training":
            found[name] |= {"shared": phase["shared"], "max_tokens": phase["max_tokens"]}
    return found


def digest(value: Any) -> str:
    """A short hash of anything JSON holds."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


# --------------------------------------------------------------------------- figures


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """(median, least, greatest)."""
    return statistics.median(values), min(values), max(values)


def scaled(measured: Mapping[str, float], prompt_tokens: float, decoded_tokens: float) -> float:
    """Seconds for so many tokens at measured rates, prompt and decoding each by its own.

    ``measured`` has ``prompt_tokens`` in ``prompt_seconds`` and ``decode_tokens`` in
    ``decode_seconds``.
    """
    reading = measured["prompt_seconds"] / measured["prompt_tokens"] * prompt_tokens
    return reading + measured["decode_seconds"] / measured["decode_tokens"] * decoded_tokens


def agreement(found: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]]) -> dict[str, Any]:
    """How many completions are the reference's own, and the mean length of what both begin with.

    Only the first ``len(wanted)`` are compared: a reference may be of fewer problems.
    """
    pairs = list(zip(found, wanted, strict=False))
    common = [_common(a, b) for a, b in pairs]
    return {
        "of": len(pairs),
        "identical": sum(list(a) == list(b) for a, b in pairs),
        "common_prefix": statistics.fmean(common) if common else 0.0,
        "reference_length": statistics.fmean(len(b) for _, b in pairs) if pairs else 0.0,
    }


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y),
                min(len(a), len(b)))  # fmt: skip


def machine() -> dict[str, Any]:
    """What this is measured on; no names of hosts or people."""
    about = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    if hasattr(os, "sched_getaffinity"):
        about["cores"] = len(os.sched_getaffinity(0))
    cpuinfo, meminfo = Path("/proc/cpuinfo"), Path("/proc/meminfo")
    if cpuinfo.is_file():
        values = dict(
            (part.strip() for part in line.split(":", 1))
            for line in cpuinfo.read_text().split("\n\n")[0].splitlines()
            if ":" in line
        )
        about["cpu"] = values.get("model name", about["cpu"])
        wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
        about["features"] = [f for f in wanted if f in values.get("flags", "").split()]
        about["family_model"] = f"{values.get('cpu family', '?')}/{values.get('model', '?')}"
    if meminfo.is_file():
        about["memory_gib"] = round(int(meminfo.read_text().split()[1]) / 2**20, 1)
    about["os"] = f"{platform.system()} {platform.release()}"
    about["python"] = platform.python_version()
    return about
