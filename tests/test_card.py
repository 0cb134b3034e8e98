"""The model card: metadata the Hub reads, a body from the run, and foreign text that stays text."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest
import yaml
from msgspec.structs import replace

from star_mlx import export as exports
from star_mlx.data.hub_client import HubError
from star_mlx.errors import RunError
from star_mlx.export import facts, run_record
from star_mlx.measure import verdict
from star_mlx.measure.baselines import TRAINED
from star_mlx.share import card as cards
from star_mlx.share import dataset, folder, license, snippets
from star_mlx.share.markdown import code, fence, inline, table
from star_mlx.share.metadata import License
from star_mlx.store import reading
from star_mlx.store.results import Vote
from star_mlx.types import Question
from tests import hub_writing
from tests.lines import json_lines

pytestmark = pytest.mark.slow

MIT = License("mit")
NASTY = (
    "```\n</details><script>alert(1)</script>\n````` \n---\n# Heading | [link](javascript:x) "
    "![i](x)\n\x1b[31m~~~\n"
)


@pytest.fixture(scope="module")
def run(small_run):
    return small_run


@pytest.fixture(scope="module")
def known(run):
    return facts.gather(run, "2")


def front(text: str) -> dict:
    from huggingface_hub import ModelCard

    return ModelCard(text).data.to_dict()


def card(known, formats=("mlx", "peft"), **more):
    return cards.card(known, "user/name", MIT, formats=formats, **more)


# --------------------------------------------------------------------------- metadata


def test_the_metadata_is_what_the_hub_takes_and_says_split_and_n(known):
    text = card(known)
    assert hub_writing.validate_yaml(text)[0] == 200
    data = front(text)
    assert data["license"] == "mit" and data["library_name"] == "mlx"
    assert data["pipeline_tag"] == "text-generation" and data["metrics"] == ["accuracy"]
    assert {"star-mlx", "lora", "mlx", "peft", "arithmetic"} <= set(data["tags"])
    assert "base_model" not in data, "tiny is not on the Hub"
    [model] = data["model-index"]
    assert model["name"] == "name"
    found = {
        (r["dataset"]["split"], m["type"]): (m["value"], m["args"]["n"])
        for r in model["results"]
        for m in r["metrics"]
    }
    assert found["dev", "accuracy"] == (known.line.dev.accuracy, 20)
    [result] = known.results
    assert found["test", "accuracy"] == (result.accuracy, result.n)


def test_a_base_of_the_hub_is_named_with_its_commit_as_an_adapters_base(known):
    commit = "a" * 40
    base = facts.BaseFacts("org/base", "org/base", commit, "h", 16, 135_000_000, "llama")
    on_hub = dataclasses.replace(known, base=base)
    data = front(card(on_hub))
    assert (data["base_model"], data["base_model_relation"]) == ("org/base", "adapter")
    assert data["base_model_revision"] == commit
    assert f"load('org/base', revision='{commit}'" in snippets.mlx(on_hub, "user/name")
    assert "base = 'org/base'\n" in snippets.peft(on_hub, "user/name")


def test_several_samples_give_pass_and_vote_with_their_n(known):
    result = replace(
        known.results[0], samples=4, accuracy=0.5, pass_at_k={"1": 0.5, "4": 0.75},
        maj_at_k={"4": Vote(12, 0.6, (0.4, 0.8))},
    )  # fmt: skip
    text = card(dataclasses.replace(known, results=(result,)))
    data = front(text)
    metrics = [m for r in data["model-index"][0]["results"] for m in r["metrics"]]
    assert {"pass@4", "maj@4"} <= {m["type"] for m in metrics}
    assert all(m["args"]["n"] for m in metrics)
    bounded = {m["type"] for m in metrics if "ci95" in m["args"]}
    assert bounded == {"accuracy", "maj@4"}, "the interval of the accuracy is not that of pass@4"
    assert re.search(r"\| pass@4 .* \| test \| 75.0% \|  \| \d+ \|", text)


# --------------------------------------------------------------------------- the body


def test_the_body_tells_each_iteration_as_the_metrics_have_it(known):
    text = card(known)
    told = [line for line in text.splitlines() if line.startswith("| ")]
    for line in known.metrics[1:]:
        numbers = [line.problems, line.solved, line.rationalized, line.examples, line.steps]
        row = " | ".join(map(str, numbers))
        assert any(row in found for found in told), row
    assert "**2** (this)" in text


def test_the_body_has_baselines_intervals_and_the_paired_tests_in_words(known):
    text = card(known)
    assert "the base, few-shot" in text and "the base, without examples" in text
    assert facts.BASELINES.keys() == {"zero-shot", *TRAINED}, "every baseline has a name"
    assert "| number of digits | right | 95% interval | n |" in text
    low, high = known.line.dev.ci95
    assert f"{100 * low:.1f} to {100 * high:.1f}" in text
    pair = known.line.compared["base"]
    assert f"dev: iteration 2 is {pair.verdict}" in text
    assert f"(n = {pair.n})" in text
    assert inline(known.results[0].against[0].words) in text
    assert "exact McNemar" in text


def test_step_validity_and_failures_are_counted_from_the_run(run, known):
    rows = list(json_lines(run / "iterations/002/eval.jsonl"))
    right = sum(row["correct"] for row in rows)
    text = card(known)
    assert f"Of 20 dev problems {right} are answered right" in text
    failures = known.failures
    assert failures.right + failures.wrong + failures.unread + failures.cut == 20
    valid = known.line.valid_steps["direct"]
    assert f"{valid.n} rationales kept without hint that can be checked, {valid.valid}" in text


def test_samples_are_drawn_by_a_hash_and_can_be_left_out(run, known):
    rows = list(json_lines(run / "iterations/002/eval.jsonl"))
    again = facts.gather(run, "2")
    assert again.samples == known.samples and known.samples
    rights = [s for s in known.samples if s.right]
    assert len(rights) == min(facts.SAMPLES, sum(row["correct"] for row in rows))
    without = facts.gather(run, "2", samples=False)
    assert without.samples == ()
    assert "drawn by a hash" not in card(without)


def test_the_prompt_the_decoding_the_recipe_and_the_hashes_are_there(run, known):
    text = card(known)
    assert "greedy (temperature 0), at most 80 tokens" in text
    made = reading.read(run).provenance
    for value in (made["data_sha256"], made["prompts_sha256"], made["base"]["hash"]):
        assert value in text
    assert reading.file_sha256(run / "iterations/002/adapter/adapters.safetensors") in text
    assert "digits:" in text and "learning_rate" in text
    first = card(facts.gather(run, "1"))
    assert "With this few-shot prompt in front of every question" in first
    assert "Input:\n2 7 + 4 5\nTarget:\n<scratch>" in first
    assert "Without a few-shot prompt" in text, "dropped from iteration 2 on"


def test_the_verdict_opens_the_card_without_the_path_of_the_run(run, known):
    text = card(known)
    judged = verdict.of_run(reading.read(run), run="RUN", iteration=2)
    assert known.verdict == judged and judged.iteration == 2
    words = [str(inline(line)) for line in judged.sentences]
    places = [text.index(line) for line in words]
    assert places == sorted(places) and places[-1] < text.index("## Results")
    assert str(run) not in text and "\n\n\n" not in text.split("## Results")[0]
    assert "To try next" not in text, "advice is for whoever made it"


def test_the_iteration_that_is_shared_is_judged(run):
    first = facts.gather(run, "1").verdict
    assert first.iteration == 1 and "iteration 1 answers" in first.sentences[0]


def test_the_card_is_the_same_for_the_same_run(run, known):
    assert card(facts.gather(run, "2")) == card(known)


# --------------------------------------------------------------------------- foreign text


def outside_fences(text: str) -> str:
    """What a Markdown reader takes as markup: all but the fenced blocks."""
    kept, closing = [], None
    for line in text.splitlines():
        ticks = re.match(r" {0,3}(`{3,})", line)
        if closing is None and ticks:
            closing = ticks[1]
        elif closing is not None:
            if re.fullmatch(rf" {{0,3}}`{{{len(closing)},}}\s*", line):
                closing = None
        else:
            kept.append(line)
    assert closing is None, "a block that never ends"
    return "\n".join(kept)


def test_a_models_output_cannot_leave_its_block_nor_become_markup(known):
    nasty = facts.Sample(NASTY, NASTY, NASTY, NASTY, NASTY, False, "stop")
    asking = dataclasses.replace(
        known.asking, question=NASTY, asked=NASTY, few_shot=NASTY, stop=(NASTY,)
    )
    recipe = {**known.recipe, "task": {"name": NASTY, "options": {"ask": NASTY}}}
    changed = dataclasses.replace(known, samples=(nasty,), asking=asking, recipe=recipe)
    text = card(changed, notes=[inline(NASTY)])
    markup = outside_fences(text.split("\n---\n", 1)[1])
    assert "\x1b" not in text
    plain = re.sub(r"(`+)[^`].*?(?<!`)\1(?!`)", "", markup)
    assert "<script" not in plain and "</details" not in plain
    assert not re.search(r"(?<!\\)\]\(javascript", plain)
    assert front(text)["tags"][-1] != "# Heading" and yaml.safe_load(text.split("---\n")[1])
    assert "alert(1)" in text, "it is shown"


@pytest.mark.parametrize("text", ["", "`", "```", "a ```` b", "``` \n", "~~~", "x" * 10 + "\n\n"])
def test_a_fence_is_longer_than_any_in_the_text(text):
    block = fence(text)
    opening = re.match("`+", block)[0]
    assert opening not in text and block.endswith("\n" + opening)


def test_cells_and_words_cannot_break_a_table():
    shown = table(("a", "b"), [(inline("x | y\nz"), code("p|q`r"))])
    *_, row = shown.splitlines()
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    assert inline("<b>*x*</b>") == r"&lt;b&gt;\*x\*&lt;/b&gt;"


def test_no_path_of_the_machine_is_published(run, tmp_path):
    recipe = reading.read(run).values
    recipe["task"]["options"]["data"] = str(tmp_path / "secret/mine.jsonl")
    recipe["prompts"]["file"] = str(tmp_path / "secret/prompts.yaml")
    recipe["model"]["path"] = str(tmp_path / "secret/base")
    recipe["provenance"]["base"]["name"] = str(tmp_path / "secret/base")
    recipe["star"]["start_from"] = str(tmp_path / "secret/run")
    text = json.dumps(facts.published(recipe))
    assert "secret" not in text and str(tmp_path) not in text
    assert all(name in text for name in ("mine.jsonl", "prompts.yaml", '"base"', '"run"'))
    recipe["model"]["path"] = recipe["provenance"]["base"]["name"] = "org/name"
    recipe["provenance"]["base"]["revision"] = "a" * 40
    assert facts.published(recipe)["model"]["path"] == "org/name"


# --------------------------------------------------------------------------- refusals, license


def test_the_base_has_no_card_of_its_own(run):
    with pytest.raises(RunError, match="iteration 0 is the base"):
        facts.gather(run, "0")


def test_a_baseline_is_no_run_of_star(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    values = yaml.safe_load((copy / "recipe.yaml").read_text())
    (copy / "recipe.yaml").write_text(yaml.safe_dump({**values, "baseline": "sft"}))
    with pytest.raises(RunError, match=r"is a baseline \(sft\)"):
        facts.gather(copy, "2")


def test_the_license_is_the_bases_or_asked_for(tmp_path):
    from star_mlx.engine.resolve import TINY, Found

    assert license.of(Found("tiny", TINY), None).id == "apache-2.0"
    base = Found("mine", tmp_path)
    with pytest.raises(HubError, match=r"license of the base mine is not known: give it with --l"):
        license.of(base, None)
    assert license.of(base, "mit") == License("mit")
    with pytest.raises(HubError, match="--license My License: write it as the Hub does"):
        license.of(base, "My License")
    (tmp_path / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    assert license.of(base, None).id == "cc-by-4.0"
    (tmp_path / "README.md").write_text(
        "---\nlicense: other\nlicense_name: own\nlicense_link: LICENSE\n---\n"
    )
    assert license.of(base, None) == License("other", "own", "LICENSE")
    (tmp_path / "README.md").write_text("---\nlicense: [a\n---\n")
    with pytest.raises(HubError, match="is not known"):
        license.of(base, None)


# --------------------------------------------------------------------------- the folder


def exporter(run, iteration, format, out, *, emit):
    out.mkdir(parents=True)
    for name in ("adapters.safetensors", "adapter_config.json"):
        shutil.copy(run / f"iterations/{int(iteration):03d}/adapter" / name, out / name)


def test_the_same_run_gives_the_same_bytes(run, tmp_path, monkeypatch):
    monkeypatch.setattr(exports, "export", exporter)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        folder.build(run, "user/name", tmp_path / name, MIT, iteration="1")
    a, b = (run_record.files(tmp_path / name) for name in ("a", "b"))
    assert list(a) == list(b) and "run/prompt.txt" in a and "peft/adapters.safetensors" in a
    for name in a:
        assert a[name].read_bytes() == b[name].read_bytes(), name
    manifest = json.loads(a[run_record.MANIFEST].read_text())
    assert set(manifest["files"]) == set(a) - {run_record.CARD, run_record.MANIFEST}
    assert (folder.PICTURE in a) == (find_spec("matplotlib") is not None)


def test_a_form_that_the_adapter_has_no_place_in_is_left_out_or_refused(run, tmp_path, monkeypatch):
    def no_peft(run, iteration, format, out, *, emit):
        if format == "peft":
            raise RunError("tied embeddings | cannot be")
        exporter(run, iteration, format, out, emit=emit)

    monkeypatch.setattr(exports, "export", no_peft)
    (tmp_path / "a").mkdir()
    said = []
    folder.build(run, "user/name", tmp_path / "a", MIT, iteration="2", emit=said.append)
    assert not (tmp_path / "a/peft").exists()
    assert "left out peft: tied embeddings" in said[0].text
    text = (tmp_path / "a/README.md").read_text()
    assert "There is no `peft` form of this adapter" in text and "PeftModel" not in text
    (tmp_path / "b").mkdir()
    with pytest.raises(RunError, match="tied embeddings"):
        folder.build(run, "user/name", tmp_path / "b", MIT, iteration="2", formats=("peft",))


def test_an_exported_folder_can_be_given_what_try_needs(run, tmp_path):
    from star_mlx.export import pulled
    from star_mlx.share import asked

    exporter(run, "2", "mlx", tmp_path / "out", emit=print)
    assert not pulled.is_pulled(tmp_path / "out")
    run_record.carry(run, "last", tmp_path / "out")
    assert pulled.is_pulled(tmp_path / "out")
    found = asked.ask(tmp_path / "out", "7 8 + 4 5")
    assert (found["iteration"], found["gold"]) == (2, "1 2 3")


# --------------------------------------------------------------------------- the snippets

TURNS = (("system", "s"), ("user", "it's `1`\n"), ("assistant", "{2}"))
HUB = facts.BaseFacts("org/base", "org/base", "a" * 40, "h", 4, 1000, "llama")
FOLDER = facts.BaseFacts("base", None, None, "h", 16, None, "mistral")
POSED = Question("it's {3} 100%\n\\n `x`", (("A", "one's"), ("B", "{question}")))


@pytest.mark.parametrize("base", [None, HUB, dataclasses.replace(HUB, bits=16), FOLDER])
@pytest.mark.parametrize("turns", [None, (), TURNS])
@pytest.mark.parametrize("shapes", [("mlx", "peft"), ("mlx", "gguf-lora"), ("mlx", "gguf")])
def test_the_snippets_are_python_and_shell_for_every_base_and_prompt(known, base, turns, shapes):
    asked = dataclasses.replace(known.asking, turns=turns, posed=POSED, asked="it's {3}\n `x`\n")
    made = dataclasses.replace(known, base=base or known.base, asking=asked)
    text = snippets.section(made, "user/name", shapes, [])
    for code_block in re.findall(r"^`{3,}python\n(.*?)^`{3,}$", text, re.S | re.M):
        compile(code_block, "snippet", "exec")
    shell = re.findall(r"^`{3,}sh\n(.*?)^`{3,}$", text, re.S | re.M)
    for code_block in shell:
        subprocess.run(["sh", "-n"], input=code_block, text=True, check=True)
    [llama_cpp] = [code_block for code_block in shell if "llama-completion" in code_block]
    assert ("add_bos_token=bool:false" in llama_cpp) == (turns is not None)


def test_the_prompt_for_llama_cpp_is_put_together_as_it_was_trained(known, tmp_path):
    asked = dataclasses.replace(known.asking, posed=POSED)
    text = snippets.section(dataclasses.replace(known, asking=asked), "user/name", ["gguf"], [])
    (tmp_path / "adapter/gguf").mkdir(parents=True)
    for used, before in ((True, "few\n\n"), (False, "")):
        values = {"few_shot": "few\n\n", "few_shot_used": used}
        values["template"] = "<{question}>\n(A) {choice A}\n(B) {choice B}\n"
        (tmp_path / "adapter/gguf/prompt.json").write_text(json.dumps(values))
        code = text.split("'END'\n")[1].split("\nEND\n")[0]
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
        made = (tmp_path / "prompt.txt").read_text()
        assert made.startswith(f"{before}<it's {{3}} 100%\n\\n `x`>\n(A) one's\n(B) ")


def test_no_commands_for_llama_cpp_where_the_base_has_no_form_there(known):
    base = dataclasses.replace(HUB, architecture="mamba")
    made = dataclasses.replace(known, base=base)
    assert "llama" not in snippets.section(made, "user/name", ["mlx", "peft"], [])


# --------------------------------------------------------------------------- the data set


@pytest.mark.parametrize("form", dataset.FORMATS)
def test_the_kept_rationales_are_a_data_set_with_its_card(run, known, tmp_path, form):
    n = dataset.build(run, "user/rows", tmp_path, known, form=form, license_id=None)
    rows = [
        row
        for number in (1, 2)
        for row in json_lines(run / f"iterations/{number:03d}/examples.jsonl")
        if row["iteration"] == number
    ]
    assert n == len(rows) > 0
    if form == "jsonl":
        read = list(json_lines(tmp_path / "data/train.jsonl"))
    else:
        pytest.importorskip("pyarrow")
        import pyarrow.parquet

        read = pyarrow.parquet.read_table(tmp_path / "data/train.parquet").to_pylist()
    assert read == [{name: row[name] for name in dataset.COLUMNS} for row in rows]
    text = (tmp_path / "README.md").read_text()
    data = front(text)
    assert data["configs"][0]["data_files"] == f"data/train.{form}"
    assert data["license"] == "apache-2.0" and data["size_categories"] == ["n<1K"]
    assert outside_fences(text)
