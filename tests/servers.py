"""A server of completions in a thread, which a function answers for, and which can be faulty.

with Completions(reply) as server:
    server.faults = [unavailable, None]  # the first request fails, the second does not
    ...  # a client with server.url
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

Ways = Literal["mlx", "vllm", "none"]  # how it loads adapters


class Completions:
    """``reply(prompt, rows)`` is a completion; ``rows`` are those that a scripted adapter was
    trained on, none for the base.

    ``faults`` are what goes wrong with the next completions, in order: a function of the request's
    handler and body that answers, or None. ``bodies`` are all requests for completions.
    """

    def __init__(
        self, reply: Callable[[str, tuple[Any, ...]], str], *, loads: Ways = "mlx"
    ) -> None:
        self.reply, self.loads = reply, loads
        self.model = "org/model"
        self.software = "tests"
        self.models = [{"id": self.model, "owned_by": "vllm" if loads == "vllm" else "someone"}]
        self.faults: list[Callable[..., None] | None] = []
        self.always: Callable[..., None] | None = None
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.posts: list[str] = []
        self.adapters: dict[str, Path] = {}
        self.usage = True
        self.most = self.now = 0  # requests at a time
        self.pause = 0.0  # seconds before each answer
        self._lock = threading.Lock()

    def __enter__(self) -> Completions:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self, port: int = 0) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def version_string(self) -> str:
                return outer.software

            def do_GET(self) -> None:
                outer._get(self)

            def do_POST(self) -> None:
                outer._post(self)

            def log_message(self, *about: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 100

            def handle_error(self, *about: object) -> None:
                pass  # a client that is killed goes away

        self._http = Server(("127.0.0.1", port), Handler)
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    # ------------------------------------------------------------------ its answers

    def _get(self, handler: Any) -> None:
        if handler.path != "/v1/models":
            return answer(handler, 404, {"error": "no such page"})
        loaded = [{"id": n, "owned_by": "vllm", "parent": self.model} for n in self.adapters]
        models = [*self.models, *loaded]
        return answer(handler, 200, {"object": "list", "data": models})

    def _post(self, handler: Any) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        self.posts.append(handler.path)
        if handler.path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
            return self._adapter(handler, body)
        with self._lock:
            self.bodies.append(body)
            self.headers.append({k.lower(): v for k, v in handler.headers.items()})
            fault = self.faults.pop(0) if self.faults else self.always
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.pause)
        with self._lock:
            self.now -= 1
        if fault is not None:
            return fault(handler, body)
        return answer(handler, 200, self.completion(body))

    def _adapter(self, handler: Any, body: dict[str, Any]) -> None:
        if self.loads != "vllm":
            return answer(handler, 404, {"detail": "Not Found"})
        name = body["lora_name"]
        if handler.path.endswith("unload_lora_adapter"):
            self.adapters.pop(name, None)
        elif name in self.adapters:
            text = f"The lora adapter '{name}' has already been loaded."
            return answer(handler, 400, {"object": "error", "message": text})
        else:
            self.adapters[name] = Path(body["lora_path"])
        return answer(handler, 200, f"Success: LoRA adapter '{name}'.")

    def completion(self, body: dict[str, Any]) -> dict[str, Any]:
        """What is answered if nothing goes wrong."""
        text = self.reply(body["prompt"], self._rows(body))
        for stop in body.get("stop", ()):
            text = text.split(stop, 1)[0]
        raw = text.encode()
        cut = raw[: body["max_tokens"]]
        choice = {
            "index": 0,
            "text": cut.decode(errors="replace"),
            "finish_reason": "stop" if cut == raw else "length",
        }
        made = {"object": "text_completion", "model": body["model"], "choices": [choice]}
        if self.usage:
            made["usage"] = {
                "prompt_tokens": len(body["prompt"].encode()), "completion_tokens": len(cut),
            }  # fmt: skip
        return made

    def _rows(self, body: dict[str, Any]) -> tuple[Any, ...]:
        folder = self.adapters.get(body["model"])
        if self.loads == "mlx" and "adapters" in body:
            folder = Path(body["adapters"])
        if folder is None:
            return ()
        return tuple(map(tuple, json.loads((folder / "scripted.json").read_text("utf-8"))))


def answer(
    handler: Any, status: int, body: Any, headers: dict[str, str] | None = None, cut: int = 0
) -> None:
    """Answer with JSON, or with the text or bytes given; ``cut`` bytes of it are left out."""
    data = body if isinstance(body, bytes) else (
        body.encode() if isinstance(body, str) else json.dumps(body).encode()
    )  # fmt: skip
    data = data[: len(data) - cut]
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(data)


def status(
    code: int, text: str = "", headers: dict[str, str] | None = None
) -> Callable[[Any, Any], None]:
    """A fault: a status with the message of OpenAI's form."""
    return lambda handler, body: answer(handler, code, {"error": {"message": text}}, headers)


def says(body: Any, code: int = 200) -> Callable[[Any, Any], None]:
    """A fault: this body."""
    return lambda handler, asked: answer(handler, code, body)


def cut_off(server: Completions) -> Callable[[Any, Any], None]:
    """A fault: an answer without its last half line."""
    return lambda handler, body: answer(handler, 200, server.completion(body), cut=30)


def hangs_up(handler: Any, body: Any) -> None:
    """A fault: the connection ends without an answer."""
    handler.close_connection = True


def changed(server: Completions, **fields: Any) -> Callable[[Any, Any], None]:
    """A fault: other fields of the answer, or of its only choice if that has them."""

    def fault(handler: Any, body: Any) -> None:
        made = server.completion(body)
        for name, value in fields.items():
            of = made["choices"][0] if name in made["choices"][0] else made
            if value is None:
                del of[name]
            else:
                of[name] = value
        answer(handler, 200, made)

    return fault
