"""llama.cpp, built for this machine, through its C interface as llama-cpp-python gives it.

The shared prefix is decoded once and its cache lent to every row; rows join as others end
(continuous batching, as its server does), and logits are asked for where they are used alone. It
multiplies quantized weights with activations rounded to 8 bits, so its completions differ more.
Settings: ``format`` of the weights, ``rows`` decoded at once, ``unified`` (one cache for all rows,
the prefix not copied), ``flash`` attention, ``threads``.
"""

from __future__ import annotations

import ctypes
import statistics
import time
from typing import Any

import llama_cpp as lib
import numpy as np
from common import Ends, Phase, main, tokenizer

BATCH = 512  # tokens in one call


class Context:
    """A llama.cpp context with a batch that is filled and decoded."""

    def __init__(self, model: Any, cells: int, settings: dict[str, Any]) -> None:
        params = lib.llama_context_default_params()
        rows = settings["rows"] + 1  # sequence 0 keeps the prefix
        params.n_seq_max = rows
        params.n_ctx = cells if settings["unified"] else cells * rows
        params.n_batch = params.n_ubatch = BATCH
        params.n_threads = params.n_threads_batch = settings["threads"]
        params.kv_unified = settings["unified"]
        params.flash_attn_type = 1 if settings["flash"] else 0
        params.no_perf = True
        self.handle = lib.llama_init_from_model(model, params)
        if not self.handle:
            raise RuntimeError("llama.cpp refused the context")
        self.memory = lib.llama_get_memory(self.handle)
        self.vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
        self.batch = lib.llama_batch_init(BATCH, 0, 1)
        self.wanted: list[int] = []

    def add(self, token: int, position: int, row: int, logits: bool) -> None:
        i, batch = self.batch.n_tokens, self.batch
        batch.token[i], batch.pos[i] = token, position
        batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, row, logits
        if logits:
            self.wanted.append(i)
        batch.n_tokens = i + 1

    def room(self) -> int:
        return BATCH - int(self.batch.n_tokens)

    def decode(self) -> list[int]:
        """Run the batch; the most probable token after each place asked for, in order."""
        if code := lib.llama_decode(self.handle, self.batch):
            raise RuntimeError(f"llama_decode returned {code}")
        found = []
        for i in self.wanted:
            logits = lib.llama_get_logits_ith(self.handle, i)
            address = ctypes.cast(logits, ctypes.c_void_p).value
            row = (ctypes.c_float * self.vocab).from_address(address)
            found.append(int(np.frombuffer(row, np.float32).argmax()))
        self.batch.n_tokens = 0
        self.wanted.clear()
        return found

    def close(self) -> None:
        lib.llama_batch_free(self.batch)
        lib.llama_free(self.handle)


def load(work: dict[str, Any]) -> dict[str, Phase]:
    lib.llama_log_set(quiet, None)
    lib.llama_backend_init()
    params = lib.llama_model_default_params()
    params.n_gpu_layers = 0
    model = lib.llama_model_load_from_file(work["gguf"].encode(), params)
    if not model:
        raise RuntimeError("llama.cpp cannot load the GGUF file")
    return {"generation": lambda phase: generation(model, work, phase)}


@lib.llama_log_callback
def quiet(level: int, text: bytes, data: Any) -> None:
    """Drop llama.cpp's messages."""


def generation(model: Any, work: dict[str, Any], phase: dict[str, Any]) -> dict[str, Any]:
    """Greedy completions, rows refilled as they end."""
    settings, ids, most = work["settings"], phase["ids"], phase["max_tokens"]
    shared, n = phase["shared"], min(settings["rows"], len(ids))
    settings = {**settings, "rows": n}
    longest = max(map(len, ids)) + most
    cells = shared + n * (longest - shared) if settings["unified"] else longest
    context = Context(model, -(-cells // 256) * 256, settings)
    ends = Ends(tokenizer(work), phase["stop"], work["eos"])
    begin = time.perf_counter()
    for at, token in enumerate(ids[0][:shared]):
        context.add(token, at, 0, False)
        if not context.room():
            context.decode()
    if context.room() < BATCH:
        context.decode()
    prefix_seconds = time.perf_counter() - begin
    waiting = sorted(range(len(ids)), key=lambda i: len(ids[i]))  # the longest is taken first
    free = list(range(n, 0, -1))
    active: dict[int, int] = {}  # sequence -> problem
    made: list[list[int]] = [[] for _ in ids]
    steps: list[float] = []
    while waiting or active:
        start = time.perf_counter()
        asked = []
        for row, i in active.items():
            context.add(made[i][-1], len(ids[i]) + len(made[i]) - 1, row, True)
            asked.append(row)
        joined = False
        while waiting and free and len(ids[waiting[-1]]) - shared <= context.room():
            i, row = waiting.pop(), free.pop()
            joined = True
            lib.llama_memory_seq_cp(context.memory, 0, row, 0, -1)
            last = len(ids[i]) - 1
            for at in range(shared, last + 1):
                context.add(ids[i][at], at, row, at == last)
            active[row] = i
            asked.append(row)
        for row, token in zip(asked, context.decode(), strict=True):
            i = active[row]
            made[i].append(token)
            if ends.ended(made[i]) or len(made[i]) >= most:
                del active[row]
                free.append(row)
                lib.llama_memory_seq_rm(context.memory, row, -1, -1)
        if not joined:
            steps.append(time.perf_counter() - start)
    seconds = time.perf_counter() - begin
    context.close()
    return {
        "completions": made,
        "prefix_seconds": prefix_seconds,
        "prompt_seconds": seconds - sum(steps),
        "decode_seconds": sum(steps),
        "decode_steps": len(steps),
        "step_seconds": statistics.median(steps) if steps else 0.0,
    }


def settings(work: dict[str, Any]) -> dict[str, Any]:
    info = lib.llama_print_system_info().decode().split(" | ")
    return {**work["settings"], "cpu": [s.strip() for s in info if s.strip().endswith("= 1")]}


if __name__ == "__main__":
    main(load, ["llama-cpp-python", "numpy", "tokenizers"], settings)
