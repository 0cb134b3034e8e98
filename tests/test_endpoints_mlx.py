"""The real mlx_lm.server: completions, adapters, and a run by it."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import star_mlx as sx
from star_mlx import endpoints
from star_mlx.engine import resolve
from star_mlx.settings import Endpoints
from star_mlx.types import Amount, Completion, Decoding, Example
from tests import tiny_random

pytestmark = pytest.mark.slow

PROMPTS = [f"Question {i}: what is {i} and {i}?" for i in range(6)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random model whose texts begin with a start token."""
    return tiny_random.write(tmp_path_factory.mktemp("models") / "random", bos=True)


@pytest.fixture(scope="module")
def url(folder, tmp_path_factory):
    """A server of that model."""
    home = tmp_path_factory.mktemp("home")
    (home / "hub").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlx_lm", "server", "--model", str(folder)]
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    with (
        open(home / "log", "w") as log,
        subprocess.Popen(
            [*command, "--port", str(port)], env=environment, stdout=log, stderr=log
        ) as process,
    ):
        try:
            for _ in range(600):
                assert process.poll() is None, (home / "log").read_text()
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                    break
                except OSError:
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()


@pytest.fixture(scope="module")
def engine(folder) -> Any:
    return sx.load_model(folder)


@pytest.fixture(scope="module")
def adapter(engine, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("adapters") / "adapter"
    out.mkdir()
    text = "abc abc abc"
    row = Example("one", PROMPTS[0], text, "given", tuple(engine.encode(text)), 1)
    settings = sx.Train(learning_rate=0.02, warmup=0, batch_size=1)
    engine.train([row], settings, Amount(steps=4), seed=0, out=out, progress=lambda step: None)
    return out


def completions(
    engine: Any, adapter: Path | None = None, temperature: float = 0.0, stop: tuple[str, ...] = ()
) -> list[Completion]:
    decoding = Decoding(max_tokens=24, stop=stop, temperature=temperature)
    return engine.generate(
        PROMPTS, decoding, prefix="An example. ", adapter=adapter, seeds=range(len(PROMPTS)),
        progress=lambda done, tokens: None,
    )  # fmt: skip


def remote(url: str, engine: Any, **more: Any) -> Any:
    return endpoints.open_endpoints(Endpoints(urls=[url], **more), engine, rng=random.Random(0))


def test_greedy_completions_are_those_of_the_local_engine(url, engine, adapter):
    generator = remote(url, engine)
    here = completions(engine)
    assert completions(generator) == here
    stop = (here[0].text[5:7],)
    assert completions(generator, stop=stop) == completions(engine, stop=stop)
    changed = completions(generator, adapter)
    assert changed == completions(engine, adapter) and changed != here
    assert completions(generator) == here  # the adapter is off again
    assert generator.served.requests == 4 * len(PROMPTS)
    asked = [len(engine._text.prompt(f"An example. {prompt}")) for prompt in PROMPTS]
    assert generator.served.prompt_tokens == 4 * sum(asked)  # with one start token


def test_sampled_completions_follow_from_their_seeds(url, engine):
    generator = remote(url, engine)
    made = completions(generator, temperature=1.0)
    assert completions(generator, temperature=1.0) == made
    assert len({one.text for one in made}) == len(made)


def test_a_tokenizer_alone_suffices_to_generate(url, folder, engine):
    from star_mlx.engine import open_tokenizer

    generator = remote(url, open_tokenizer(resolve.find(str(folder))))
    assert completions(generator) == completions(engine)


def test_an_adapter_that_it_cannot_read_is_refused(url, engine, tmp_path):
    generator = remote(url, engine)
    with pytest.raises(sx.EndpointError, match=r"it answers 404: .*adapter"):
        completions(generator, tmp_path / "nowhere")


def test_a_run_by_it_is_the_local_run(url, tmp_path):
    settings: dict[str, Any] = {
        "task.options": {"digits": [1, 2], "train": 200},
        "star.iterations": 2,
        "star.problems": 3,
        "star.schedule.start": 2,
        "train.warmup": 0,
        "evaluate.dev": 2,
        "evaluate.zero_shot": False,
    }
    engine = sx.load_model("tiny")
    sx.train("arithmetic", out=tmp_path / "here", engine=engine, settings=settings, progress=False)
    servers = {"endpoints.urls": [url], "endpoints.model": str(resolve.TINY)}
    told: list[Any] = []
    sx.train(
        "arithmetic", out=tmp_path / "run", engine=engine, settings={**settings, **servers},
        on_event=told.append,
    )  # fmt: skip
    for name in ("001/attempts.jsonl", "002/attempts.jsonl", "002/eval.jsonl"):
        one, other = (tmp_path / run / "iterations" / name for run in ("here", "run"))
        assert one.read_bytes() == other.read_bytes(), name
    lines = [one.text for one in told if isinstance(one, sx.Notice)]
    assert f"{url} loads adapters: 8 of 8 greedy completions with an adapter are" in "".join(lines)
