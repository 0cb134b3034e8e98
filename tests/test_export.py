"""Exports without torch: what is written and refused, and that nothing is left half-written."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from star_mlx.cli import main
from star_mlx.engine import adapter_file as weights
from star_mlx.engine import resolve
from star_mlx.errors import ModelError, RunError
from star_mlx.export import export, torch_model
from star_mlx.prompts import Prompts
from star_mlx.recipe import asking, opening
from star_mlx.recipe.loading import load
from star_mlx.run import loop
from star_mlx.settings import Recipe
from tests import tiny_random
from tests.export_runs import alter, scripted

pytestmark = pytest.mark.slow

ALL = ["mlp.down_proj", "mlp.gate_proj", "mlp.up_proj",
       "self_attn.k_proj", "self_attn.o_proj", "self_attn.q_proj", "self_attn.v_proj"]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of the real loop."""
    run = tmp_path_factory.mktemp("trained") / "run"
    small = ["task.options.train=200", "star.iterations=1", "star.problems=40", "evaluate.dev=30",
             "star.schedule.start=8"]  # fmt: skip
    recipe = load(None, task="arithmetic", overrides=small)
    loop.run(recipe, run, lambda event: None)
    return run


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripted(tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture
def star(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return ended.value.code, out, err  # type: ignore[return-value]

    return run


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


# --------------------------------------------------------------------------- mlx


def test_mlx_is_the_adapter_the_tokenizer_and_the_prompt(plain: Path, tmp_path: Path) -> None:
    done = export(plain, "1", "mlx", tmp_path / "out")
    assert list(done.files) == [
        "adapter_config.json", "adapters.safetensors", "prompt.json", "run/manifest.json",
        "run/metrics.jsonl", "run/prompt.txt", "run/prompts.yaml", "run/recipe.yaml",
        "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    for name in ("adapter_config.json", "adapters.safetensors"):
        own = plain / "iterations/001/adapter" / name
        assert (tmp_path / "out" / name).read_bytes() == own.read_bytes()
    base = resolve.TINY / "tokenizer.json"
    assert (tmp_path / "out/tokenizer.json").read_bytes() == base.read_bytes()
    assert names(tmp_path) == ["out"]


def test_a_gguf_adapter_comes_with_its_base_where_that_is_asked_for(
    plain: Path, tmp_path: Path
) -> None:
    from gguf import GGUFReader

    alone = export(plain, "1", "gguf-lora", tmp_path / "alone")
    both = export(plain, "1", "gguf-lora", tmp_path / "both", with_base=True, kind="F32")
    assert set(both.files) - set(alone.files) == {"base-F32.gguf"}
    base = GGUFReader(tmp_path / "both/base-F32.gguf")
    [lora] = [GGUFReader(p) for p in (tmp_path / "both").glob("*-lora.gguf")]
    adapted = {tensor.name.removesuffix(".lora_a") for tensor in lora.tensors}
    assert {name for name in adapted if not name.endswith(".lora_b")} <= {
        tensor.name for tensor in base.tensors
    }


def test_prompt_json_says_how_the_run_asked(plain: Path, tmp_path: Path) -> None:
    export(plain, "1", "mlx", tmp_path / "out")
    told = read(tmp_path / "out/prompt.json")
    task, prompts = opening.open_task(opening.resume_recipe(plain))
    problem = task.problems("dev")[3]
    prompt = told["few_shot"] + told["template"].replace("{question}", problem.question.text)
    assert prompt == prompts.generation(problem, hinted=False, few_shot=True)
    assert told["few_shot_used"] is True and told["chat"] is False
    assert told["stop"] == list(prompts.stop) and told["decoding"]["temperature"] == 0
    assert told["end_tokens"] == [275]
    assert told["base"]["name"] == "tiny"
    assert told["base"]["hash"] == resolve.content_hash(resolve.find("tiny").folder)
    assert len(told["examples"]) == len(prompts.examples) > 0


def test_prompt_json_says_where_the_few_shot_prompt_was_dropped(tmp_path: Path) -> None:
    run = scripted(tmp_path / "run", "tiny", "star.drop_few_shot_from=1")
    export(run, "1", "mlx", tmp_path / "out")
    told = read(tmp_path / "out/prompt.json")
    assert told["few_shot_used"] is False and told["few_shot"].startswith("Input:")


def told_of(recipe: Recipe, prompts: Prompts, few_shot: bool) -> dict[str, Any]:
    """What prompt.json says of prompts that no run was made with."""
    from star_mlx.export import prompt

    text: Any = SimpleNamespace(eos={2})
    how = asking.measuring(recipe, prompts, 1, few_shot=few_shot)
    source: Any = SimpleNamespace(base_told={"name": "b"}, iteration=1)
    return prompt.as_json(source, prompt.Setup(recipe, how, text))


@pytest.mark.parametrize("few_shot", [True, False])
@pytest.mark.parametrize("last", ["", "[last]"])
def test_prompt_json_makes_the_prompt_of_a_chat(few_shot: bool, last: str) -> None:
    """Also where a template writes the last turn, and so the earlier ones, in another way."""

    def chat(turns: Sequence[tuple[str, str]], reply: bool) -> str:
        said = "".join(f"<{role}>{content}" for role, content in turns)
        return f"<s>{last if reply else ''}{said}" + "<assistant>" * reply

    recipe = load(None, task="arithmetic")
    task, plain = opening.open_task(recipe)
    prompts = dataclasses.replace(plain, chat=chat, system="Add.")
    told = told_of(recipe, prompts, few_shot)
    problem = task.problems("dev")[3]
    before = told["few_shot"] * told["few_shot_used"]
    prompt = before + told["template"].replace("{question}", problem.question.text)
    assert prompt == prompts.generation(problem, hinted=False, few_shot=few_shot)
    assert prompt.count("<system>") == 1 and ("Input:" in before) == few_shot


def test_the_template_of_a_choice_has_its_choices() -> None:
    recipe = load(None, task="commonsenseqa")
    _, prompts = opening.open_task(recipe)
    template = told_of(recipe, prompts, True)["template"]
    assert "{question}" in template and "(A) {choice A}\n" in template and "{choice E}" in template


def test_a_prompt_that_has_changed_since_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "shots.yaml"
    shipped = Path(__file__).parent.parent / "prompts/arithmetic/few_shot.yaml"
    shutil.copy(shipped, file)
    run = scripted(tmp_path / "run", "tiny", f"prompts.file={file}")
    file.write_text(2 * file.read_text())  # its examples twice
    with pytest.raises(RunError, match=r"few-shot prompt of .* has changed"):
        export(run, "1", "mlx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --------------------------------------------------------------------------- peft, as files


def peft(run: Path, out: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    done = export(run, "1", "peft", out)
    assert done.parity is None and any("not compared" in note for note in done.notes)
    return read(out / "adapter_config.json"), weights.arrays(out / "adapter_model.safetensors")


def test_peft_transposes_and_scales(plain: Path, tmp_path: Path) -> None:
    config, arrays = peft(plain, tmp_path / "out")
    ours = weights.read(plain / "iterations/001/adapter")
    assert len(ours.modules) == 28 and len(arrays) == 56
    for module in ours.modules:
        name = f"base_model.model.{module.name}"
        assert np.array_equal(arrays[f"{name}.lora_A.weight"], module.a.T)
        assert np.array_equal(arrays[f"{name}.lora_B.weight"], module.b.T)
    assert (config["peft_type"], config["task_type"]) == ("LORA", "CAUSAL_LM")
    assert (config["r"], config["lora_alpha"], config["use_dora"]) == (4, 8, False)
    assert config["target_modules"] == sorted(part.partition(".")[2] for part in ALL)
    assert config["layers_to_transform"] is None and config["layers_pattern"] is None
    assert config["base_model_name_or_path"] is None and config["inference_mode"] is True
    assert "tokenizer.json" in names(tmp_path / "out")


def test_peft_names_the_last_layers_and_the_keys(tmp_path: Path) -> None:
    run = scripted(tmp_path / "run", layers=2, keys=("self_attn.q_proj", "mlp.down_proj"))
    config, arrays = peft(run, tmp_path / "out")
    assert config["target_modules"] == ["down_proj", "q_proj"]
    assert config["layers_to_transform"] == [2, 3] and config["layers_pattern"] == "layers"
    assert len(arrays) == 8


def test_peft_lists_modules_that_no_rule_describes(tmp_path: Path) -> None:
    run = scripted(tmp_path / "run")
    keep = ("model.layers.0.self_attn.q_proj", "model.layers.3.mlp.up_proj")
    alter(
        run / "iterations/001/adapter",
        lambda arrays: {k: v for k, v in arrays.items() if k.startswith(keep)},
    )
    config, arrays = peft(run, tmp_path / "out")
    assert tuple(config["target_modules"]) == keep and config["layers_to_transform"] is None
    assert len(arrays) == 4


def test_peft_has_the_magnitudes_of_dora(tmp_path: Path) -> None:
    run = scripted(tmp_path / "run", dora=True)
    config, arrays = peft(run, tmp_path / "out")
    assert config["use_dora"] is True and len(arrays) == 84
    [first, *_] = weights.read(run / "iterations/001/adapter").modules
    assert first.magnitude is not None
    found = arrays[f"base_model.model.{first.name}.lora_magnitude_vector"]
    assert np.array_equal(found, first.magnitude)


def test_half_precision_adapters_are_read_exactly(tmp_path: Path) -> None:
    import mlx.core as mx

    run = scripted(tmp_path / "run", keys=("self_attn.q_proj",))
    adapter = run / "iterations/001/adapter"
    alter(adapter, lambda arrays: {k: v.astype(mx.bfloat16) for k, v in arrays.items()})
    stored = mx.load(str(adapter / "adapters.safetensors"))
    for module in weights.read(adapter).modules:
        assert module.a.dtype == np.float32
        assert mx.array_equal(mx.array(module.a), stored[f"{module.name}.lora_a"])


def test_weights_are_in_order_of_layers(plain: Path) -> None:
    found = weights.read(plain / "iterations/001/adapter")
    assert [m.layer for m in found.modules] == sorted([0, 1, 2, 3] * 7)
    assert found.layers == (0, 1, 2, 3) and list(found.keys) == ALL
    assert (found.rank, found.scale, found.dropout, found.dora) == (4, 2.0, 0.0, False)
    assert {m.stack for m in found.modules} == {"model.layers"}


# --------------------------------------------------------------------------- refusals


def experts(arrays: dict[str, Any]) -> dict[str, Any]:
    name = "model.layers.1.mlp.up_proj"
    return {k: v[None] if k.startswith(name) else v for k, v in arrays.items()}


def half(arrays: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in arrays.items() if k != "model.layers.1.mlp.up_proj.lora_b"}


def odd(arrays: dict[str, Any]) -> dict[str, Any]:
    name = "model.layers.1.mlp.up_proj"
    return {**arrays, f"{name}.bias": arrays[f"{name}.lora_b"]}


def renamed(arrays: dict[str, Any]) -> dict[str, Any]:
    return {k.replace("up_proj", "w3"): v for k, v in arrays.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (experts, r"experts model.layers.1.mlp.up_proj \(MoE, SwitchLinear\)"),
        (half, "model.layers.1.mlp.up_proj has no lora_b"),
        (odd, "model.layers.1.mlp.up_proj has an unknown part bias"),
        (lambda arrays: {}, "is empty"),
        (renamed, "changes model.layers.0.mlp.w3, but no weight of tiny has that name"),
    ],
)
def test_peft_refuses_by_name_what_it_has_no_place_for(
    change: Any, message: str, tmp_path: Path
) -> None:
    run = scripted(tmp_path / "run")
    alter(run / "iterations/001/adapter", change)
    with pytest.raises(ModelError, match=message):
        export(run, "1", "peft", tmp_path / "out")
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize("verify", [False, True])
def test_peft_does_not_take_the_text_part_of_a_larger_model(
    verify: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers gives such parts other names, and PEFT ignores names that it does not know."""
    run = scripted(tmp_path / "run")

    def wrapped(arrays: dict[str, Any]) -> dict[str, Any]:
        return {f"language_model.{k}": v for k, v in arrays.items()}

    alter(run / "iterations/001/adapter", wrapped)
    own = weights.tensors
    monkeypatch.setattr(
        weights, "tensors", lambda folder: {f"language_model.{name}" for name in own(folder)}
    )
    said = r"language_model\.model\.layers\.0.* without an error; use --format mlx or fused$"
    with pytest.raises(ModelError, match=said) as refused:
        export(run, "1", "peft", tmp_path / "out", verify=verify)
    assert "--verify" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_padding_token_outside_the_vocabulary_is_left_out_of_a_written_config() -> None:
    from star_mlx.export import dense

    inner = {"vocab_size": 10, "pad_token_id": 10, "quantization": {"bits": 4}}
    made = dense.plain_config({"text_config": inner, "pad_token_id": 3}, set())
    assert made["text_config"] == {"vocab_size": 10, "pad_token_id": None}
    for pad in (-1, 0, 9, None):
        config = {"vocab_size": 10, "pad_token_id": pad}
        assert dense.plain_config(config, set())["pad_token_id"] == pad
    assert (
        dense.plain_config({"vocab_size": 10, "pad_token_id": 128_001}, set())["pad_token_id"]
        is None
    )


def test_peft_refuses_an_adapted_embedding(tmp_path: Path) -> None:
    run = scripted(tmp_path / "run", keys=("model.embed_tokens", "self_attn.q_proj"))
    with pytest.raises(ModelError, match=r"changes model.embed_tokens, an embedding or head"):
        export(run, "1", "peft", tmp_path / "out")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"fine_tune_type": "full"}, "no adapter but whole weights"),
        ({"fine_tune_type": "lora"}, "lacks lora_parameters"),
        ([], "is no config of an adapter: Expected `object`, got `array`"),
    ],
)
def test_a_config_that_says_otherwise_is_refused(
    config: Any, message: str, plain: Path, tmp_path: Path
) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(plain / "iterations/001/adapter", adapter)
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=message):
        weights.read(adapter)


def test_a_folder_that_is_in_use_is_refused(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export(plain, "1", "mlx", tmp_path / "out")  # empty: taken
    before = (tmp_path / "out/prompt.json").read_bytes()
    with pytest.raises(ModelError, match="exists and is not an empty folder"):
        export(plain, "1", "peft", tmp_path / "out")
    assert (tmp_path / "out/prompt.json").read_bytes() == before
    (tmp_path / "other.partial").mkdir()
    with pytest.raises(ModelError, match="left from another export"):
        export(plain, "1", "mlx", tmp_path / "other")
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot be written"):
        export(plain, "1", "mlx", tmp_path / "file/out")


def test_the_base_has_no_adapter_and_a_changed_base_is_refused(tmp_path: Path) -> None:
    base = tiny_random.write(tmp_path / "base", bits=4)
    run = scripted(tmp_path / "run", str(base))
    with pytest.raises(RunError, match="that is the base"):
        export(run, "0", "mlx", tmp_path / "out")
    with pytest.raises(RunError, match="no iteration 2"):
        export(run, "2", "mlx", tmp_path / "out")
    config = read(base / "config.json")
    (base / "config.json").write_text(json.dumps({**config, "rope_theta": 500.0}))
    with pytest.raises(ModelError, match="its content has changed"):
        export(run, "1", "mlx", tmp_path / "out")


@pytest.mark.parametrize("form", ["mlx", "peft", "fused"])
@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError(28, "No space left on device")])
def test_nothing_is_left_half_written(
    form: Any, error: Exception, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from star_mlx.export import dense, mlx_format, peft_format

    def fail(*arguments: object) -> None:
        assert names(tmp_path) == ["out.partial"] and names(tmp_path / "out.partial")
        raise error

    for module in (mlx_format, peft_format, dense):
        monkeypatch.setattr(module, "copy_tokenizer", fail)
    expected = ModelError if isinstance(error, OSError) else RuntimeError
    with pytest.raises(expected, match=r"No space left|a bug"):
        export(plain, "1", form, tmp_path / "out")
    assert names(tmp_path) == []


# --------------------------------------------------------------------------- fused


def logits(folder: Path, ids: list[int]) -> Any:
    from mlx_lm.utils import load_model

    from star_mlx.export import verify

    model, _ = load_model(folder)
    return verify.of_mlx(model)(ids)


@pytest.mark.parametrize("dora", [False, True])
def test_fused_is_exactly_what_was_trained(dora: bool, tmp_path: Path) -> None:
    from star_mlx.engine.resolve import Found
    from star_mlx.export import dense, verify

    run = scripted(tmp_path / "run", dora=dora, size=0.2)
    done = export(run, "1", "fused", tmp_path / "out")
    assert done.parity == read(tmp_path / "out/parity.json")
    parity = dict(done.parity or {})
    assert parity["prompts"] == 12 and parity["positions"] > 800
    assert parity["max_abs_logit_difference"] <= 1e-4 and parity["within_bound"]
    assert parity["equal_argmax"] == 1.0
    config = read(tmp_path / "out/config.json")
    assert not {"quantization", "quantization_config"} & config.keys()
    assert config["tie_word_embeddings"] is True and config["torch_dtype"] == "float32"
    ids = list(range(40, 90))
    fused = logits(tmp_path / "out", ids)
    with dense.in_float32(Found("tiny", resolve.TINY), False) as model:
        bare = verify.of_mlx(model)(ids)
        source: Any = SimpleNamespace(adapter=run / "iterations/001/adapter")
        verify.adapted(model, source)
        adapted = verify.of_mlx(model)(ids)
    assert np.abs(fused - adapted).max() <= 1e-4 < 0.5 < np.abs(fused - bare).max()


def test_a_fused_model_that_differs_is_refused(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from star_mlx.export import dense

    save = dense.save

    def damaged(source: Any, model: Any, folder: Path) -> None:
        norm = model.model.norm
        kept, norm.weight = norm.weight, norm.weight * 1.001
        save(source, model, folder)
        norm.weight = kept

    monkeypatch.setattr(dense, "save", damaged)
    with pytest.raises(ModelError, match=r"the fused model differs .* on 12 prompts"):
        export(plain, "1", "fused", tmp_path / "out")
    assert names(tmp_path) == []
    done = export(plain, "1", "fused", tmp_path / "out", force=True)
    assert done.parity is not None and done.parity["within_bound"] is False
    assert any("--force" in note for note in done.notes)


def test_logits_that_are_no_numbers_are_refused() -> None:
    from star_mlx.export import verify

    good = np.ones((2, 3), np.float32)
    bad = np.array([[1, 1, 1], [1, np.nan, 1]], np.float32)
    found = verify.compare([[1, 2], [3, 4]], lambda i: good, lambda i: bad, 1, lambda e: None)
    assert np.isnan(found.largest) and not found.largest <= 5e-3


def test_eight_bits_pass_the_gate(trained: Path, tmp_path: Path) -> None:
    from star_mlx.engine import open_engine

    done = export(trained, "1", "fused", tmp_path / "out", quantize=8, gate_problems=40)
    gate = dict(done.gate or {})
    assert gate == read(tmp_path / "out/gate.json") and gate["passed"] is True
    assert gate["problems"] == gate["paired"]["n"] == gate["fused"]["n"] == 40
    assert gate["changed"] <= 4 and gate["bits"] == 8
    config = read(tmp_path / "out/config.json")
    assert config["quantization"] == {"group_size": 32, "bits": 8, "mode": "affine"}
    assert open_engine(str(tmp_path / "out")).describe()["bits"] == 8
    assert done.parity is None and not (tmp_path / "out/parity.json").exists()


def test_two_bits_do_not_pass_the_gate(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as refused:
        export(trained, "1", "fused", tmp_path / "out", quantize=2, gate_problems=40)
    text = str(refused.value)
    assert "quantized again to 2 bits it does not pass" in text
    assert "of 40 greedy outputs changed, but only 10% may" in text
    assert "--format fused without --quantize" in text and "--format mlx" in text
    assert names(tmp_path) == []
    done = export(trained, "1", "fused", tmp_path / "out", quantize=2, gate_problems=40, force=True)
    assert done.gate is not None and done.gate["passed"] is False
    assert done.gate["changed"] > 4 and any("--force" in note for note in done.notes)


def test_the_gate_goes_by_answers_and_by_texts() -> None:
    from star_mlx.export import gate

    found = {
        "bits": 4, "words": "the fused model is worse", "problems": 100, "changed": 11,
        "changed_limit": 0.1, "passed": False,
    }  # fmt: skip
    with pytest.raises(ModelError, match=r"is worse; 11 of 100 greedy outputs .* 10% may"):
        gate.judge(found, force=False)
    gate.judge(found, force=True)
    gate.judge({**found, "passed": True}, force=False)


def test_finer_settings_of_the_base_are_kept(tmp_path: Path) -> None:
    from mlx import nn

    from star_mlx.export import fused

    common = {"group_size": 32, "bits": 4, "mode": "affine"}
    own = {"group_size": 32, "bits": 8}
    settings = dict(common)
    stored = {"head", "body"}
    choose = fused._chooser(common, {**common, "head": own, "body": {**own, "bits": 3}}, stored,
                            settings)  # fmt: skip
    layer = nn.Linear(64, 8)
    assert choose("head", layer) == {**own, "mode": "affine"}
    assert choose("body", layer) == common and choose("other", layer) is False
    assert choose("body", nn.Linear(40, 8)) is False and choose("body", nn.RMSNorm(64)) is False
    assert settings == {**common, "head": {**own, "mode": "affine"}}


# --------------------------------------------------------------------------- the command


def test_the_command_prints_what_was_written_and_measured(
    star: Any, plain: Path, tmp_path: Path
) -> None:
    arguments = ("export", plain, "--iteration", "1", "--format", "fused")
    code, out, _ = star(*arguments, "--out", tmp_path / "a")
    assert code == 0
    assert "fused of iteration 1 of " in out and "positions of 12 prompts" in out
    assert "model.safetensors" in out and "logits differ by " in out
    code, out, _ = star(*arguments, "--out", tmp_path / "b", "--json")
    told = json.loads(out)
    assert code == 0 and told["parity"]["within_bound"] and told["folder"] == str(tmp_path / "b")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope", "--format", "mlx"], "nope is not a run folder"),
        (["nope"], "Missing option '--format'"),
        (["nope", "--format", "onnx"], "'onnx' is not one of"),
        (["nope", "--format", "mlx", "--with-base"], "--with-base is for --format gguf-lora"),
        (["nope", "--format", "mlx", "--verify"], "--verify compares --format peft and fused"),
        (["nope", "--format", "peft", "--quantize", "4"], "--quantize is for --format fused"),
        (["nope", "--format", "fused", "--quantize", "7"], "'7' is not one of"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    arguments: list[str], message: str, star: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = star("export", *arguments, "--out", "out")
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1
    assert names(tmp_path) == []


def test_verify_without_torch_says_how_to_install_it(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_model, "find_spec", lambda name: None)
    for form in ("peft", "fused"):
        with pytest.raises(ModelError, match=r"torch .*not installed: pip install 'star-mlx\[peft"):
            export(plain, "1", form, tmp_path / "out", verify=True)  # type: ignore[arg-type]
    assert names(tmp_path) == []


def test_importing_it_imports_nothing_heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTS_WITHOUT", "")  # torch is there, and not loaded
    code = "import sys, star_mlx.export; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"mlx", "mlx.core", "numpy", "torch", "yaml"} & set(done.stdout.split())


def test_gguf_files_come_with_the_prompt(plain: Path, tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    from star_mlx.export import GGUF_KINDS, gguf_model

    assert set(GGUF_KINDS) == set(gguf_model.KINDS)
    for form in ("gguf", "gguf-lora"):
        done = export(plain, "1", form, tmp_path / form)  # type: ignore[arg-type]
        assert len(done.files) == 2 and "prompt.json" in done.files
        assert any(name.endswith(".gguf") for name in done.files)
