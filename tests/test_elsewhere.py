"""Runs whose completions come from servers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import star_mlx as sx
from star_mlx.endpoints import pool as pools
from star_mlx.run import elsewhere
from tests import servers
from tests.servers import Completions

SECRET = "sk-not-to-be-seen-0123456789"
SMALL = {
    "iterations": 2, "problems": 12, "dev": 6, "max_length": 10_000, "chunk": 4,
    "options": {"train": 200, "digits": [1, 2]},
}  # fmt: skip


def said(prompt: str, rows: Any) -> str:
    """With the hint the answer; else a digit that depends on what the adapter was trained on."""
    last = prompt.rpartition("Target:")[2].strip()
    return f" {last}" if last else f" {(len(prompt) + len(rows)) % 9}"


class Local(sx.ScriptedEngine):
    """The model that the servers serve."""

    def __init__(self, reply: Any = said) -> None:
        super().__init__(lambda asked: reply(asked.prefix + asked.prompt, asked.trained_on))

    def write_peft(self, adapter: Path, out: Path) -> None:
        shutil.copy(adapter / "scripted.json", out)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(pools, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(pools, "MOST_WAIT", 0.01)
    monkeypatch.setattr(pools, "FIRST_PATIENCE", 0.1)


@pytest.fixture
def server():
    with Completions(said) as made:
        yield made


def train(run: Path, *urls: str, engine: Any = None, told: list[Any] | None = None, **more: Any):
    events = [] if told is None else told
    settings = {
        "endpoints.urls": list(urls),
        "endpoints.give_up_after": 30.0,
        "star.schedule.start": 2,
        "train.warmup": 0,
        **more.pop("settings", {}),
    }
    return sx.train(
        "arithmetic", out=run, engine=engine or Local(), on_event=events.append,
        settings=settings, **{**SMALL, **more},
    )  # fmt: skip


def rows(run: Path) -> dict[str, bytes]:
    """All that does not depend on the clock, nor on who generated."""
    own = ("attempts.jsonl", "examples.jsonl", "eval.jsonl", "zero-shot.jsonl", "scripted.json")
    files = [p for p in sorted(run.rglob("*")) if p.name in own]
    return {str(p.relative_to(run)): p.read_bytes() for p in files}


def notices(told: list[Any], level: str = "info") -> list[str]:
    return [one.text for one in told if isinstance(one, sx.Notice) and one.level == level]


@pytest.mark.slow
@pytest.mark.parametrize("loads", ["mlx", "vllm"])
def test_a_run_by_servers_is_the_run_of_the_local_model(tmp_path, loads):
    train(tmp_path / "here")
    told: list[Any] = []
    with Completions(said, loads=loads) as one, Completions(said, loads=loads) as other:
        run = train(tmp_path / "run", one.url, other.url, told=told)
        assert rows(tmp_path / "run") == rows(tmp_path / "here")
        lines = notices(told)
        same = "8 of 8 greedy completions are equal to the local ones"
        assert f"{one.url} has the model org/model: {same}" in lines
        again = same.replace("completions", "completions with an adapter")
        assert f"{other.url} loads adapters: {again}" in lines
        assert not notices(told, "warning")
        compared = 2 * 2 * elsewhere.PROBLEMS
        assert len(one.bodies) + len(other.bodies) == compared + sum(
            line.served.requests for line in run.metrics
        )
        assert len(one.adapters) == (1 if loads == "vllm" else 0)  # the others are unloaded
    assert [line.served.requests for line in run.metrics] == [12, 30 - rationalized(run, 1), 30]
    assert not list(tmp_path.glob(".*")) and not list(tmp_path.rglob("*-peft"))


def rationalized(run: Any, number: int) -> int:
    """Requests that an iteration did not need, because problems were solved at once."""
    return sum(attempt.correct for attempt in run.attempts(number, hinted=False))


def test_tokens_are_in_the_record_and_told(tmp_path, server):
    told: list[Any] = []
    run = train(tmp_path / "run", server.url, told=told, iterations=1)
    [line] = [text for text in notices(told) if "tokens of prompts" in text]
    total = run.metrics[0].served + run.metrics[1].served
    assert line == total.words()
    bodies = server.bodies[2 * elsewhere.PROBLEMS :]  # those before are compared
    assert total.requests == len(bodies)
    assert total.prompt_tokens == sum(len(body["prompt"]) for body in bodies)
    journal = (run.path / "journal.jsonl").read_text().splitlines()
    chunks = [json.loads(text) for text in journal if '"event":"chunk"' in text]
    assert sum(chunk["served"]["requests"] for chunk in chunks) == total.requests


def test_the_cost_is_said_in_words():
    from star_mlx.store.metrics import Served

    assert Served(1200, 0, 34567, 8).words() == (
        "1,200 completions by servers: 34,567 tokens of prompts and 8 of completions"
    )
    assert "servers, besides 3 failed attempts: " in Served(1, 3, 2, 1).words()
    assert not Served(again=2) and Served(3, 2, 1, 1) - Served(1, 1, 1, 1) == Served(2, 1)


def test_a_server_that_loads_no_adapter_is_refused_before_the_run_begins(tmp_path):
    with Completions(said, loads="none") as server:
        with pytest.raises(sx.EndpointError) as error:
            train(tmp_path / "run", server.url)
        assert "answers as the base does when it is given an adapter" in str(error.value)
        assert "llama.cpp, Ollama and LM Studio do not" in str(error.value)
        assert not list(tmp_path.iterdir())
        sx.train(  # which generates with the base alone
            "arithmetic", out=tmp_path / "run", engine=Local(), on_event=print,
            settings={"endpoints.urls": [server.url], "star.evaluate": False}, **{
                **SMALL, "iterations": 1,
            },
        )  # fmt: skip


def test_a_vllm_that_may_not_load_adapters_is_refused(tmp_path):
    with Completions(said, loads="none") as server:
        server.models[0]["owned_by"] = "vllm"
        with pytest.raises(sx.EndpointError, match="start it with --enable-lora and with VLLM_ALL"):
            train(tmp_path / "run", server.url)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_vllm_that_is_started_again_gets_its_adapter_again(tmp_path, server):
    train(tmp_path / "here")
    with Completions(said, loads="vllm") as server:

        def lost(handler: Any, body: Any) -> None:
            server.adapters.clear()
            servers.status(404, f"The model `{body['model']}` does not exist.")(handler, body)

        loads = []

        def some(handler: Any, body: Any) -> None:
            if body["model"] in server.adapters and not loads:
                loads.append(body["model"])
                return lost(handler, body)
            return servers.answer(handler, 200, server.completion(body))

        server.always = some
        train(tmp_path / "run", server.url, settings={"endpoints.at_once": 1})
    assert loads and rows(tmp_path / "run") == rows(tmp_path / "here")


@pytest.mark.slow
def test_an_adapter_that_was_loaded_before_a_kill_is_used(tmp_path):
    train(tmp_path / "here")
    with Completions(said, loads="vllm") as server:
        for run in ("run", "again"):
            train(tmp_path / run, server.url)
            assert rows(tmp_path / run) == rows(tmp_path / "here")
            assert len(server.adapters) == 1  # the last one, which is listed with the models


def test_an_adapter_without_a_form_for_the_server_is_refused(tmp_path):
    class Without(Local):
        write_peft = None

    class Other(Local):
        def write_peft(self, adapter: Path, out: Path) -> None:
            raise sx.ModelError("the adapter changes the experts")

    with Completions(said, loads="vllm") as server:
        with pytest.raises(sx.EndpointError, match="in PEFT's form, and this model writes none"):
            train(tmp_path / "run", server.url, engine=Without())
        with pytest.raises(sx.ModelError, match="the adapter changes the experts"):
            train(tmp_path / "run", server.url, engine=Other())
    assert not list(tmp_path.iterdir())


def test_the_servers_of_the_command_line_are_those_of_the_recipe(tmp_path, star):
    shown = star(
        "loop", "--task", "arithmetic", "--endpoint", "http://one:1", "--endpoint", "http://b/v2/",
        "--dry-run", "--json", "--run", tmp_path / "run",
    )  # fmt: skip
    recipe = next(line for line in shown.splitlines() if "endpoints" in line)
    assert '"urls": ["http://one:1/v1", "http://b/v2"]' in recipe
    twice = ["--endpoint", "http://one", "--set", "endpoints.urls=[http://two]"]
    said = star("loop", "--task", "arithmetic", *twice, code=2)
    assert "--endpoint http://one and --set endpoints.urls=[http://two] both give" in said


def test_a_step_by_hand_asks_the_servers_too(tmp_path, server, monkeypatch, star):
    from star_mlx import engine as engines
    from star_mlx import steps
    from star_mlx.recipe.loading import load

    monkeypatch.setattr(engines, "open_base", lambda recipe: Local())
    out = tmp_path / "attempts.jsonl"
    few = ["--set", "task.options.train=200", "--problems", "5"]
    star(
        "generate", "--task", "arithmetic", *few, "--iteration", "1", "--out", out,
        "--endpoint", server.url,
    )  # fmt: skip
    assert len(server.bodies) == 5 == len(out.read_bytes().splitlines())
    told: list[Any] = []
    recipe = load(task="arithmetic", overrides=[*few[1:2], f"endpoints.urls=[{server.url}]"])
    steps.generate(recipe, tmp_path / "again.jsonl", iteration=1, emit=told.append, engine=Local())
    assert notices(told)[-1].startswith("200 completions by servers: ")


@pytest.mark.slow
def test_a_server_with_another_model_is_refused_or_said(tmp_path):
    with Completions(lambda prompt, seen: said(prompt, (*seen, "more"))) as server:
        with pytest.raises(sx.EndpointError) as error:
            train(tmp_path / "run", server.url)
        text = str(error.value)
        assert "only 0 of 8 greedy completions are equal to the local ones; of problem " in text
        assert "instead of" in text and text.endswith("min_equal=0 to begin all the same")
        assert not list(tmp_path.iterdir())
        told: list[Any] = []
        train(tmp_path / "run", server.url, told=told, settings={"endpoints.min_equal": 0})
        assert any(": 0 of 8 greedy completions" in line for line in notices(told))


@pytest.mark.slow
def test_what_was_finished_is_kept_when_all_servers_go_down(tmp_path, server):
    train(tmp_path / "here")
    before = 2 * elsewhere.PROBLEMS + 12 + 5  # in the second chunk of iteration 1
    server.faults = [None] * before
    server.always = servers.status(503, "going down")
    with pytest.raises(
        sx.EndpointError, match=r"the server cannot be asked.*Finished work is kept"
    ):
        train(tmp_path / "run", server.url, settings={"endpoints.give_up_after": 0.1})
    kept = (tmp_path / "run/iterations/001/attempts.jsonl").read_bytes()
    assert len(kept.splitlines()) == 4
    server.always = None
    with Completions(said) as moved:  # it may be another one
        train(tmp_path / "run", moved.url)
    assert rows(tmp_path / "run") == rows(tmp_path / "here")


def test_a_server_that_was_not_compared_takes_no_part(tmp_path, server):
    other = Completions(said)
    other.start()
    other.stop()
    told: list[Any] = []

    def up(event: Any) -> None:
        told.append(event)
        if isinstance(event, sx.RunStarted):
            other.start(other.port)

    settings = {"endpoints.urls": [other.url, server.url], "endpoints.give_up_after": 0.1}
    sx.train(
        "arithmetic", out=tmp_path / "run", engine=Local(), on_event=up, settings=settings,
        **{**SMALL, "iterations": 1},
    )  # fmt: skip
    other.stop()
    assert not other.bodies and server.bodies
    assert f"{other.url} is put aside: it cannot be reached" in notices(told, "warning")[0]


def test_a_finished_run_asks_no_server(tmp_path):
    with Completions(said) as server:
        run = train(tmp_path / "run", server.url, iterations=1)
    assert train(tmp_path / "run", server.url, iterations=1).last == run.last == 1
    assert run.evaluate(1, split="test", limit=1, progress=False).n == 1  # on this machine


def test_a_run_by_servers_is_not_resumed_without_them(tmp_path, server):
    train(tmp_path / "run", server.url, iterations=1)
    with pytest.raises(sx.RunError, match=r"differs: endpoints.urls \['?http.* -> \[\]"):
        train(tmp_path / "run", iterations=1)


def test_a_served_run_has_no_address_when_it_is_published(tmp_path, server):
    from star_mlx.export.facts import published
    from star_mlx.store import reading

    train(tmp_path / "run", server.url, iterations=1)
    assert server.url in str(reading.read(tmp_path / "run").values)
    assert server.url not in str(published(reading.read(tmp_path / "run").values))


def test_the_key_is_in_no_file(tmp_path, server, monkeypatch):
    monkeypatch.setenv("STAR_MLX_ENDPOINT_KEY", SECRET)
    echo = servers.changed(server, text=f" {SECRET}")
    server.faults = [None] * (2 * elsewhere.PROBLEMS) + [echo, servers.status(500, SECRET)] * 4
    train(tmp_path / "run", server.url, iterations=1)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert files and not any(SECRET.encode() in p.read_bytes() for p in files)
    assert b"***" in (tmp_path / "run/iterations/000/eval.jsonl").read_bytes()


def test_which_runs_need_adapters():
    def needs(**settings: Any) -> bool:
        values = {"task": sx.TaskSpec(name="arithmetic"), **settings}
        return elsewhere.needs_adapters(sx.Recipe(**values))

    assert needs()
    once = sx.Star(iterations=1, evaluate=False)
    assert not needs(star=once) and needs(star=once, evaluate=sx.Evaluate(test=True))
    assert not needs(baseline="few-shot") and needs(baseline="sft")


# --------------------------------------------------------------------------- killed


def child(run: Path, url: str) -> subprocess.Popen:
    code = (
        "import sys; from pathlib import Path; from tests.test_elsewhere import train;"
        "train(Path(sys.argv[1]), sys.argv[2])"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(run), url])


@pytest.mark.slow
@pytest.mark.parametrize("at", [21, 33, 50])
def test_killed_in_a_chunk_and_resumed_loses_and_repeats_nothing(tmp_path, server, at):
    train(tmp_path / "here")
    reached = threading.Event()

    def stuck(handler: Any, body: Any) -> None:
        reached.set()
        time.sleep(30)

    server.faults = [None] * (2 * elsewhere.PROBLEMS + at) + [stuck]
    process = child(tmp_path / "run", server.url)
    assert reached.wait(30)
    time.sleep(0.05)  # the others of the chunk are answered meanwhile
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = rows(tmp_path / "run")
    train(tmp_path / "run", server.url)
    whole = rows(tmp_path / "here")
    assert rows(tmp_path / "run") == whole
    assert all(whole[name].startswith(data) for name, data in kept.items())
