"""Completions by servers, also by faulty ones."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from typing import Any

import pytest

from star_mlx import endpoints
from star_mlx.endpoints import pool as pools
from star_mlx.endpoints.key import Secret
from star_mlx.endpoints.reply import waiting
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import EndpointError, ModelError
from star_mlx.formatting import without_password
from star_mlx.settings import Endpoints, server_url
from star_mlx.types import Completion, Decoding
from tests import servers
from tests.servers import Completions

TEXT = ScriptedEngine(lambda asked: "")
DECODING = Decoding(max_tokens=100, stop=("\n\n",))
SECRET = "sk-not-to-be-seen-0123456789"


def echo(prompt: str, rows: Any) -> str:
    return f" {prompt.split()[-1]} again"


@pytest.fixture
def server():
    with Completions(echo) as made:
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(pools, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(pools, "MOST_WAIT", 0.01)
    monkeypatch.setattr(pools, "FIRST_PATIENCE", 0.2)
    monkeypatch.delenv("STAR_MLX_ENDPOINT_KEY", raising=False)


def opened(*urls: str, told: list[str] | None = None, context: int | None = None, **more: Any):
    settings = Endpoints(urls=urls, **{"give_up_after": 30.0, **more})
    heard = [] if told is None else told
    return endpoints.open_endpoints(
        settings, TEXT, rng=random.Random(0), tell=heard.append, context=context
    )


def asked(generator: Any, count: int = 3, **more: Any) -> list[Completion]:
    given = {
        "decoding": DECODING, "prefix": "Few. ", "adapter": None, "seeds": range(count),
        "progress": lambda done, tokens: None, **more,
    }  # fmt: skip
    return generator.generate([f"question {i}" for i in range(count)], **given)


def texts(count: int = 3) -> list[str]:
    return [f" {i} again" for i in range(count)]


# --------------------------------------------------------------------------- what is asked


def test_answers_are_matched_to_prompts_whatever_their_order(server):
    seen: list[tuple[int, int]] = []

    def late(handler: Any, body: Any) -> None:
        time.sleep(0.2)
        servers.answer(handler, 200, server.completion(body))

    server.faults = [late]
    made = asked(opened(server.url), 20, progress=lambda *at: seen.append(at))
    assert [one.text for one in made] == texts(20)
    assert made[0] == Completion(" 0 again", tuple(b" 0 again"), "stop")
    assert seen[-1] == (20, sum(map(len, texts(20))))
    assert [done for done, _ in seen] == list(range(1, 21))


def test_the_prompt_and_the_decoding_are_passed_on(server):
    generator = opened(server.url)
    asked(generator, 1)
    warm = Decoding(max_tokens=7, stop=(), temperature=0.7, top_p=0.9)
    asked(generator, 2, decoding=warm, seeds=[11, 12])
    assert server.bodies[0] == {
        "model": "org/model", "prompt": "Few. question 0", "max_tokens": 100, "temperature": 0.0,
        "stop": ["\n\n"],
    }  # fmt: skip
    sampled = {body["prompt"]: body for body in server.bodies[1:]}
    assert sampled["Few. question 1"] == {
        "model": "org/model", "prompt": "Few. question 1", "max_tokens": 7, "temperature": 0.7,
        "top_p": 0.9, "seed": 12,
    }  # fmt: skip


def test_a_completion_is_cut_at_a_stop_that_the_server_left_in_it(server):
    server.faults = [servers.changed(server, text="one\n\ntwo", finish_reason="length")]
    assert asked(opened(server.url), 1) == [Completion("one", tuple(b"one"), "stop")]


def test_a_completion_that_is_cut_off_says_so(server):
    [made] = asked(opened(server.url), 1, decoding=Decoding(max_tokens=3, stop=()))
    assert (made.text, made.finish) == (" 0 ", "length")


def test_an_empty_completion_is_one(server):
    server.faults = [servers.changed(server, text="")]
    assert asked(opened(server.url), 1) == [Completion("", (), "stop")]


def test_a_start_token_that_the_server_writes_itself_is_not_sent(server):
    class Started(ScriptedEngine):
        start = "<bos>"

    generator = endpoints.open_endpoints(
        Endpoints(urls=[server.url]), Started(lambda asked: ""), rng=random.Random(0)
    )
    asked(generator, 1, prefix="<bos>Few. ")
    assert server.bodies[0]["prompt"] == "Few. question 0"


def test_a_completion_has_no_more_room_than_the_context_leaves(server):
    asked(opened(server.url, context=40), 1)
    assert server.bodies[0]["max_tokens"] == 40 - len("Few. question 0") - 1
    server.models[0]["max_model_len"] = 30
    asked(opened(server.url, context=40), 1)
    assert server.bodies[1]["max_tokens"] == 30 - len("Few. question 0") - 1
    with pytest.raises(ModelError, match="a prompt of 16 tokens leaves no room"):
        asked(opened(server.url, context=16), 1)


def test_a_server_that_samples_by_values_of_its_own_is_told_not_to():
    with Completions(echo, loads="vllm") as server:
        asked(opened(server.url), 1)
        assert server.bodies[0]["top_k"] == -1
        assert server.bodies[0]["repetition_penalty"] == 1.0


class Bytes(ScriptedEngine):
    """A tokenizer of bytes, in which 0 ends a text."""

    def completed(self, ids: Any, stops: Any) -> tuple[str, list[int], bool]:
        kept = bytes(ids).partition(b"\0")[0].partition(b"\n\n")[0]
        return kept.decode(), list(kept), len(kept) < len(ids)


@pytest.mark.parametrize("kind", ["mlx_lm", "vllm"])
def test_the_tokens_are_those_that_were_drawn_if_a_server_says_which(server, kind):
    server.models[0]["owned_by"] = None if kind == "mlx_lm" else kind
    server.software = "BaseHTTP/0.6 Python/3.11" if kind == "mlx_lm" else "uvicorn"
    generator = endpoints.open_endpoints(
        Endpoints(urls=[server.url]), Bytes(lambda asked: ""), rng=random.Random(0)
    )
    drawn = list(b" 1\0")
    for ids, finish, made in (
        (drawn, "stop", Completion(" 1", tuple(b" 1"), "stop")),
        (drawn[:2], "length", Completion(" 1", tuple(b" 1"), "length")),
        (list(b" 2\n\n3"), "length", Completion(" 2", tuple(b" 2"), "stop")),
        ([1, -1], "stop", Completion("1", tuple(b"1"), "stop")),  # which are no tokens
    ):
        said = {"token_ids": ids}
        if kind == "mlx_lm":
            said = {"logprobs": {"content": [{"id": one, "logprob": -0.1} for one in ids]}}
        choice = {"text": "1", "finish_reason": finish, **said}  # it drops the space in front
        server.faults = [servers.changed(server, choices=[choice])]
        assert asked(generator, 1) == [made]
    wanted = "logprobs" if kind == "mlx_lm" else "return_token_ids"
    assert server.bodies[0][wanted] is True


def test_a_server_that_lists_no_models_can_be_told_which(server):
    def nothing(handler: Any) -> None:
        servers.answer(handler, 200, "")

    server._get = nothing  # as mlx_lm.server does without a cache of the Hub
    says = "asked for its models, it answers with nothing; endpoints.model would name one"
    with pytest.raises(EndpointError, match=says):
        opened(server.url, give_up_after=0.0)
    assert asked(opened(server.url, model="folder"), 1)[0].text == " 0 again"


def test_tokens_are_counted_by_the_server_and_else_here(server):
    generator = opened(server.url)
    for server.usage in (True, False):
        asked(generator, 2)
    served = generator.served
    assert (served.requests, served.again) == (4, 0)
    assert served.prompt_tokens == 4 * len("Few. question 0")
    assert served.completion_tokens == 4 * len(" 0 again")


def test_no_more_requests_at_once_than_allowed(server):
    server.pause = 0.02
    asked(opened(server.url, at_once=3), 12)
    assert server.most == 3


# --------------------------------------------------------------------------- faults


FAULTS = {
    "429": lambda server: servers.status(429, "slow down"),
    "500": lambda server: servers.status(500, "oops"),
    "503": lambda server: servers.status(503, "overloaded"),
    "nothing": lambda server: servers.says(""),
    "half a line": servers.cut_off,
    "hangs up": lambda server: servers.hangs_up,
    "html": lambda server: servers.says("<html><body>Gateway</body></html>"),
    "html 502": lambda server: servers.says("<html>Bad gateway</html>", 502),
    "no choice": lambda server: servers.changed(server, choices=[]),
    "two choices": lambda server: servers.changed(server, choices=[{"text": "a"}, {"text": "b"}]),
    "no text": lambda server: servers.changed(server, text=None),
    "text of a wrong type": lambda server: servers.changed(server, text=3),
    "no choices": lambda server: servers.changed(server, choices=None),
    "unknown reason": lambda server: servers.changed(server, finish_reason="content_filter"),
    "no reason": lambda server: servers.changed(server, finish_reason=None),
    "a list": lambda server: servers.says([1, 2]),
    "not text": lambda server: servers.says(b"\xff\xfe{"),
    "deep": lambda server: servers.says("[" * 100_000),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_may_pass_is_asked_again(server, name):
    generator = opened(server.url, at_once=2)
    server.faults = [FAULTS[name](server)] * 3
    assert [one.text for one in asked(generator)] == texts()
    assert len(server.bodies) == 6
    assert (generator.served.requests, generator.served.again) == (3, 3)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("429", "it answers 429: slow down"),
        ("500", "it answers 500: oops"),
        ("nothing", "it answers with nothing"),
        ("half a line", "its answer is cut off, or no JSON: "),
        ("hangs up", "it cannot be reached: Server disconnected"),
        ("html", "it answers with a page of HTML: is this the address of its API?"),
        ("html 502", "it answers 502; "),
        ("two choices", "it answers with 2 completions instead of one"),
        ("no text", "its answer is not a completion: Object missing required field `text`"),
        ("unknown reason", "ended for the reason 'content_filter', neither 'stop' nor 'length'"),
        ("no reason", "ended for no reason, neither 'stop' nor 'length'"),
    ],
)
def test_what_does_not_pass_ends_in_one_line(server, name, says):
    generator = opened(server.url, give_up_after=0.05)
    server.always = FAULTS[name](server)
    with pytest.raises(EndpointError) as error:
        asked(generator, 1)
    text = str(error.value)
    assert says in text and "\n" not in text
    assert text.startswith(f"the server cannot be asked. {server.url}: ")
    assert text.endswith("Finished work is kept: fix this and give the same command again")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (servers.status(401, "bad key"), "it wants a key: set STAR_MLX_ENDPOINT_KEY (it answers 4"),
        (servers.status(404, "no model x"), "it answers 404: no model x. It has no such model"),
        (servers.says("", 302), "it leads on to another address: give that address"),
        (servers.status(405, "no POST"), "it answers 405: no POST"),
    ],
)
def test_what_cannot_pass_is_not_asked_again(server, fault, says):
    generator = opened(server.url, at_once=1)
    server.always = fault
    with pytest.raises(EndpointError, match="the server cannot be asked") as error:
        asked(generator)
    assert says in str(error.value)
    assert len(server.bodies) == 1


def test_a_refused_request_is_named(server):
    generator = opened(server.url)
    server.always = servers.status(400, "max_tokens is too\n large\x1b[31m")
    with pytest.raises(EndpointError) as error:
        asked(generator, 1)
    says = "refuses a request: it answers 400: max_tokens is too large␛[31m"
    assert str(error.value) == f"{server.url} {says}"


def test_another_models_answer_is_refused(server):
    generator = opened(server.url)
    server.always = servers.changed(server, model="org/other")
    with pytest.raises(EndpointError) as error:
        asked(generator, 1)
    assert "was asked for the model org/model and answers as org/other" in str(error.value)
    server.always = servers.changed(server, model="org/model:latest")  # the same
    assert asked(opened(server.url), 1)[0].text == " 0 again"


@pytest.mark.slow
def test_a_request_that_alone_is_not_answered_ends_the_work(server):
    def poison(handler: Any, body: Any) -> None:
        if body["prompt"].endswith("question 1"):
            return servers.status(500, "assertion failed")(handler, body)
        time.sleep(0.002)
        return servers.answer(handler, 200, server.completion(body))

    server.always = poison
    with pytest.raises(EndpointError, match="not one of them in 8 attempts: it answers 500"):
        asked(opened(server.url, at_once=2), 200)


def test_an_answer_to_an_earlier_request_does_not_show_that_a_server_is_up(server):
    def late(handler: Any, body: Any) -> None:
        time.sleep(0.3)
        servers.answer(handler, 200, server.completion(body))

    server.faults, server.always = [late], servers.status(503, "going down")
    with pytest.raises(EndpointError, match=r"the server cannot be asked.*going down"):
        asked(opened(server.url, at_once=2, give_up_after=1.0), 2)


def test_a_slow_answer_is_given_up_and_asked_for_again(server):
    def slow(handler: Any, body: Any) -> None:
        time.sleep(60)

    server.faults = [slow]
    generator = opened(server.url, timeout=0.2)
    start = time.monotonic()
    assert [one.text for one in asked(generator, 1)] == texts(1)
    assert time.monotonic() - start < 20
    server.always = slow
    with pytest.raises(EndpointError, match=r"not answer within 0.1 seconds \(endpoints.timeout\)"):
        asked(opened(server.url, timeout=0.1, give_up_after=0.1), 1)


def test_an_answer_that_drips_is_bounded_in_time(server):
    def drips(handler: Any, body: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(3000):
            handler.wfile.write(b" ")
            time.sleep(0.02)

    server.faults = [drips]
    start = time.monotonic()
    assert [one.text for one in asked(opened(server.url, timeout=0.2), 1)] == texts(1)
    assert time.monotonic() - start < 20


def test_an_endless_answer_is_bounded_in_size(server, monkeypatch):
    from star_mlx.endpoints import connection

    monkeypatch.setattr(connection, "LARGEST", 1 << 16)
    server.faults = [servers.says(b" " * (1 << 20))]
    assert [one.text for one in asked(opened(server.url), 1)] == texts(1)


def test_a_server_is_given_the_time_it_asks_for(server):
    server.faults = [servers.status(429, "later", {"Retry-After": "0.3"})]
    start = time.monotonic()
    assert [one.text for one in asked(opened(server.url, at_once=1))] == texts()
    assert time.monotonic() - start >= 0.3
    server.faults = [servers.status(503, "in an hour", {"Retry-After": "3600"})]
    with pytest.raises(EndpointError, match="it answers 503: in an hour"):
        asked(opened(server.url), 1)


def test_the_time_to_wait_is_a_number_or_a_date():
    assert waiting("7") == 7 and waiting("-1") == 0
    assert waiting("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert waiting("Fri, 31 Dec 9999 23:59:59 GMT") > 1e9
    assert [waiting(text) for text in ("", "soon", "nan", "inf")] == [None] * 4


def test_waits_grow_and_depend_on_the_seed_alone(monkeypatch):
    monkeypatch.setattr(pools, "FIRST_WAIT", 0.5)
    monkeypatch.setattr(pools, "MOST_WAIT", 30.0)
    one, other = (
        pools.Pool(Endpoints(urls=["http://127.0.0.1:1"]), random.Random(3), print)
        for _ in range(2)
    )
    waits = [one._wait(n) for n in range(12)]
    assert waits == [other._wait(n) for n in range(12)]
    for n, wait in enumerate(waits):
        assert min(30, 0.5 * 2**n) / 2 <= wait <= min(30, 0.5 * 2**n)


# --------------------------------------------------------------------------- several servers


def test_work_goes_to_whichever_server_is_free(server):
    with Completions(echo) as other:
        server.pause, other.pause = 0.002, 0.05
        generator = opened(server.url, other.url, at_once=2)
        assert [one.text for one in asked(generator, 40)] == texts(40)
        assert len(server.bodies) > 2 * len(other.bodies) > 0
        assert len(server.bodies) + len(other.bodies) == 40


@pytest.mark.slow
def test_a_server_that_goes_down_is_put_aside_and_comes_back(server):
    told: list[str] = []
    other = Completions(echo)
    other.start()
    generator = opened(server.url, other.url, told=told, give_up_after=0.05, at_once=2)
    server.pause = 0.01
    asked(generator, 4)
    other.stop()
    assert [one.text for one in asked(generator, 30)] == texts(30)
    [line] = told
    assert line.startswith(f"{other.url} is put aside: it cannot be reached: ")
    assert line.endswith("; 1 other goes on")
    other.start(other.port)
    before = len(other.bodies)
    assert [one.text for one in asked(generator, 30)] == texts(30)
    assert told[1:] == [f"{other.url} answers again, and is asked again"]
    assert len(other.bodies) > before
    other.stop()


def test_all_down_is_one_line_that_names_each(server):
    with Completions(echo) as other:
        generator = opened(server.url, other.url, give_up_after=0.05)
        server.always, other.always = servers.status(500, "a"), servers.status(401, "b")
        with pytest.raises(EndpointError, match="no server is left to ask") as error:
            asked(generator)
    assert f"{server.url}: it answers 500: a; nothing succeeds there since" in str(error.value)
    assert f"{other.url}: it wants a key" in str(error.value)


def test_one_that_is_down_from_the_beginning_is_said(server):
    told: list[str] = []
    generator = opened("http://127.0.0.1:9/v1", server.url, told=told, give_up_after=0.05)
    assert [one.text for one in asked(generator)] == texts()
    [line] = told
    assert line.startswith("http://127.0.0.1:9/v1 is put aside: it cannot be reached")
    with pytest.raises(EndpointError, match=r"the server cannot be asked\. http://127"):
        opened("http://127.0.0.1:9/v1")


def test_stopping_stops_the_requests(server):
    server.pause = 0.05

    def stop(done: int, tokens: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asked(opened(server.url, at_once=2), 50, progress=stop)
    assert len(server.bodies) < 10
    assert not any(thread.name == "endpoints" for thread in threading.enumerate())


def test_stopping_stops_requests_that_do_not_hear_of_it(server, monkeypatch):
    """``asyncio.wait_for`` may drop a cancellation, before Python 3.12."""

    async def deaf(sent: Any, seconds: float) -> Any:
        task = asyncio.ensure_future(sent)
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(task)
        return task.result()

    monkeypatch.setattr(asyncio, "wait_for", deaf)
    test_stopping_stops_the_requests(server)


# --------------------------------------------------------------------------- models and keys


def test_the_model_is_chosen_among_those_that_a_server_has(server):
    server.models.append({"id": "org/second", "owned_by": None})
    says = r"it has 2 models \(org/model, org/second\): give endpoints.model"
    with pytest.raises(EndpointError, match=says):
        opened(server.url)
    asked(opened(server.url, model="org/second"), 1)
    assert server.bodies[0]["model"] == "org/second"
    settings = Endpoints(urls=[server.url])
    pool = pools.Pool(settings, random.Random(0), print, known=("org/second",))
    pool.open()
    assert pool.servers[0].model == "org/second"
    server.models.clear()
    with pytest.raises(EndpointError, match=r"it has 0 models \(none\)"):
        opened(server.url)


def test_what_is_no_such_api_is_named(server):
    with pytest.raises(EndpointError, match="/nothing cannot be asked: it answers 404: no such pa"):
        opened(server.url.replace("/v1", "/nothing"))


def test_the_key_goes_to_the_server_and_nowhere_else(server, monkeypatch, capfd):
    monkeypatch.setenv("STAR_MLX_ENDPOINT_KEY", SECRET)
    told: list[str] = []
    generator = opened(server.url, told=told)
    server.faults = [servers.changed(server, text=f"the key is {SECRET}")]
    [made] = asked(generator, 1)
    assert server.headers[0]["authorization"] == f"Bearer {SECRET}"
    assert made.text == "the key is ***"
    echoes = f"bad key {SECRET} at http://user:{SECRET}@host/ and http://me:word@host/"
    for code in (400, 401, 404, 500):
        server.always = servers.status(code, echoes)
        with pytest.raises(EndpointError) as error:
            asked(opened(server.url, give_up_after=0.0), 1)
        assert SECRET not in str(error.value) and "word" not in str(error.value)
        assert "***" in str(error.value)
    server.always = lambda handler, body: servers.answer(handler, 302, "", {"Location": echoes})
    with pytest.raises(EndpointError) as error:
        asked(opened(server.url, give_up_after=0.0), 1)
    assert SECRET not in str(error.value)
    assert SECRET not in repr(vars(generator.pool)) and SECRET not in "".join(capfd.readouterr())


@pytest.mark.parametrize("wrong", ["two words", "sk-\nx", "clé"])
def test_what_is_no_key_is_not_sent(monkeypatch, wrong):
    monkeypatch.setenv("STAR_MLX_ENDPOINT_KEY", wrong)
    with pytest.raises(EndpointError, match="has spaces or characters that are not ASCII"):
        Secret.of_environment()


def test_without_a_key_none_is_sent(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)  # it is not for any server that a recipe names
    asked(opened(server.url), 1)
    assert "authorization" not in server.headers[0]


def test_no_proxy_is_used_for_this_machine(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert [one.text for one in asked(opened(server.url))] == texts()


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("http://host:8000", "http://host:8000/v1"),
        ("http://host:8000/", "http://host:8000/v1"),
        ("https://host/v1/", "https://host/v1"),
        (" http://host/a/v2/chat/completions", "http://host/a/v2"),
        ("http://[::1]:80/v1/completions", "http://[::1]:80/v1"),
    ],
)
def test_addresses_are_taken_as_they_are_written(given, address):
    assert server_url(given) == address


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("host:8000", "not the address of a server: write it as http://127.0.0.1:8000/v1"),
        ("ftp://host/v1", "not the address of a server"),
        ("http://", "not the address"),
        ("http://host:port/", "not the address"),
        ("http://[::1", "not the address"),
        ("http://me:word@host/v1", "the address of host holds a user or a password, which a rec"),
        ("http://host/v1?key=word", r"the address of host goes on after \? or #: leave that out"),
    ],
)
def test_what_is_no_address_is_refused_without_its_password(given, says, star):
    with pytest.raises(ValueError, match=says) as error:
        server_url(given)
    assert "word" not in str(error.value).replace("password", "")
    for way in (["--endpoint", given], ["--set", f"endpoints.urls=[{given}]"]):
        if "?" not in given and "[" not in given:
            said = star("loop", "--task", "arithmetic", *way, code=2)
            assert "word" not in said.replace("password", "") and len(said.splitlines()) == 1


def test_an_address_that_is_no_list_is_refused_without_its_password(star):
    said = star("loop", "--task", "arithmetic", "--set", "endpoints.urls=http://me:word@h", code=2)
    assert "should be a list" in said and "http://***@h" in said and "word" not in said


def test_no_password_is_left_in_a_text():
    assert without_password("at http://me:w@h/ and //x@y") == "at http://***@h/ and //***@y"
    assert without_password("mail me@host, http://host/a@b") == "mail me@host, http://host/a@b"
