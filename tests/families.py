"""The families of models that people have, as tiny random models that behave like them.

Each has the family's architecture, the tokens that end its turns, and a chat template of our own
that does what the family's does: where it puts a system message, whether it writes a start token,
the date, or thinking. ``tried`` takes one through a whole run.
"""

from __future__ import annotations

import datetime
import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from star_mlx.errors import StarError
from star_mlx.events import IterationFinished
from star_mlx.tasks.simple import SimpleTask
from star_mlx.types import Problem, Question
from tests import tiny_random

TEXT: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 32, "num_attention_heads": 2,
    "num_key_value_heads": 1, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "max_position_embeddings": 2048, "tie_word_embeddings": True, "pad_token_id": 0,
}  # fmt: skip
SLIDING = {"head_dim": 16, "sliding_window": 8, "sliding_window_pattern": 2}
GEMMA4 = {
    **SLIDING, "global_head_dim": 16, "num_kv_shared_layers": 0, "hidden_size_per_layer_input": 0,
    "final_logit_softcapping": 30.0, "num_global_key_value_heads": 1, "use_double_wide_mlp": False,
}  # fmt: skip
LINEAR = {
    "head_dim": 16, "full_attention_interval": 2, "num_experts": 0, "linear_num_value_heads": 2,
    "linear_num_key_heads": 1, "linear_key_head_dim": 32, "linear_value_head_dim": 32,
    "linear_conv_kernel_dim": 4, "partial_rotary_factor": 0.5,
}  # fmt: skip
CONVOLVED = {
    "norm_eps": 1e-5, "conv_bias": False, "conv_L_cache": 3, "block_dim": 32, "block_ff_dim": 32,
    "block_multiple_of": 8, "block_ffn_dim_multiplier": 1.0, "block_auto_adjust_ff_dim": False,
    "full_attn_idxs": [1],
}  # fmt: skip

