"""An engine without a model: a function answers. For tests, and for writing tasks.

It is deterministic and fast, follows the ``types.Engine`` protocol, and records in each "adapter"
the rows it was trained on, so that a script can learn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_mlx.errors import ModelError, NothingKept
from star_mlx.settings import Train
from star_mlx.types import Amount, Completion, Decoding, Example, Finish, Step, Trained


@dataclass(frozen=True, slots=True)
class Asked:
    """The input of the script: a prompt, the few-shot text before it, a seed, and the rows
    (id, prompt, completion) that the current adapter was trained on, none for the base.

    >>> Asked("Half of 6?", prefix="", seed=0, trained_on=()).prompt
    'Half of 6?'
    """

    prompt: str
    prefix: str
    seed: int
    trained_on: tuple[tuple[str, str, str], ...]


class ScriptedEngine:
    """``reply(asked)`` is the completion, cut at the first stop string. A token is a byte.

    >>> def reply(asked: Asked) -> str:
    ...     return "18" if "Janet" in asked.prompt and asked.trained_on else "I do not know"
    >>> ScriptedEngine(reply).describe()["name"]
    'scripted'
    """

    def __init__(self, reply: Callable[[Asked], str]) -> None:
        self._reply = reply

    def describe(self) -> Mapping[str, Any]:
        return {"name": "scripted", "device": "none", "hash": "scripted"}

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def chat(
        self,
        turns: Sequence[tuple[str, str]],
        *,
        reply: bool,
        template: Mapping[str, Any] = {},
        date: str | None = None,
    ) -> str:
        """Turns between tags, after the arguments of the template; it shows no date."""
        given = "".join(f"<{name}={value}>" for name, value in template.items())
        text = "".join(f"<{role}>{content}</{role}>" for role, content in turns)
        return given + text + "<assistant>" * reply

    def generate(
        self,
        prompts: Sequence[str],
        decoding: Decoding,
        *,
        prefix: str,
        adapter: Path | None,
        seeds: Sequence[int],
        progress: Callable[[int, int], None],
    ) -> list[Completion]:
        known = self._trained_on(adapter)
        completions: list[Completion] = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            text = self._reply(Asked(prompt, prefix, seed, known))
            for stop in decoding.stop:
                text = text.split(stop, 1)[0]
            ids = text.encode()
            cut = ids[: decoding.max_tokens]
            finish: Finish = "stop" if len(cut) == len(ids) else "length"
            completions.append(Completion(cut.decode(errors="replace"), tuple(cut), finish))
            progress(len(completions), sum(len(c.token_ids) for c in completions))
        return completions

    def train(
        self,
        examples: Sequence[Example],
        settings: Train,
        amount: Amount,
        *,
        seed: int,
        out: Path,
        progress: Callable[[Step], None],
    ) -> Trained:
        fits = [e for e in examples if self._length(e) <= settings.max_length]
        too_long = tuple(e.id for e in examples if self._length(e) > settings.max_length)
        if not fits:
            raise NothingKept(f"all {len(examples)} examples are longer than train.max_length")
        rows = [[e.id, e.prompt, e.completion] for e in fits]
        (out / "scripted.json").write_text(json.dumps(rows), encoding="utf-8")
        steps = amount.steps_for(len(fits), settings.batch_size)
        tokens = sum(map(self._length, fits))
        for step in range(1, steps + 1):
            progress(Step(step, steps, 1 / step, 1 / step, 0.0, tokens * step // steps))
        epochs = steps / -(-len(fits) // settings.batch_size)
        return Trained(out, steps, epochs, tokens, 1.0, 1 / steps, 0.0, too_long)

    def memory(self) -> tuple[int, int]:
        return 0, 0

    def peak_memory(self) -> int:
        return 0

    def _length(self, example: Example) -> int:
        return len(self.encode(example.prompt)) + len(example.token_ids) + 1

    @staticmethod
    def _trained_on(adapter: Path | None) -> tuple[tuple[str, str, str], ...]:
        if adapter is None:
            return ()
        try:
            rows = json.loads((adapter / "scripted.json").read_text(encoding="utf-8"))
        except OSError as error:
            raise ModelError(f"{adapter} holds no scripted adapter: {error.strerror}") from None
        return tuple((row[0], row[1], row[2]) for row in rows)
