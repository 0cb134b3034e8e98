"""``star-mlx plan``: the formula, the figures of devices and models, and the command."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from star_mlx.cli import main
from star_mlx.engine.shape import Shape
from star_mlx.errors import ModelError, RecipeError
from star_mlx.recipe import loading
from star_mlx.run import at_hand, timing
from star_mlx.run.plan import plan
from star_mlx.scaling import formula, hardware, iteration, sizes
from star_mlx.scaling.formula import CompletionSizes, RowSizes, Sized
from star_mlx.scaling.hardware import GIB, Hardware, Machines
from star_mlx.scaling.workload import Assumed, workload
from star_mlx.settings import Train

ROOT = Path(__file__).parent.parent
PLAIN = Train()


def device(**more) -> Hardware:
    """A GPU that reaches what its kind reaches, with round figures."""
    given = {"flops": 1e13, "bandwidth": 1e11, "memory": 64 * GIB, "link": 1e9} | more
    return Hardware("x", "X", "cuda", source="", **given)


def model(**more) -> Sized:
    shape = Shape.of(dict(zip(sizes.NAMES, sizes.TYPICAL["Qwen2.5-7B"], strict=True)), 2, True)
    return Sized("m", shape, held=4_000_000_000, read=4_000_000_000, read_adapted=4_000_000_000)


def completions(**more) -> CompletionSizes:
    given = {"few_shot": 0, "prompt": 1, "completion": 100.0, "longest": 100,
             "chunk": 64, "at_once": 64} | more  # fmt: skip
    return CompletionSizes(**given)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def called(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    said = capsys.readouterr()
    return ended.value.code or 0, said.out, said.err


# --------------------------------------------------------------------------- decoding


def test_a_row_waits_for_the_longest_and_slots_are_filled_again():
    assert formula.steps(1, 32, 100, 256) == 100
    assert 100 < formula.steps(32, 32, 100, 256) <= 256
    assert formula.steps(32, 32, 100, 120) == 120
    assert formula.steps(96, 32, 100, 120) == 120 + 200


def test_few_rows_wait_for_the_weights_and_many_for_the_products():
    slow = device(bandwidth=1e10)
    one = formula.chunk(completions(), 1, model(), slow, adapted=False)
    eight = formula.chunk(completions(), 8, model(), slow, adapted=False)
    assert one.mostly == eight.mostly == "reading weights and caches"
    assert eight.seconds < 1.2 * one.seconds  # the weights are read for all rows at once
    read = 100 * 4e9 / (0.6 * 1e10)  # steps, bytes, and the bytes per second that are reached
    assert one.seconds == pytest.approx(read, rel=0.02)
    quick = device(bandwidth=1e14)
    many = formula.chunk(completions(), 64, model(), quick, adapted=False)
    flops = 64 * 100 * 2 * (model().shape.linear_parameters + 152_064 * 3584)
    assert many.mostly == "computing"
    assert many.seconds == pytest.approx(flops / (0.2 * 1e13), rel=0.1)


def test_the_few_shot_prompt_is_read_once_for_all_and_seen_by_all():
    some = [
        formula.chunk(completions(few_shot=n), 64, model(), device(), adapted=False).seconds
        for n in (0, 1000, 2000)
    ]
    assert some[0] < some[1] < some[2]
    assert some[2] - some[1] == pytest.approx(some[1] - some[0], rel=0.01)
    whole = formula.generation(
        64, completions(few_shot=2000), model(), Machines(1, device()), adapted=False
    )
    assert whole.seconds - some[2] == pytest.approx(
        2000 * (2 * model().shape.linear_parameters + model().seen_flops * 1000) / (0.35 * 1e13)
    )


def test_whole_chunks_are_shared_out():
    def seconds(count: int, number: int) -> float:
        made = Machines(number, device())
        return formula.generation(count, completions(), model(), made, adapted=False).seconds

    assert seconds(4 * 64, 4) == pytest.approx(seconds(64, 1))
    assert seconds(5 * 64, 4) == pytest.approx(seconds(2 * 64, 1))
    assert seconds(64 + 8, 4) == pytest.approx(seconds(64, 1))  # the others wait for it
    assert seconds(64 + 8, 1) > seconds(64, 1)


def test_attempts_are_gathered_by_one_machine():
    made = Machines(4, device())
    found = formula.generation(256, completions(), model(), made, adapted=False, sent=1000)
    assert found.sent == 256 * 1000 / 4
    alone = formula.generation(256, completions(), model(), made, adapted=False)
    assert found.seconds - alone.seconds == pytest.approx(3 * found.sent / 1e9, rel=1e-6)


# --------------------------------------------------------------------------- training


def test_a_frozen_weight_costs_four_flops_a_token_and_six_if_recomputed():
    rows = RowSizes(row=100, supervised=0, batch=1, part=8192)
    own = model()
    free = own.seen_flops * 100 * 3 + 6 * own.shape.adapter_parameters(PLAIN)
    flops = 100 * (4 * own.shape.linear_parameters + free)
    fixed = 3 * (0.5e-3 + own.shape.layers * 60e-6)
    assert formula.step(rows, PLAIN, own, device(), 1) == pytest.approx(
        flops / (0.3 * 1e13) + fixed, rel=1e-6
    )
    again = PLAIN.model_copy(update={"checkpoint": True})
    flops += 100 * (2 * own.shape.linear_parameters + own.seen_flops * 100)
    assert formula.step(rows, again, own, device(), 1) == pytest.approx(
        flops / (0.3 * 1e13) + fixed, rel=1e-6
    )


@pytest.mark.parametrize(
    ("name", "layers", "published"), [("m1-max", 4, 250), ("m2-ultra", 16, 475)]
)
def test_training_on_a_mac_is_as_quick_as_mlx_examples_say(name, layers, published):
    """Mistral 7B and Llama 7B, in 16 bits; ml-explore/mlx-examples, lora/README.md."""
    inner, groups = (14_336, 8) if name == "m1-max" else (11_008, 32)
    config = dict(zip(sizes.NAMES, (32, 4096, inner, 32, groups, 32_000), strict=False))
    own = Sized("m", Shape.of(config, 2, True), 0, 0, 0)
    rows = RowSizes(row=100, supervised=100, batch=1, part=8192)
    train = PLAIN.model_copy(update={"layers": layers, "rank": 8})
    one = formula.step(rows, train, own, hardware.TABLE[name], 1)  # without padding
    assert 100 / one == pytest.approx(published, rel=0.2)


def test_gradients_go_round_a_ring():
    rows = RowSizes(row=100, supervised=50, batch=64, part=8192)
    gradient = 4 * model().shape.adapter_parameters(PLAIN)
    alone, four = (
        formula.training(10, rows, PLAIN, model(), Machines(n, device())) for n in (1, 4)
    )
    assert alone.sent == 0 and four.sent == 10 * 2 * 3 / 4 * gradient
    each = formula.step(rows, PLAIN, model(), device(), 16)
    link = 1.5 * gradient / 1e9 + 6 * formula.LATENCY
    assert four.seconds == pytest.approx(10 * (each + link))
    slow = formula.training(10, rows, PLAIN, model(), Machines(4, device(link=1e6)))
    assert (four.mostly, slow.mostly) == ("computing", "sending gradients")


# --------------------------------------------------------------------------- devices and models


def test_machines_are_named_with_their_number_and_memory():
    four = hardware.machines("4xM4-Max:64")
    assert (four.number, four.each.name, four.each.memory) == (4, "m4-max", 64 * GIB)
    assert str(four) == "4 x m4-max" and str(hardware.machines("h100")) == "h100"
    assert hardware.machines("2 * h100", link=5e9).each.link == 5e9
    assert hardware.machines("here").each.bound is None  # this machine says itself
    assert hardware.machines("here:100").each.bound == (int(0.7 * 100 * GIB), "0.7 of 100 GiB")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("m4-mx", "did you mean m4-max"),
        ("0xh100", "from 1 to 4,096"),
        ("9999xh100", "from 1 to 4,096"),
        ("h100:0", "above 0 GiB"),
        ("4x", "names no machines"),
        ("", "names no machines"),
        ("\x1b[31m", "names no machines"),
    ],
)
def test_other_machines_are_refused(text, said):
    with pytest.raises(ModelError, match=said):
        hardware.machines(text)


def test_a_gpu_here_is_looked_up_by_its_name(monkeypatch):
    from star_mlx.engine import estimate

    monkeypatch.setattr(estimate, "device", lambda: (False, "Apple M2 Ultra", 5 * GIB, 1))
    found = hardware.here()
    assert (found.kind, found.flops, found.memory) == ("metal", 27.2e12, 5 * GIB)
    monkeypatch.setattr(estimate, "device", lambda: (False, "NVIDIA H100 80GB HBM3", GIB, 1))
    assert hardware.here().bandwidth == 3350e9
    monkeypatch.setattr(estimate, "device", lambda: (False, "Apple M9", GIB, 1))
    with pytest.raises(ModelError, match="no figures of this machine's Apple M9"):
        hardware.here()


def test_the_typical_models_have_the_parameters_of_their_names():
    for name in sizes.TYPICAL:
        if name != "Llama-3.2-1B":  # which has 1.24 billion
            number = sizes.of_size(name.rpartition("-")[2], 4)
            assert number.name == name
    seven = sizes.of_size("7b", 4)
    assert seven.parameters == pytest.approx(7.615e9, rel=1e-3)
    assert seven.stored() == pytest.approx(seven.parameters * 4.5 / 8)
    assert sizes.of_size("7B", 16).stored() == 2 * seven.parameters


def test_a_size_between_has_more_or_fewer_layers():
    found = sizes.of_size("4.5B", 4)
    assert found.parameters == pytest.approx(4.5e9, rel=0.05) and "layers" in found.name


@pytest.mark.parametrize("text", ["", "7", "7T", "1B7", "-7B", "1M", "99999B", "nanB"])
def test_other_sizes_are_refused(text):
    with pytest.raises(ModelError, match="no size of a model"):
        sizes.of_size(text, 4)


def test_a_config_alone_is_enough(tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    config = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2,
              "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 100,
              "quantization": {"bits": 8, "group_size": 64}}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    found = sizes.of_model(str(folder))
    assert (found.bits, found.folder, found.parameters) == (
        8,
        None,
        2 * (4 * 64 * 64 + 3 * 64 * 128) + 2 * 6400,
    )
    for text, said in (
        ("{", "is not JSON"),
        ("[]", "no object"),
        ('{"hidden_size": 0}', "hidden_size is 0"),
        ('{"num_local_experts": 8}', "a mixture of experts"),
    ):
        (folder / "config.json").write_text(text)
        with pytest.raises(ModelError, match=said):
            sizes.of_model(str(folder))


def test_a_model_that_is_not_here_is_answered_with_its_size():
    with pytest.raises(ModelError, match=r"give --params 0\.5B"):
        sizes.of_model("mlx-community/Qwen2.5-0.5B-4bit")


# --------------------------------------------------------------------------- an iteration


def arithmetic(*overrides):
    few = ("task.options.train=400", "task.options.held_out=10", "evaluate.dev=30")
    return loading.load(task="arithmetic", overrides=[*few, *overrides])


def test_the_work_is_that_of_the_recipe():
    at = at_hand.gather(arithmetic("star.problems=100"))
    work = workload(at, 2, Assumed(failures=0.25))
    assert (work.problems, work.hinted, work.rows, work.steps, work.dev) == (100, 25, 87, 15, 30)
    assert work.few_shot == 0  # the recipe drops it from iteration 2 on
    assert workload(at, 1).few_shot > 0
    assumed = Assumed(prompt=50, completion=70)
    work = workload(at, 1, assumed)
    assert (work.prompt, work.completion, work.row) == (50, 70, 121) and work.longest > 50
    with pytest.raises(RecipeError, match=r"before star\.start_iteration=3"):
        workload(at_hand.gather(arithmetic("star.start_iteration=3")), 2)


def test_attempts_and_rows_are_counted_as_in_the_dry_run():
    at = at_hand.gather(
        arithmetic("star.problems=100", "generate.samples=3", "generate.temperature=0.7")
    )
    least, most = workload(at, 1, Assumed(failures=0)), workload(at, 1, Assumed(failures=1))
    one = plan(at).iterations[0]
    length = one.generated_tokens[0] // least.attempts
    assert (least.attempts, most.attempts) == (300, 300)
    assert one.generated_tokens == (300 * length, (300 + most.hinted) * length)
    assert least.rows == one.rows[1]


def test_memory_and_the_bytes_of_a_row_are_those_of_the_dry_run(capsys):
    given = ["--task", "arithmetic", "--set", "task.options.train=400", "--json"]
    dry = json.loads(called(capsys, "loop", "--dry-run", *given)[1])["plan"]["sizes"]
    made = json.loads(called(capsys, "plan", *given)[1])
    assert made["memory_bytes"] == dry["memory"]
    assert made["model"]["adapter_bytes"] == dry["adapter"]
    assert made["model"]["parameters"] == dry["parameters"]


def test_what_does_not_fit_is_refused_with_the_arithmetic(capsys):
    code, out, err = called(capsys, "plan", "gsm8k", "--params", "70B", "--machines", "m4-pro:24")
    assert (code, out) == (2, "") and len(err.splitlines()) == 1
    assert "its weights take 37 GiB (70.6 billion at about 0.562 bytes each)" in err
    assert "at most 12.6 GiB there (0.7 of the working set" in err
    given = ["--params", "14B", "--machines", "m4-pro:24", "--completion-tokens", "250"]
    code, _, err = called(capsys, "plan", "gsm8k", *given)
    assert code == 2 and "cannot be trained on (train.checkpoint=true needs much less)" in err


def test_the_plan_says_what_is_estimated_and_how_machines_work_together(capsys):
    given = ["plan", "gsm8k", "--params", "7B", "--completion-tokens", "122"]
    code, out, _ = called(capsys, *given, "--machines", "4xm4-max:64")
    assert code == 0 and max(map(len, out.splitlines())) < 130
    assert "Qwen2.5-7B: 7.6B parameters in 4 bits, 4.28 GB in memory" in out
    assert "4 x m4-max: Apple M4 Max, 40 GPU cores; 18.4 TFLOP/s, 546 GB/s, 64 GiB" in out
    assert "estimated, not measured" in out and "several of them were not measured" in out
    code, out, _ = called(capsys, *given, "--machines", "m4-max", "--json")
    alone = json.loads(out)
    assert alone["sent_bytes"] == 0 and alone["measured"] is None
    assert alone["seconds"] == sum(one["seconds"] for one in alone["phases"].values())
    assert alone["work"]["completion"] == 122


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--params", "7B", "--model", "tiny"], "both give a model"),
        (["--recipe", "gsm8k"], "both give a recipe"),
        (["--params", "7B", "--measure"], "--measure needs --machines here"),
        (["--machines", "m4", "--measure"], "--measure needs --machines here"),
        (["--machines", "m4", "--params", "7"], "no size of a model"),
        (["--failures", "2"], "--failures"),
        (["--iteration", "0"], "--iteration"),
        (["--link", "0"], "--link"),
        (["--machines", "m5"], "no figures of a device m5"),
    ],
)
def test_bad_input_is_one_line(capsys, arguments, said):
    code, out, err = called(capsys, "plan", "arithmetic", *arguments)
    assert (code, out) == (2, "") and said in err and len(err.splitlines()) == 1


@pytest.mark.slow
def test_a_measurement_corrects_the_times(capsys, monkeypatch):
    monkeypatch.setattr(timing, "SECONDS", 0.2)
    given = ["--set", "task.options.train=40", "--set", "evaluate.dev=5", "--problems", "8"]
    code, out, _ = called(capsys, "plan", "arithmetic", *given, "--measure")
    assert code == 0 and "corrected by a measurement on this machine" in out
    assert "estimated, not measured" not in out


def test_a_calibration_multiplies_the_phases():
    recipe, own = arithmetic("star.problems=100"), sizes.of_model("tiny")
    work = workload(at_hand.gather(recipe), 1)
    here = hardware.machines("here")
    plain = iteration.forecast(recipe, work, own, here)
    twice = iteration.forecast(recipe, work, own, here, formula.Calibration(2.0, 3.0))
    for phase, factor in (("generate", 2), ("rationalize", 2), ("train", 3), ("evaluate", 2)):
        assert twice.phases[phase].seconds == pytest.approx(factor * plain.phases[phase].seconds)


# --------------------------------------------------------------------------- the page


@pytest.mark.slow
def test_the_tables_of_the_page_are_those_of_the_script():
    spec = importlib.util.spec_from_file_location("scaling", ROOT / "benchmarks" / "scaling.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    sys.modules["scaling"] = script
    try:
        spec.loader.exec_module(script)
        assert script.tables() in (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    finally:
        del sys.modules["scaling"]
