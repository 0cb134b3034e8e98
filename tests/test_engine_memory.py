"""What a bound on memory does: smaller batches, the same answers, a refusal in one line.

And what it rests on: the bound by device, and estimates that mlx's own peaks keep to.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from star_mlx.engine import blas, open_engine
from star_mlx.errors import ModelError, RecipeError
from star_mlx.recipe.loading import from_resolved, load, resolved
from star_mlx.settings import Train
from star_mlx.types import Amount, Decoding, Example
from tests import families, gpu_branch, tiny_random

blas.load()  # before mlx is imported

PREFIX = "Input: 1 2\nTarget: ab\n\n" * 4
PROMPTS = [f"Input: {i} and {i * i}\n" for i in range(24)]
DECODING = Decoding(max_tokens=40, stop=(), batch_size=24)
LORA = Train(
    rank=4, scale=2.0, dropout=0.0, layers=-1, keys=None, learning_rate=1e-3, warmup=0,
    decay="none", batch_size=16, max_length=512, grad_clip=1.0, weight_decay=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_random.write(tmp_path_factory.mktemp("base")))


def complete(engine: Any) -> tuple[list[str], int]:
    engine.peak_memory()
    found = engine.generate(
        PROMPTS, DECODING, prefix=PREFIX, adapter=None, seeds=[0] * len(PROMPTS),
        progress=lambda done, tokens: None,
    )  # fmt: skip
    return [c.text for c in found], engine.peak_memory()


@pytest.mark.slow
def test_a_bound_makes_batches_smaller_and_changes_no_answer(folder: str) -> None:
    import mlx.core as mx

    from star_mlx.engine.memory import MARGIN

    gc.collect()  # what other tests left
    engine = open_engine(folder)
    free, peak = complete(engine)
    held = mx.get_active_memory()
    del engine  # the bounded one takes its place
    gc.collect()
    bound = (held + (peak - held) // 2) / MARGIN  # whatever else this process holds
    bounded = open_engine(folder, max_memory=bound / 2**30)
    texts, least = complete(bounded)
    assert texts == free
    assert least < peak
    assert least <= bound


def test_training_keeps_to_a_bound(folder: str, tmp_path: Path) -> None:
    import mlx.core as mx

    from star_mlx.engine.memory import MARGIN

    def train(engine: Any, out: Path) -> int:
        rows = [
            Example(str(i), f"q{i}\n", "a" * 60, "direct", tuple(engine.encode("a" * 60)), 1)
            for i in range(16)
        ]
        engine.peak_memory()
        engine.train(rows, LORA, Amount(steps=2), seed=0, out=out, progress=lambda *step: None)
        return int(engine.peak_memory())

    gc.collect()  # what other tests left
    engine = open_engine(folder)
    free = train(engine, tmp_path / "free")
    held = mx.get_active_memory()
    del engine  # the bounded one takes its place
    gc.collect()
    bound = (held + (free - held) * 2 // 3) / MARGIN  # whatever else this process holds
    bounded = train(open_engine(folder, max_memory=bound / 2**30), tmp_path / "bounded")
    assert bounded < free
    assert bounded <= bound
    one, other = (mx.load(str(tmp_path / n / "adapters.safetensors")) for n in ("free", "bounded"))
    assert all(mx.allclose(one[k], other[k], atol=1e-4) for k in one)


def test_a_bound_that_holds_no_row_is_refused_in_one_line(folder: str, tmp_path: Path) -> None:
    import mlx.core as mx

    held = mx.get_active_memory()
    with pytest.raises(ModelError, match=r"^\S+ does not fit: its weights alone take .* more than"):
        open_engine(folder, max_memory=1e-6)
    engine = open_engine(folder, max_memory=(held + 300_000) / 2**30)
    with pytest.raises(ModelError, match=r"^max_memory=\S+ \(GiB\) is too little memory to decode"):
        complete(engine)
    row = Example("e", "q\n", "aaa", "direct", tuple(engine.encode("aaa")), 1)
    said = r"is too little memory to train on a row of .* Choose train\.checkpoint=true, a smaller"
    with pytest.raises(ModelError, match=said):
        engine.train([row], LORA, Amount(steps=1), seed=0, out=tmp_path, progress=lambda *a: None)


# --- the estimates ---

Sizes = tuple[tuple[str, int], ...]
WIDE: Sizes = (
    *(("hidden_size", 96), ("intermediate_size", 288)),
    *(("num_hidden_layers", 5), ("vocab_size", 600)),
)
WORDY: Sizes = (
    *(("hidden_size", 64), ("intermediate_size", 256)),
    *(("num_hidden_layers", 4), ("vocab_size", 3000)),
)
PLAIN = {"rank": 8, "dropout": 0.0}
# a model, the rows of a batch and the tokens of each, and how it is trained
CASES: tuple[tuple[Sizes, int, int, dict[str, Any]], ...] = (
    (WIDE, 4, 97, PLAIN),
    (WIDE, 1, 257, {"rank": 16, "dropout": 0.1}),
    (WORDY, 7, 65, PLAIN),
    (WORDY, 2, 129, {"rank": 4, "dropout": 0.0, "keys": ("self_attn.q_proj",), "layers": 2}),
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Sizes], tuple[Any, Path]]:
    """Opens a random model of a kind, once, without a bound."""
    import mlx.core as mx

    @functools.cache
    def opened(kind: str, sizes: Sizes) -> tuple[Any, Path]:
        made = tiny_random.write(tmp_path_factory.mktemp("base"), **dict(sizes))
        weights = made / "model.safetensors"
        stored = {k: v.astype(getattr(mx, kind)) for k, v in mx.load(str(weights)).items()}
        mx.eval(stored)  # before the file is written again
        mx.save_safetensors(str(weights), stored, {"format": "mlx"})
        return open_engine(str(made), max_memory="none"), made

    return opened


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("way", ["float32", "bfloat16", "bfloat16, compiled"])
def test_the_peak_of_training_is_near_its_estimate_and_below(
    way: str,
    checkpoint: bool,
    opened: Callable[[str, Sizes], tuple[Any, Path]],
    tmp_path: Path,
) -> None:
    """Compiled, as on a GPU, and not; at least 0.8 of it if every module is adapted."""
    from star_mlx.engine.needs import shape_of
    from star_mlx.engine.shape import read_config

    kind, _, compiled = way.partition(", ")
    if compiled and shutil.which("g++") is None:
        pytest.skip("mx.compile does nothing without g++")
    with contextlib.ExitStack() as stack:
        if kind == "bfloat16":
            stack.enter_context(gpu_branch.taken())
        if compiled:
            stack.enter_context(gpu_branch.compiling())
        for sizes, rows, long, how in CASES:
            engine, base = opened(kind, sizes)
            shape = shape_of(base, read_config(base))
            assert shape.itemsize == (2 if kind == "bfloat16" else 4)
            shape = dataclasses.replace(shape, compiled=bool(compiled))
            lora = LORA.model_copy(update={**how, "checkpoint": checkpoint, "batch_size": rows})
            estimate = rows * long * shape.training_bytes(long, lora) + shape.adapter_bytes(lora)
            found = _peak(engine, lora, rows, long, tmp_path) / estimate
            assert (0.8 if lora.keys is None else 0.4) <= found <= 1.0, (sizes, rows, long, how)


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", [False, True])
def test_logits_computed_some_at_a_time_take_as_much_as_is_estimated(
    checkpoint: bool,
    opened: Callable[[str, Sizes], tuple[Any, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from star_mlx.engine import batches
    from star_mlx.engine.needs import shape_of
    from star_mlx.engine.shape import read_config

    engine, base = opened("float32", WORDY)
    shape = shape_of(base, read_config(base))
    lora = LORA.model_copy(update={**PLAIN, "checkpoint": checkpoint, "batch_size": 1})
    peaks = []
    for logits in (1 << 30, 1 << 17):
        monkeypatch.setattr(batches, "CPU_LOGITS", logits)
        estimate = 257 * shape.training_bytes(257, lora) + shape.adapter_bytes(lora)
        peaks.append(_peak(engine, lora, 1, 257, tmp_path))
        assert 0.75 <= peaks[-1] / estimate <= 1.0
    assert peaks[1] < (0.4 if checkpoint else 0.7) * peaks[0]


def _peak(engine: Any, lora: Train, rows: int, long: int, out: Path) -> int:
    """Bytes that a step takes beyond what was in use before."""
    import mlx.core as mx

    ids = tuple(engine.encode("b" * (long - 3)))  # the prompt, and the end token
    examples = [Example(str(i), "q\n", "b", "direct", ids, 1) for i in range(rows)]
    gc.collect()
    mx.clear_cache()
    engine.peak_memory()
    held = mx.get_active_memory()
    engine.train(examples, lora, Amount(steps=1), seed=0, out=out, progress=lambda s: None)
    return int(engine.peak_memory()) - held


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("name", ["gemma 3 1B", "Qwen3.5"])
def test_other_architectures_need_no_more_than_is_estimated(
    name: str, checkpoint: bool, tmp_path: Path
) -> None:
    """A gemma has more norms, and linear attention keeps its state at every token."""
    from star_mlx.engine.needs import shape_of
    from star_mlx.engine.shape import read_config

    family = families.FAMILIES[name]
    more = {"intermediate_size": 96, "num_hidden_layers": 4}
    base = families.write(
        tmp_path / "base", dataclasses.replace(family, settings={**family.settings, **more})
    )
    shape, lora = shape_of(base, read_config(base)), LORA.model_copy(update=PLAIN)
    assert bool(shape.state) is (name == "Qwen3.5")
    lora = lora.model_copy(update={"checkpoint": checkpoint, "batch_size": 2})
    engine = open_engine(str(base), max_memory="none")
    tokens, long = 2 * 97, 97 - len(engine.encode(engine._text.decode(engine._text._front)))
    estimate = tokens * shape.training_bytes(97, lora) + shape.adapter_bytes(lora)
    assert 0.5 <= _peak(engine, lora, 2, long, tmp_path / "out") / estimate <= 1.0


def test_steps_are_compiled_on_a_gpu_unless_the_environment_says_no(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from star_mlx.engine.needs import shape_of
    from star_mlx.engine.shape import read_config

    def compiled() -> bool:
        return shape_of(Path(folder), read_config(Path(folder))).compiled

    monkeypatch.delenv("MLX_DISABLE_COMPILE", raising=False)
    assert not compiled()
    with gpu_branch.taken():
        assert compiled()
        monkeypatch.setenv("MLX_DISABLE_COMPILE", "1")
        assert not compiled()


def test_fewer_layers_and_modules_need_less() -> None:
    from star_mlx.engine.shape import Shape

    shape = Shape(24, 896, 4864, 14, 2, 64, 151_936, 2)  # Qwen2.5-0.5B

    def bytes_of(**changes: Any) -> int:
        return shape.training_bytes(200, Train(**changes), supervised=0.5)

    assert bytes_of() > bytes_of(keys=("self_attn.q_proj",)) > bytes_of(layers=8)
    assert bytes_of(layers=8) > bytes_of(checkpoint=True)
    assert shape.training_bytes(200, Train()) > bytes_of()
    assert 3 << 20 < bytes_of() < 5 << 20


@pytest.mark.parametrize("bits", [None, 4])
def test_the_weights_are_as_large_as_the_files_say(bits: int | None, tmp_path: Path) -> None:
    from mlx.utils import tree_flatten

    from star_mlx.engine import needs, resolve
    from star_mlx.engine.load import load as load_base
    from star_mlx.engine.shape import read_config

    made = tiny_random.write(tmp_path / "base", bits=bits)
    weights = tree_flatten(load_base(resolve.find(str(made))).model.parameters())
    assert needs.weights(made, read_config(made)) == sum(a.nbytes for _, a in weights)
    with gpu_branch.taken():
        stored = (made / "model.safetensors").stat().st_size
        assert needs.weights(made, read_config(made)) == stored
        assert needs.itemsize(made) == (2 if bits else 4)


# --- the bound ---


def test_the_bound_is_a_share_of_the_memory_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    import mlx.core as mx

    from star_mlx.engine import device

    gib = 1 << 30
    monkeypatch.setattr(device, "physical", lambda: 10 * gib)
    monkeypatch.setattr(device, "address_space", lambda: None)
    found = device.bound(None)
    assert found is not None and found.size == int(0.7 * 10 * gib)
    assert str(found) == "0.7 of the machine's memory (7 GiB)"
    assert device.bound("none") is None
    assert str(device.bound(2.5)) == "max_memory=2.5 (GiB)"

    monkeypatch.setattr(device, "on_cpu", lambda: False)
    metal = {"memory_size": 16 * gib, "max_recommended_working_set_size": 12 * gib}
    monkeypatch.setattr(mx, "device_info", lambda: metal)
    assert str(device.bound(None)) == "0.7 of the GPU's recommended working set (8.4 GiB)"
    cuda = {"total_memory": 80 * gib, "free_memory": 20 * gib}
    monkeypatch.setattr(mx, "device_info", lambda: cuda)
    monkeypatch.setattr(mx, "get_active_memory", lambda: 1 * gib)
    monkeypatch.setattr(mx, "get_cache_memory", lambda: 0)
    assert str(device.bound(None)) == "0.7 of the GPU's free memory (14.7 GiB)"
    monkeypatch.setattr(mx, "device_info", lambda: {"device_name": "unknown"})
    assert device.bound(None) is None


def test_a_limit_of_the_address_space_bounds_a_cpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import resource

    from star_mlx.engine import device

    statm = tmp_path / "statm"
    statm.write_text("1000 500 100 1 0 200 0\n", encoding="ascii")
    limit = (3 << 30, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda of: limit)
    left = (3 << 30) - 1000 * resource.getpagesize() - device.THREADS
    assert device.address_space(statm) == left
    assert device.address_space(tmp_path / "none") == (3 << 30) - device.THREADS
    limit = (1 << 20, resource.RLIM_INFINITY)
    assert device.address_space(statm) == 1

    monkeypatch.setattr(device, "address_space", lambda: 1 << 30)
    monkeypatch.setattr(device, "physical", lambda: 10 << 30)
    assert str(device.bound(None)) == ("0.7 of the address space that `ulimit -v` leaves (0.7 GiB)")
    monkeypatch.setattr(device, "address_space", lambda: 1)
    found = device.bound(None)
    assert found is not None and found.size == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux alone")
def test_too_little_address_space_is_one_line_and_no_crash(tmp_path: Path) -> None:
    python = shlex.quote(sys.executable)
    command = f"ulimit -v 700000; exec {python} -m star_mlx loop --task arithmetic --plain"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("star-mlx: error: ")


@pytest.mark.parametrize(("limit", "size"), [("1073741824", 1 << 30), ("max", None)])
@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
def test_a_container_has_the_memory_it_is_given(
    tmp_path: Path, name: str, limit: str, size: int | None
) -> None:
    from star_mlx.engine import device

    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(limit + "\n", encoding="ascii")
    assert device.physical(tmp_path) == (size or device.physical(tmp_path / "no such folder"))


def test_mlx_is_given_its_own_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    import mlx.core as mx

    from star_mlx.engine import device

    gib = 1 << 30
    said: dict[str, int] = {}
    for name in ("cache", "memory", "wired"):
        monkeypatch.setattr(
            mx, f"set_{name}_limit", lambda size, name=name: said.update({name: size})
        )
    device.restrict(device.Bound(4 * gib, ""))
    assert said == {"cache": device.CPU_CACHE, "memory": 4 * gib}  # nothing is wired for a CPU
    monkeypatch.setattr(device, "on_cpu", lambda: False)
    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    info = {"max_recommended_working_set_size": 12 * gib}
    monkeypatch.setattr(mx, "device_info", lambda: info)
    device.restrict(device.Bound(40 * gib, ""))
    assert said == {"cache": 2 * gib, "memory": 40 * gib, "wired": 12 * gib}
    device.restrict(device.Bound(4 * gib, ""))
    assert said == {"cache": gib, "memory": 4 * gib, "wired": 4 * gib}
    said.clear()
    device.restrict(None)
    assert said == {"cache": 2 * gib, "memory": device._own_limit(), "wired": 12 * gib}


def test_the_default_bound_changes_nothing_that_fits() -> None:
    """Old runs, whose recipe says null, go on as they began."""
    from star_mlx.engine.batches import CPU_BUDGET
    from star_mlx.engine.device import Bound
    from star_mlx.engine.memory import Memory
    from star_mlx.engine.shape import Shape

    smollm2 = Shape(30, 576, 1536, 9, 3, 64, 49_152, 4)
    free, bounded = (
        Memory(bound, smollm2, lambda: 600 << 20) for bound in (None, Bound(11 << 30, "16 GiB"))
    )
    for memory in (free, bounded):
        assert memory.reading(1400) == 512
        assert memory.decoding(64, 4, prefix=1400, longest=300, tokens=560) == (64, 4, 512)
        assert memory.training(CPU_BUDGET, 400, 4, Train(), 0.7) == CPU_BUDGET
        assert memory.spare(600 << 20)


def test_a_gpu_reads_more_at_once_where_no_row_loses_its_place() -> None:
    from star_mlx.engine.device import Bound
    from star_mlx.engine.memory import MARGIN, Memory
    from star_mlx.engine.shape import Shape

    shape = Shape(24, 896, 4864, 14, 2, 64, 151_936, 2)
    work = {"prefix": 1400, "longest": 300, "tokens": 560}

    def memory(room: float) -> Memory:
        return Memory(Bound(int(room / MARGIN), ""), shape, lambda: 0)

    rows, token = 64 * shape.row_bytes(560), shape.reading_bytes(1700)
    copy = shape.widened_bytes(1400)  # of the prefix, in float32
    assert copy == 2 * shape.prefix_bytes(1400)
    assert memory(rows + 512 * token + copy + 64).decoding(64, 1, **work) == (64, 1, 512)
    with gpu_branch.taken():
        for extra, reading in ((512, 512), (1000, 512), (1025, 1024), (1500, 1024), (9999, 2048)):
            made = memory(rows + extra * token + copy + 64)
            assert made.decoding(64, 1, **work) == (64, 1, reading)
        least = memory(rows + 512 * token + 64)  # without the copy there would be room
        assert least.decoding(64, 1, copied=True, **work)[0] == 64
        assert least.decoding(64, 1, **work)[0] < 64
        assert Memory(None, shape).decoding(64, 1, **work)[2] == Memory(None, shape).reading(9)
        assert memory(1e12).reading(1400) == 2048 and memory(1e9).reading(1400) == 512


def test_adapters_that_are_not_folded_are_said_to_be_cut(folder: str) -> None:
    from star_mlx.engine import needs, resolve

    recipe = load(None, task="arithmetic", overrides=["train.max_length=64"])
    found = resolve.find(folder)
    with gpu_branch.taken():
        free = needs.estimate(recipe, found.folder, prefix=50, prompt=20)
        bounded = recipe.model_copy(update={"max_memory": 1.9 * free.weights / 2**30})
        cut = needs.estimate(bounded, found.folder, prefix=50, prompt=20)
    assert free.folded and free.cuts() == [] and not cut.folded
    assert "adapters are not folded into copies of the weights for decoding" in cut.cuts()


def test_a_packed_head_is_counted_beside_the_embedding(folder: str) -> None:
    from star_mlx.engine import needs, resolve
    from star_mlx.engine.shape import read_config

    found = resolve.find(folder)
    config = read_config(found.folder)
    assert config["tie_word_embeddings"]
    exact, packed = (
        needs.estimate(
            load(None, task="arithmetic", overrides=[f"model.products={products}"]),
            found.folder, prefix=50, prompt=20,
        )
        for products in ("float32", "bfloat16")
    )  # fmt: skip
    assert packed.weights - exact.weights == 4 * config["vocab_size"] * config["hidden_size"]


def test_a_cut_is_one_of_few_numbers() -> None:
    from star_mlx.engine.device import Bound
    from star_mlx.engine.memory import Memory
    from star_mlx.engine.shape import Shape

    shape = Shape(24, 896, 4864, 14, 2, 64, 151_936, 2)
    found = {
        Memory(Bound(int(8e9), ""), shape, lambda held=held: held).training(8192, 200, 1, Train())
        for held in range(1_000_000_000, 1_050_000_000, 10_000_000)
    }
    [tokens] = found  # a little more or less in use does not change the sums
    assert 200 < tokens < 8192


def test_what_a_recipe_needs_and_what_is_cut(folder: str) -> None:
    from star_mlx.engine import needs, resolve

    recipe = load(None, task="arithmetic", overrides=["train.max_length=200"])
    found = resolve.find(folder)
    free = needs.estimate(recipe, found.folder, prefix=50, prompt=20)
    assert free.cuts() == [] and free.rows[0] == free.rows[1] == recipe.generate.batch_size
    assert free.peak == free.weights + max(free.decoding, free.training)
    gib = (free.weights + 0.7 * free.training) / 2**30
    cut = needs.estimate(
        recipe.model_copy(update={"max_memory": gib}), found.folder, prefix=50, prompt=20
    )
    assert cut.tokens[1] < cut.tokens[0] == free.tokens[0]
    peak = free.peak / 2**30
    assert free.words().startswith(f"the recipe needs up to about {peak:.2g} GiB of memory, which ")
    assert free.words().endswith(" GiB)")  # of the bound: nothing is cut
    said = f"the recipe needs up to about {peak:.2g} GiB of memory, which is bounded by max_memory="
    assert cut.words().startswith(f"{said}{gib:g} (GiB): ")
    assert f"{cut.tokens[1]:,} instead of {cut.tokens[0]:,} tokens" in cut.words()
    least = needs.estimate(
        recipe.model_copy(update={"max_memory": free.weights / 2**30}),
        found.folder, prefix=50, prompt=20, row=90,
    )  # fmt: skip
    assert least.words().endswith(
        "not even one row of the longest prompts can be decoded, and examples of 90 tokens cannot "
        "be trained on (train.checkpoint=true needs much less)"
    )


@pytest.mark.parametrize("value", [None, "none", 4, 0.5])
def test_a_recipe_takes_a_limit_none_or_the_default(value: Any) -> None:
    recipe = load(None, task="arithmetic", settings={"max_memory": value})
    assert recipe.max_memory == value
    assert from_resolved(resolved(recipe)) == recipe


@pytest.mark.parametrize("value", ["0", "-1", "lots", "true", ".inf", "[1]"])
def test_other_limits_are_refused_in_one_line(value: str) -> None:
    with pytest.raises(RecipeError, match=r"max_memory: .* is no limit: give a number of GiB"):
        load(None, task="arithmetic", overrides=[f"max_memory={value}"])


def test_a_run_says_what_it_needs_and_what_is_cut(tmp_path: Path) -> None:
    from star_mlx.engine.device import Bound
    from star_mlx.engine.needs import Needs
    from star_mlx.engine.scripted import ScriptedEngine
    from star_mlx.events import Notice
    from star_mlx.run import loop

    asked: list[tuple[str, str]] = []

    class Bounded(ScriptedEngine):
        fitting = 8

        def needs(self, recipe: Any, *, prefix: str, prompt: str) -> Needs:
            asked.append((prefix, prompt))
            bound = Bound(1 << 30, "max_memory=1 (GiB)") if self.fitting else None
            return Needs(
                1 << 30, 1 << 31, 0, bound, (32, self.fitting or 32), (512, 512), 512, False
            )

    def notices(name: str) -> list[str]:
        small = ["task.options.train=100", "star.iterations=1", "star.problems=4", "evaluate.dev=2"]
        events: list[Any] = []
        engine = Bounded(lambda asked: asked.prompt.split("Target: ")[-1])
        recipe = load(None, task="arithmetic", overrides=[*small, "train.max_length=1000"])
        loop.run(recipe, tmp_path / name, events.append, engine=engine)
        return [e.text for e in events if isinstance(e, Notice) and "the recipe needs" in e.text]

    said = "the recipe needs up to about 3 GiB of memory, which is "
    bounded = f"{said}bounded by max_memory=1 (GiB)"
    assert notices("cut") == [f"{bounded}: 8 of 32 rows are decoded at once"]
    assert "Target:" in asked[0][0] and "Input:" in asked[0][1]
    Bounded.fitting = 32
    assert notices("whole") == [bounded]
    Bounded.fitting = 0
    assert notices("free") == [f"{said}not bounded"]
