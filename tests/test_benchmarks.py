"""The benchmark harness: what contestants are given, the figures, and going on where it was."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
NAMES = ("peers", "results", "run", "table", "work", "common")


@pytest.fixture(scope="module")
def bench():
    """The harness's modules, which are scripts that stand beside each other."""
    paths = [str(BENCHMARKS), str(BENCHMARKS / "contestants")]
    sys.path[:0] = paths
    try:
        yield SimpleNamespace(**{name: __import__(name) for name in NAMES})
    finally:
        for path in paths:
            sys.path.remove(path)
        for name in NAMES:
            sys.modules.pop(name, None)


@pytest.fixture
def gsm8k(tmp_path):
    """GSM8K's two files, with three rows each of our own."""
    rows = [
        {"question": f"Lia has {n} pens and buys 2. How many has she?",
         "answer": f"She has {n} + 2 = <<{n}+2={n + 2}>>{n + 2} pens.\n#### {n + 2}"}
        for n in range(1, 300)
    ]  # fmt: skip
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return tmp_path


SMALL = {"problems": 3, "max_tokens": 8, "examples": 3, "tiny_problems": 5}


def test_median_with_its_spread(bench):
    assert bench.work.spread([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    assert bench.work.spread([4.0]) == (4.0, 4.0, 4.0)


def test_reading_and_decoding_are_scaled_each_by_its_own_rate(bench):
    measured = {"prompt_tokens": 10, "prompt_seconds": 5, "decode_tokens": 4, "decode_seconds": 8}
    assert bench.work.scaled(measured, 100, 6) == pytest.approx(100 * 0.5 + 6 * 2)


def test_agreement_counts_identical_completions_and_what_they_begin_with(bench):
    found = bench.work.agreement([[1, 2, 3], [1, 9], [7]], [[1, 2, 3], [1, 2]])
    assert found == {"of": 2, "identical": 1, "common_prefix": 2.0, "reference_length": 2.5}


def test_the_shots_are_eight_and_read_back_as_their_answers(bench, gsm8k):
    source = bench.work._gsm8k(bench.work.Sizes(**SMALL), gsm8k)
    assert len(source.prompts.examples) == 8
    assert all(source.prompts.task.valid_steps(s, s.rationale) for s in source.prompts.examples)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["iteration", "tiny-iteration"])
def test_everybody_gets_the_same_token_ids(bench, gsm8k, part):
    work = bench.work.build(part, bench.work.Sizes(**SMALL), bench.peers.TINY, gsm8k)
    tokenizer = bench.work.Tokenizer.from_file(str(bench.peers.TINY / "tokenizer.json"))
    assert list(work["phases"]) == ["generation", "hinted", "training"]
    for name in ("generation", "hinted"):
        phase = work["phases"][name]
        assert len(phase["ids"]) == len(phase["prompts"]) == (5 if "tiny" in part else 3)
        begin = phase["ids"][0][: phase["shared"]]
        assert 0 < phase["shared"] <= len(bench.work._ids(tokenizer, phase["prefix"]))
        for ids, prompt in zip(phase["ids"], phase["prompts"], strict=True):
            assert ids == bench.work._ids(tokenizer, phase["prefix"] + prompt)
            assert ids[: phase["shared"]] == begin
    assert work["phases"]["generation"]["prompts"] != work["phases"]["hinted"]["prompts"]
    for row in work["phases"]["training"]["rows"]:
        assert row["ids"][: row["start"]] == bench.work._ids(tokenizer, row["prompt"])
        completion = bench.work._ids(tokenizer, row["completion"])
        assert row["ids"][row["start"] :] == [*completion, work["eos"]]


@pytest.mark.slow
def test_the_training_prompt_shows_no_hint_and_no_examples(bench):
    work = bench.work.build("tiny-iteration", bench.work.Sizes(**SMALL), bench.peers.TINY, None)
    for row in work["phases"]["training"]["rows"]:
        assert row["prompt"].count("Input:") == 1 and row["prompt"].endswith("Target:\n")


def test_a_completion_ends_before_its_stop_and_at_the_end_token(bench):
    tokenizer = bench.work.Tokenizer.from_file(str(bench.peers.TINY / "tokenizer.json"))
    ends = bench.common.Ends(tokenizer, ["\n\n"], 275)
    ids = bench.work._ids(tokenizer, "7 2\n\nInput:")
    wanted = bench.work._ids(tokenizer, "7 2")
    ended = [n for n in range(1, len(ids) + 1) if ends.ended(ids[:n])]
    assert ends.kept(ids) == wanted and ends.kept(ids[: ended[0]]) == wanted
    assert ends.ended([*wanted, 275]) and ends.kept([*wanted, 275, 275]) == wanted


# an iteration trains too; the parts that "tiny" stands for are another test's
ARGUMENTS = ["--parts", "tiny-generation", "tiny-iteration", "--peers", "--repeats", "1",
             "--tiny-problems", "4", "--reference-problems", "0"]  # fmt: skip


@pytest.fixture(scope="module")
def measured(bench, tmp_path_factory):
    """star, really run on the embedded base."""
    folder = tmp_path_factory.mktemp("benchmark")
    where = ["--out", str(folder / "out"), "--work", str(folder / "work")]
    assert bench.run.main([*ARGUMENTS, *where]) == 0
    return folder, where


@pytest.mark.slow
def test_star_is_measured_on_tiny(bench, measured):
    folder, _ = measured
    data = json.loads((folder / "out/results.json").read_text("utf-8"))
    assert [e["part"] for e in data["measurements"]] == [
        "tiny-generation", "tiny-iteration",
    ]  # fmt: skip
    assert not [e for e in data["measurements"] if "error" in e]
    phases = data["measurements"][1]["phases"]
    facts = data["work"]["tiny-iteration"]
    assert phases["training"]["tokens"] == facts["training"]["tokens"]
    assert (
        phases["generation"]["sha256"] == data["measurements"][0]["phases"]["generation"]["sha256"]
    )
    raw = json.loads((folder / "out/raw/tiny-generation-star-1.json").read_text("utf-8"))
    assert len(raw["phases"]["generation"]["completions"]) == 4
    page = (folder / "out/table.md").read_text("utf-8")
    assert "## One STaR iteration, tiny" in page and str(folder) not in page


def test_tiny_stands_for_its_three_parts(bench):
    given = bench.run._checked(bench.run.parser().parse_args(["--parts", "tiny"]))
    assert given.parts == ["tiny-generation", "tiny-training", "tiny-iteration"]


@pytest.mark.slow
def test_what_is_there_is_not_run_again(bench, measured, monkeypatch):
    folder, where = measured
    before = (folder / "out/results.json").read_bytes()

    def refused(*_, **__):
        raise AssertionError("measured again")

    monkeypatch.setattr(bench.peers.Place, "run", refused)
    assert bench.run.main([*ARGUMENTS, *where]) == 0
    assert (folder / "out/results.json").read_bytes() == before
    with pytest.raises(AssertionError, match="measured again"):
        bench.run.main([*ARGUMENTS, *where, "--tiny-problems", "3", "--out", str(folder / "more")])


@pytest.mark.slow
def test_a_peer_that_fails_is_reported_and_tried_again_later(bench, tmp_path, monkeypatch):
    calls = []

    def run(self, script, environment, work, timeout):
        calls.append(script)
        if script == "hf.py" and len(calls) < 6:
            raise bench.work.BenchmarkError("no such wheel")
        return {
            "seconds": 2.0 if script == "hf.py" else 1.0, "load_seconds": 0.5, "peak_rss": 1 << 30,
            "versions": {"star-mlx": "0"}, "settings": work["settings"],
            "phases": {"training": {"seconds": 1.0, "tokens": 9, "losses": [2.0, 1.0]}},
        }  # fmt: skip

    monkeypatch.setattr(bench.peers.Place, "run", run)
    arguments = ["--parts", "tiny-training", "--peers", "transformers-fp32", "llama.cpp",
                 "--repeats", "2", "--tiny-problems", "4", "--no-trials",
                 "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]  # fmt: skip
    assert bench.run.main(arguments) == 0
    assert calls == ["star.py", "hf.py", "star.py"]  # in turns; what failed is left for this run
    page = (tmp_path / "out/table.md").read_text("utf-8")
    assert "- transformers-fp32 failed: no such wheel" in page
    assert "- llama.cpp is not run: there is no GGUF file of tiny" in page
    calls += ["", "", ""]
    assert bench.run.main(arguments) == 0
    assert calls[6:] == ["hf.py", "hf.py"]
    page = (tmp_path / "out/table.md").read_text("utf-8")
    assert "failed" not in page
    row = next(line for line in page.splitlines() if line.startswith("| transformers-fp32 "))
    assert row.split(" | ")[1:4] == ["2", "2.00", "2.00"]
    (tmp_path / "out/table.md").unlink()
    assert bench.run.main(["table", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/table.md").read_text("utf-8") == page


def test_scaled_contestants_are_marked_and_summed_to_an_iteration(bench):
    facts = {
        "generation": {"rows": 2, "tokens": 100, "shared": 40, "max_tokens": 8},
        "hinted": {"rows": 2, "tokens": 200, "shared": 60, "max_tokens": 8},
        "training": {"rows": 4, "tokens": 50},
    }
    rates = {"prompt_tokens": 10, "prompt_seconds": 10, "decode_tokens": 2, "decode_seconds": 4}
    slow = {"contestant": "mlx-lm", "repeat": 0, "work": "d", "slow": True, "seconds": 1.0,
            "load_seconds": 1.0, "peak_rss": 1, "settings": {}}  # fmt: skip
    made = {"generation": {"measured": {"rows": 1, **rates}}}
    taught = {"training": {"losses": [1.0], "measured": {"rows": 1, "tokens": 5, "seconds": 10}}}
    data = {
        "work": {
            "generation": {"digest": "d", "generation": facts["generation"]},
            "training": {"digest": "d", "training": facts["training"]},
            "iteration": {"digest": "d", **facts},
        },
        "trials": [],
        "skipped": [],
        "measurements": [
            {**slow, "part": "generation", "phases": made},
            {**slow, "part": "training", "phases": taught},
        ],
    }
    assert bench.table.seconds(data, "generation", "mlx-lm") == [100 * 1 + 16 * 2]
    assert bench.table.seconds(data, "training", "mlx-lm") == [50 * 2]
    assert bench.table.summed(data, "iteration") == {
        "generation": 132, "hinted": 232, "training": 100,
    }  # fmt: skip
    page = bench.table.page(data)
    assert "| mlx-lm (scaled) | - | 464 |" in page
    assert "scaled from 1 problems / 10 prompt tokens (1.00 a second)" in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--parts", "generating"], "--parts generating: there are generation, training"),
        (["--peers", "vllm"], "--peers vllm: there are mlx-lm"),
        (["--repeats", "0"], "'0' is not a number from 1 up"),
        (["--parts", "training", "--peers", "--model", str(BENCHMARKS)], "is no model's folder"),
        (["table"], "run the benchmark first"),
    ],
)
def test_bad_arguments_are_one_line(bench, tmp_path, capsys, arguments, said):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    arguments = [str(model) if a == str(BENCHMARKS) else a for a in arguments]
    where = ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    try:
        code = bench.run.main([*arguments, *where])
    except SystemExit as stopped:
        code = stopped.code
    printed = capsys.readouterr().err
    assert code == 2 and said in printed and printed.count("\n") == 1
