"""llama.cpp itself, prebuilt in the wheel of xllamacpp, which is fetched once and run apart.

It is not installed beside this project's packages: it stands in ``.downloads`` (or the folder
that STAR_MLX_DOWNLOADS names), and a process of its own loads it, so that its threads and mlx's do
not meet.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.downloads import folder

WHEEL = "xllamacpp==2026.10.11549"  # llama.cpp b11549


@dataclass(frozen=True)
class Answer:
    """Token ids of texts, special tokens read as such, and of prompts' greedy continuations; and
    these as text."""

    ids: list[list[int]]
    continuations: list[list[int]]
    completions: list[str]


def ask(
    model: Path,
    *,
    lora: Path | None = None,
    texts: Sequence[str] = (),
    prompts: Sequence[str] = (),
    tokens: int = 0,
    exact: bool = True,
) -> Answer:
    """Load a GGUF file, with an adapter where one is given, and ask it.

    Args:
        texts: to tokenize, without what stands before a prompt.
        prompts: to continue greedily, by at most so many ``tokens``, till an end token.
        exact: compute attention in float32, as MLX does here, so that only the weights' type can
            make a difference; otherwise as llama.cpp's programs do, in half precision.
    """
    job = {
        "model": str(model), "lora": lora and str(lora), "texts": list(texts),
        "prompts": list(prompts), "tokens": tokens, "exact": exact,
    }  # fmt: skip
    return Answer(**_apart(job))


def tokens(
    models: Sequence[Path], texts: Sequence[str], between: int
) -> list[tuple[list[list[int]], list[list[int]]]]:
    """The token ids of texts by each of several models, without what stands before a prompt: with
    special tokens' texts read as such, and as ordinary text.

    ``between`` is the id of a token that no text has, so that all texts are one request.
    """
    job = {"models": list(map(str, models)), "texts": list(texts), "between": between}
    found = [(special, plain) for special, plain in _apart(job)["ids"]]
    for rows in (rows for pair in found for rows in pair):
        assert len(rows) == len(texts), f"a text has the token {between}"
    return found


def margins(
    model: Path, asked: Sequence[tuple[str | Sequence[int], int, tuple[int, int]]]
) -> list[float]:
    """The logit of one token less that of another, with attention in float32.

    Of token ids (and the number 0), the margin after them, read at once. Of a prompt, the margin at
    the token of that number of its greedy continuation, which must be the second of the two. Both
    tokens must be among the first hundred.
    """
    found: list[float] = _apart({"model": str(model), "asked": list(asked)})["margins"]
    return found


def _apart(job: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__], input=json.dumps(job), capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(installed())}, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, f"llama.cpp ended {done.returncode}:\n{done.stderr[-3000:]}"
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def installed() -> Path:
    """The folder that holds the package; where it cannot be fetched the test fails, unless
    STAR_MLX_OFFLINE=1 asks to skip it."""
    place = folder() / WHEEL.replace("==", "-")
    if place.is_dir():
        return place
    if os.environ.get("STAR_MLX_OFFLINE") == "1":
        pytest.skip(f"{place.name} is not in {place.parent}, and STAR_MLX_OFFLINE=1")
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_name(f"{place.name}.lock")):  # one process fetches it
        if not place.is_dir():
            _fetch(place)
    return place


def _fetch(place: Path) -> None:
    part = place.with_name(f"{place.name}.{os.getpid()}")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary",
               ":all:", "--target", str(part), WHEEL]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}", pytrace=False)
    os.replace(part, place)


def program(folder: Path) -> None:
    """Write ``llama-completion`` into a folder: the wheel has no programs.

    It takes those options of llama.cpp's own that a card's commands give, and no others, and
    stands for it where each has the value that a card gives.
    """
    path = folder / "llama-completion"
    root = Path(__file__).resolve().parents[1]
    path.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(root)!r})\n"
        "from tests.llama_cpp import complete\ncomplete(sys.argv[1:])\n"
    )
    path.chmod(0o755)


def complete(arguments: Sequence[str]) -> None:
    """What ``llama-completion`` does with these options, as llama.cpp's ``common/arg.cpp`` (b11434)
    reads them: -bf takes a file as it is, --no-escape leaves its backslashes alone."""
    options = argparse.ArgumentParser(prog="llama-completion", allow_abbrev=False)
    options.add_argument("-m", type=Path, required=True)
    options.add_argument("--lora", type=Path)
    options.add_argument("-bf", type=Path, required=True)
    options.add_argument("-n", type=int, required=True)
    options.add_argument("--temp", choices=["0"], required=True)
    for flag in ("--no-escape", "-no-cnv", "--no-display-prompt"):
        options.add_argument(flag, action="store_true", required=True)
    given = options.parse_args(arguments)
    prompt = given.bf.read_bytes().decode()
    answer = ask(given.m, lora=given.lora, prompts=[prompt], tokens=given.n, exact=False)
    print(answer.completions[0])


# --------------------------------------------------------------------------- the other process


def _serve(
    model: str, lora: str | None = None, exact: bool = False
) -> Callable[..., dict[str, Any]]:
    """Start a server, and return a function that sends it a request."""
    import urllib.request

    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx, params.n_parallel, params.n_gpu_layers, params.warmup = 2048, 1, 0, False
    if exact:
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    # threads of small products, or beside another process that works, wait more than they work
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    if lora:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(lora, 1.0)]
    server = xllamacpp.Server(params)  # on the loopback interface, at a port of its own

    def post(path: str, **body: Any) -> dict[str, Any]:
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(server.listening_address + path, data, headers)
        with urllib.request.urlopen(request) as response:
            return json.load(response)  # type: ignore[no-any-return]

    return post


def _answer(job: dict[str, Any]) -> dict[str, list[Any]]:
    post = _serve(job["model"], job["lora"], job["exact"])
    said = [
        post("/completion", prompt=prompt, n_predict=job["tokens"], temperature=0,
             samplers=["top_k"], top_k=1, cache_prompt=False, return_tokens=True)
        for prompt in job["prompts"]
    ]  # fmt: skip
    return {
        "ids": [
            post("/tokenize", content=text, add_special=False, parse_special=True)["tokens"]
            for text in job["texts"]
        ],
        "continuations": [one["tokens"] for one in said],
        "completions": [one["content"] for one in said],
    }


def _tokenize(job: dict[str, Any]) -> dict[str, list[Any]]:
    content = [part for text in job["texts"] for part in (text, job["between"])]
    found = []
    for model in job["models"]:
        post = _serve(model)
        for special in (True, False):
            answer = post("/tokenize", content=content, add_special=False, parse_special=special)
            rows: list[list[int]] = [[]]
            for token in answer["tokens"]:
                if token == job["between"]:
                    rows.append([])
                else:
                    rows[-1].append(token)
            found.append(rows[:-1])
    return {"ids": list(zip(found[::2], found[1::2], strict=True))}


def _margins(job: dict[str, Any]) -> dict[str, list[Any]]:
    post, found = _serve(job["model"], exact=True), []
    # an end, or a part of a character, would give no probabilities: after ids a letter is chosen
    (letter, *_) = post("/tokenize", content="a", add_special=False)["tokens"]
    for prompt, at, (one, other) in job["asked"]:
        free = isinstance(prompt, str)
        answer = post("/completion", prompt=prompt, n_predict=at + 1, cache_prompt=False,
                      temperature=0, samplers=["top_k"], top_k=1, n_probs=100, ignore_eos=True,
                      logit_bias=[] if free else [[letter, 1e6]])  # fmt: skip
        top = answer["completion_probabilities"][at]["top_logprobs"]
        assert not free or top[0]["id"] == other, f"it does not continue {prompt!r} so"
        by_token = {token["id"]: token["logprob"] for token in top}
        found.append(by_token[one] - by_token[other])
    return {"margins": found}


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    answer = {"models": _tokenize, "asked": _margins, "prompts": _answer}
    print(json.dumps(next(f for key, f in answer.items() if key in asked)(asked)), flush=True)
    os._exit(0)  # the server's own end takes seconds