# ChatML, with a hook before the turns, one in an assistant's turn, and one at the reply.
CHATML = (
    "{{% set off = enable_thinking is defined and not enable_thinking %}}{0}"
    "{{% for m in messages %}}{1}"
    "{{{{ '<|im_start|>' + m.role + '\\n' }}}}{2}{{{{ m.content + '<|im_end|>\\n' }}}}"
    "{{% endfor %}}"
    "{{% if add_generation_prompt %}}{{{{ '<|im_start|>assistant\\n' }}}}{3}{{% endif %}}"
)
NO_SYSTEM = "{% if messages[0].role != 'system' %}"
DEFAULT = NO_SYSTEM + "{{ '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' }}{% endif %}"
CLOSED = "{{ '<think>\\n\\n</think>\\n\\n' }}"
LAST = "{% if m.role == 'assistant' and loop.last %}" + CLOSED + "{% endif %}"
CLOSES = "{% if off %}" + CLOSED + "{% endif %}"
OPENS = "{% if off %}" + CLOSED + "{% else %}{{ '<think>\\n' }}{% endif %}"
DATED = (
    "{{ '<|im_start|>system\\nToday is ' + strftime_now('%d %B %Y') + ', thinking '"
    " + ('off' if off else 'on') + '. ' + (messages[0].content if messages[0].role == 'system'"
    " else '') + '<|im_end|>\\n' }}"
)
SKIPPED = "{% if m.role == 'system' %}{% continue %}{% endif %}"
LLAMA = (
    "{{ bos_token }}{% set day = strftime_now('%d %b %Y') if strftime_now is defined else '' %}"
    "{% set own = messages[0].role == 'system' %}"
    "{{ '<|start_header_id|>system<|end_header_id|>\\n\\nToday: ' + day + '\\n\\n' }}"
    "{{ (messages[0].content if own else '') + '<|eot_id|>' }}"
    "{% for m in messages if m.role != 'system' %}"
    "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' }}"
    "{{ m.content|trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
GEMMA_TURNS = (
    "{{ bos_token }}{% set own = messages[0].role == 'system' %}"
    "{% for m in (messages[1:] if own else messages) %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('turns alternate') }}"
    "{% endif %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else 'user') + '\\n' }}"
    "{{ (messages[0].content + '\\n\\n') if own and loop.first else '' }}"
    "{{ m.content|trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
GEMMA4_TURNS = (
    "{{ bos_token }}{% set on = enable_thinking is defined and enable_thinking %}"
    "{% set own = messages[0].role == 'system' %}{% if own or on %}"
    "{{ '<|turn>system\\n' + ('<|think|>' if on else '') + (messages[0].content if own else '')"
    " + '<turn|>\\n' }}{% endif %}{% for m in (messages[1:] if own else messages) %}"
    "{{ '<|turn>' + ('model' if m.role == 'assistant' else 'user') + '\\n' + m.content|trim"
    " + '<turn|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn>model\\n' }}{% endif %}"
)
PHI = (
    "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
THINK = ("<think>", "</think>")


@dataclass(frozen=True, slots=True)
class Family:
    """A family: its architecture with settings, template and special tokens.

    ``ends`` are the tokens at which generation ends, of which the first is the tokenizer's own;
    ``outer`` is the type of a model that wraps this one.
    """

    kind: str
    template: str
    ends: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    bos: str | None = None
    others: tuple[str, ...] = ()
    outer: str | None = None


CHAT_ENDS = ("<|im_end|>", "<|endoftext|>")
FAMILIES = {
    "Qwen2.5": Family("qwen2", CHATML.format(DEFAULT, "", "", ""), CHAT_ENDS),
    "Qwen3": Family(
        "qwen3", CHATML.format("", "", LAST, CLOSES), CHAT_ENDS, {"head_dim": 16}, others=THINK
    ),
    "Qwen3.5": Family(
        "qwen3_5_text", CHATML.format("", "", LAST, OPENS), CHAT_ENDS, LINEAR,
        others=THINK, outer="qwen3_5",
    ),
    "Llama 3.2": Family(
        "llama", LLAMA, ("<|eot_id|>", "<|end_of_text|>"), bos="<|begin_of_text|>",
        others=("<|start_header_id|>", "<|end_header_id|>"),
    ),
    "SmolLM2": Family("llama", CHATML.format(DEFAULT, "", "", ""), CHAT_ENDS),
    "SmolLM3": Family(
        "smollm3",
        CHATML.format(DATED, SKIPPED, "{% if off and m.role == 'assistant' %}" + CLOSED
                      + "{% endif %}", CLOSES),
        CHAT_ENDS, others=THINK,
    ),
    "gemma 3 1B": Family(
        "gemma3_text", GEMMA_TURNS, ("<eos>", "<end_of_turn>"), SLIDING, bos="<bos>",
        others=("<start_of_turn>",),
    ),
    "gemma 3 4B": Family(
        "gemma3_text", GEMMA_TURNS, ("<eos>", "<end_of_turn>"), SLIDING, bos="<bos>",
        others=("<start_of_turn>",), outer="gemma3",
    ),
    "gemma 4": Family(
        "gemma4_text", GEMMA4_TURNS, ("<eos>", "<turn|>"), GEMMA4, bos="<bos>",
        others=("<|turn>", "<|think|>", "<|channel>", "<channel|>"), outer="gemma4",
    ),
    "Phi-4-mini": Family(
        "phi3", PHI, ("<|endoftext|>", "<|end|>"),
        others=("<|system|>", "<|user|>", "<|assistant|>"),
    ),
    "LFM2": Family(
        "lfm2", "{{ bos_token }}" + CHATML.format("", "", "", ""), ("<|im_end|>",), CONVOLVED,
        bos="<|startoftext|>",
    ),
}  # fmt: skip


def write(folder: Path, family: Family) -> Path:
    """Write a random model of a family."""
    from star_mlx.engine import blas

    blas.load()
    specials = (*family.ends, *([family.bos] if family.bos else ()), *family.others)
    folder.mkdir(parents=True, exist_ok=True)
    vocab = tiny_random.tokenizer(
        folder, specials, eos=family.ends[0], bos=family.bos,
        more={"chat_template": family.template, "model_max_length": 2048},
    )  # fmt: skip
    inner = {**TEXT, **family.settings, "model_type": family.kind, "vocab_size": vocab}
    inner["eos_token_id"] = [vocab - len(specials) + n for n in range(len(family.ends))]
    config = inner
    if family.outer:
        config = {"model_type": family.outer, "text_config": inner, "vocab_size": vocab}
        config["eos_token_id"] = inner["eos_token_id"]
    module = importlib.import_module(f"mlx_lm.models.{config['model_type']}")
    model = module.Model(module.ModelArgs.from_dict(config))
    tiny_random.save(folder, model, config, scale=0.2)
    as_published(folder / "model.safetensors")
    return folder


def as_published(file: Path) -> None:
    """Turn the kernels of convolutions as checkpoints have them; mlx-lm turns them back."""
    import mlx.core as mx

    weights: Any = mx.load(str(file))
    turned = {k: v.transpose(0, 2, 1) if k.endswith("conv.conv.weight") else v
              for k, v in weights.items()}  # fmt: skip
    mx.save_safetensors(str(file), turned, {"format": "mlx"})


class Always(SimpleTask):
    """A task whose every finished completion is right, so that a random model learns something."""

    stop = tuple("abcdefghijklm \n")  # one of them soon comes
    few_shot = (
        Problem("e1", Question("1?"), "X", rationale="ONE"),
        Problem("e2", Question("2?"), "X", rationale="TWO"),
    )

    def problems(self, split: str) -> Sequence[Problem]:
        first = {"train": 10, "dev": 20, "test": 30}[split]
        return [Problem(str(n), Question(f"{n}?"), "X") for n in range(first, first + 6)]

    def read(self, completion: str, question: Question) -> str | None:
        return "X"

    def equal(self, answer: str, gold: str) -> bool:
        return answer == gold


@dataclass(frozen=True, slots=True)
class Found:
    """What holds for a family, as its tiny model's run shows it."""

    prefix: str  # shared, or copied and why
    system: str
    start: bool  # whether the template writes the start token
    date: bool
    thinking: str
    end: str
    targets: tuple[str, ...]
    peft: str


SETTINGS = (
    *("star.iterations=2", "star.problems=4", "star.schedule.start=1", "generate.max_tokens=24"),
    *("generate.temperature=3.0", "generate.top_p=1.0", "generate.chunk=4", "train.rank=2"),
    *("evaluate.dev=2", "evaluate.zero_shot=false", "prompts.chat=true", "prompts.system=Be brief"),
    *("train.max_length=1000", "train.batch_size=4"),
)
FIRST = datetime.date(2026, 1, 31)


def tried(name: str, folder: Path) -> Found:
    """Take a tiny model of a family through a run that is interrupted and resumed a year later.

    Raises:
        AssertionError: something does not hold that should hold for every model.
    """
    from star_mlx import engine as engines
    from star_mlx.recipe import loading, opening
    from star_mlx.tasks import own

    base = write(folder / "base", FAMILIES[name])
    task = Always()
    with own.offered(task):
        recipe = loading.load(
            task=own.name_of(task), model=str(base), overrides=[*SETTINGS, *arguments(name)]
        )
        engine = engines.open_base(recipe)
        run = interrupted_and_resumed(recipe, folder / "run", engine)
        _, plain = opening.open_task(recipe)
        attempted(engine, plain, recipe)
        chat = opening.in_template(opening.resume_recipe(run), plain, engine)
        return found(recipe, run, engine, chat)


def arguments(name: str) -> tuple[str, ...]:
    """Settings of families that think: off, as in most runs."""
    thinks = name in ("Qwen3", "Qwen3.5", "SmolLM3", "gemma 4")
    return ("prompts.template={enable_thinking: false}",) if thinks else ()


class Interrupted(Exception):
    """Stands for an interruption by the user."""


def interrupted_and_resumed(recipe: Any, run: Path, engine: Any) -> Path:
    """Make a run that is interrupted after its first iteration, and goes on a year later."""
    from transformers.utils import chat_template_utils

    from star_mlx.run import loop
    from star_mlx.store import reading

    def interrupt(event: Any) -> None:
        if isinstance(event, IterationFinished) and event.metrics.iteration == 1:
            raise Interrupted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "date", SimpleNamespace(today=lambda: FIRST))
        with pytest.raises(Interrupted):
            loop.run(recipe, run, interrupt, engine=engine)
        later = datetime.datetime(2027, 2, 1)
        patch.setattr(loop, "date", SimpleNamespace(today=later.date))
        patch.setattr(chat_template_utils, "datetime", SimpleNamespace(now=lambda: later))
        loop.run(recipe, run, lambda event: None, engine=engine)
    record = reading.read(run)
    assert record.last == 2
    assert all([*record.examples(n)] for n in (1, 2))
    return run


def attempted(engine: Any, prompts: Any, recipe: Any) -> None:
    """Ask in plain words, with the examples, and with the last adapter on."""
    from star_mlx.recipe import asking
    from star_mlx.run import passes

    how = asking.generating(recipe, prompts, few_shot=True)
    made = passes.attempts(engine, None, how, prompts.task.problems("dev"), seeds=range(6))
    assert len(made) == 6 and any(a.token_ids for a in made)


def found(recipe: Any, run: Path, engine: Any, prompts: Any) -> Found:
    """What a finished run shows."""
    from star_mlx.engine import decode
    from star_mlx.recipe import opening
    from star_mlx.store import reading

    record = reading.read(run)
    text, turns = engine._text, [("system", "Be brief"), ("user", "1?")]
    given = {"date": "2026-01-31", "template": recipe.prompts.template}
    bare = engine.chat(turns[1:], reply=True, **given)
    prefix, rest = prompts.batch(prompts.task.problems("dev"), hinted=False, few_shot=True)
    tokens = [text.prompt(prefix + one) for one in rest]
    assert decode.shared(tokens, text.prompt(prefix)) == len(text.prompt(prefix))
    assert prefix.count("ONE") == prefix.count("TWO") == 1
    assert all(ids[: len(text._front)] == text._front for ids in tokens)
    assert all(mark not in ids[1:] for ids in tokens for mark in text._front), "it stands once"
    adapter = record.adapter(2)
    assert adapter is not None
    day = opening.resume_recipe(run).prompts.date
    assert day in (None, FIRST.isoformat())
    return Found(
        prefix=str(engine.describe()["prefix"]),
        system=system(engine.chat(turns, reply=True, **given), bare),
        start=bool(text._front) and text.encode(bare)[: len(text._front)] == text._front,
        date=day is not None,
        thinking=thinking(engine, turns),
        end=text.decode([text.end_after(tokens[0])]),
        targets=targets(adapter),
        peft=peft(run, run.parent / "peft"),
    )


def targets(adapter: Path) -> tuple[str, ...]:
    """The modules that an adapter changes, by their names in a layer."""
    from star_mlx.engine import adapter_file as weights

    names = {module.name for module in weights.read(adapter).modules}
    return tuple(sorted({re.sub(r".*layers\.\d+\.", "", name) for name in names}))


def system(given: str, bare: str) -> str:
    """Where a template puts a system message, and whether it has one without being given any."""
    if "system" not in given:
        return "put into the first question"
    return "always one" if "system" in bare else "if given"


def thinking(engine: Any, turns: Any) -> str:
    """Whether a model thinks unless it is told not to, and how its template turns it off."""
    from star_mlx.answers import thinking

    plain = engine.chat(turns, reply=True, date="2026-01-31")  # as mlx-lm would have it
    off = engine.chat(turns, reply=True, date="2026-01-31", template={"enable_thinking": False})
    if plain == off:
        return "none"
    return "on, begun by the template" if thinking.thinks("", plain) else "on"


def peft(run: Path, out: Path) -> str:
    """Whether an adapter can be exported for PEFT."""
    from star_mlx.export import export

    try:
        export(run, "last", "peft", out)
    except StarError as error:
        assert "for which transformers has another name" in str(error)
        return "no"
    assert (out / "adapter_model.safetensors").is_file()
    return "yes"
