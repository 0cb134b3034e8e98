"""Finding and loading a base: what it may be called, and one clear line where it cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from star_mlx.engine import open_engine, resolve
from star_mlx.errors import ModelError
from tests import tiny_random


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_random.write(tmp_path_factory.mktemp("base") / "model", bits=4)


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Path:
    for path in good.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_what_describes_a_base(good: Path) -> None:
    found = open_engine(str(good)).describe()
    assert found["name"] == str(good)
    assert found["architecture"] == "llama"
    assert (found["bits"], found["context"]) == (4, 512)
    assert found["hash"] == resolve.content_hash(good)
    json.dumps(dict(found))


def test_the_hash_is_of_the_content(copy: Path, good: Path) -> None:
    assert resolve.content_hash(copy) == resolve.content_hash(good)
    (copy / "README.md").write_text("no part of the model")
    assert resolve.content_hash(copy) == resolve.content_hash(good)
    with open(copy / "model.safetensors", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    assert resolve.content_hash(copy) != resolve.content_hash(good)


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        ("config.json", "holds no config.json"),
        ("model.safetensors", r"holds no model\*.safetensors weights"),
        ("tokenizer*", "holds no tokenizer"),
    ],
)
def test_a_folder_that_lacks_something(copy: Path, missing: str, text: str) -> None:
    for path in copy.glob(missing):
        path.unlink()
    with pytest.raises(ModelError, match=text):
        open_engine(str(copy))


def test_a_folder_of_another_format_says_which(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "model.gguf")
    with pytest.raises(ModelError, match=r"it has model\.gguf, which `star-mlx import-gguf`"):
        open_engine(str(copy))


def test_an_unknown_architecture(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "model_type": "nonesuch"}))
    with pytest.raises(ModelError, match=r"nonesuch not supported.*choose another base"):
        open_engine(str(copy))


def test_broken_files(copy: Path) -> None:
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[:100])
    with pytest.raises(ModelError, match="cannot be loaded"):
        open_engine(str(copy))
    (copy / "config.json").write_text("{")
    with pytest.raises(ModelError, match="is not JSON"):
        open_engine(str(copy))
    (copy / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="names no model_type"):
        open_engine(str(copy))


def test_names_that_are_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smollm").mkdir()
    (tmp_path / "a.gguf").write_text("")
    for name, text in {
        "tyny": r"no folder tyny.*did you mean tiny\?",
        "smolm": r"no folder smolm.*did you mean smollm\?",
        "a/b/c": "not a Hub id",
        "a.gguf": "is a file.*import-gguf",
    }.items():
        with pytest.raises(ModelError, match=text):
            resolve.find(name)


def test_the_hub_is_asked_for_a_revision_and_few_files(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def snapshot(
        name: str, *, revision: str | None, allow_patterns: list[str], local_files_only: bool,
        ignore_patterns: list[str],
    ) -> str:  # fmt: skip
        asked.append((name, revision))
        assert "model*.safetensors" in allow_patterns and not local_files_only
        return str(good)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert resolve.find("org/name@v1").folder == good
    resolve.find("org/name", revision="abc")
    resolve.find("org/name")
    assert asked == [("org/name", "v1"), ("org/name", "abc"), ("org/name", None)]


def test_what_the_hub_may_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import errors

    def answer(kind: type[Exception]) -> Exception:
        error = kind.__new__(kind)
        error.args = ("Cannot reach the Hub.\nmore",)
        return error

    answers: list[Exception] = []

    def fail(*args: object, **options: object) -> None:
        raise answers[-1]

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    for kind, text in {
        errors.RepositoryNotFoundError: "no repository org/name on the Hub",
        errors.RevisionNotFoundError: "has no revision 'v9'",
        errors.GatedRepoError: "is gated",
        errors.LocalEntryNotFoundError: "download it where there is a network and pass its folder",
        errors.OfflineModeIsEnabled: "download it where there is a network",
        TimeoutError: "download it where there is a network",
    }.items():
        answers.append(answer(kind))
        with pytest.raises(ModelError, match=text):
            resolve.find("org/name@v9")


@pytest.mark.skipif(not resolve.TINY.is_dir(), reason="the embedded base is not built yet")
def test_tiny_is_the_shipped_folder() -> None:
    assert resolve.find("tiny") == resolve.Found("tiny", resolve.TINY)


def test_a_model_at_hand_is_found_without_asking_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def snapshot(name: str, **options: Any) -> str:
        asked.append(options["local_files_only"])
        raise OSError("not in the cache")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert resolve.at_hand("org/name") is None and asked == [True]
    found = resolve.at_hand("tiny")
    assert found is not None and found.folder == resolve.TINY
    with pytest.raises(ModelError, match="no folder"):
        resolve.at_hand("not/a/model")


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_large_weights_are_dequantized_in_parts_to_the_same_numbers(
    bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlx.core as mx
    import mlx.nn as nn
    import numpy as np

    from star_mlx.engine import load

    monkeypatch.setattr(load, "PART", 1 << 12)
    model = nn.Sequential(nn.Embedding(300, 64), nn.Linear(64, 32))
    nn.quantize(model, group_size=32, bits=bits)
    ((name, parts),) = load._large(model)
    table = model.layers[0]
    whole = mx.dequantize(table.weight, table.scales, table.biases, 32, bits)
    assert name == "layers.0" and len(parts) > 2
    assert np.array_equal(np.array(mx.concatenate(parts)), np.array(whole))


# --------------------------------------------------------------------------- tokenizer.json


def changed_tokenizer(folder: Path, change: Any) -> None:
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize("prefix", ["##", "é", "☃", "x" * 100_000])
@pytest.mark.parametrize("pairs", [True, False])
def test_a_prefix_that_tokenizers_would_panic_on(copy: Path, prefix: str, pairs: bool) -> None:
    def change(values: dict[str, Any]) -> None:
        model = values["model"]
        merges = [["a", "##b"], ["a", "b"]]
        merges = [[a, b.replace("##", prefix)] for a, b in merges]
        model["merges"] = merges if pairs else [" ".join(merge) for merge in merges]
        model["continuing_subword_prefix"] = prefix

    changed_tokenizer(copy, change)
    with pytest.raises(ModelError) as caught:
        resolve.check(copy)
    assert str(caught.value).startswith(
        f"{copy / 'tokenizer.json'} is damaged: model.continuing_subword_prefix "
    )
    assert "is longer than the second token of merge 2; get it" in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(copy))


def test_a_prefix_that_fits_is_no_error(copy: Path) -> None:
    def change(values: dict[str, Any]) -> None:
        values["model"] |= {"continuing_subword_prefix": "##", "merges": [["a", "##b"]]}

    changed_tokenizer(copy, change)
    resolve.check(copy)


@pytest.mark.parametrize(
    ("padding", "named"),
    [
        ({"strategy": {"Fixed": 2**31}, "pad_to_multiple_of": None}, "padding.strategy of 2147"),
        ({"strategy": "BatchLongest", "pad_to_multiple_of": 2**40}, "padding.pad_to_multiple_of"),
    ],
)
def test_padding_that_would_abort_the_process(copy: Path, padding: Any, named: str) -> None:
    changed_tokenizer(copy, lambda values: values.update(padding=padding))
    with pytest.raises(ModelError, match=named):
        resolve.check(copy)
    fits = {"strategy": {"Fixed": 512}, "pad_to_multiple_of": 8}
    changed_tokenizer(copy, lambda values: values.update(padding=fits))
    resolve.check(copy)


@pytest.mark.parametrize(
    ("normalizer", "text"),
    [
        ({"type": "Precompiled", "precompiled_charsmap": "AAAA"}, "cannot be loaded: .*charsmap"),
        ({"type": "Replace", "pattern": {"String": ""}, "content": "xy"}, "cannot read 'a'"),
    ],
)
def test_a_panic_of_tokenizers_is_one_line(copy: Path, normalizer: Any, text: str) -> None:
    changed_tokenizer(copy, lambda values: values.update(normalizer=normalizer))
    with pytest.raises(ModelError, match=text):
        open_engine(str(copy))
