"""How a run asks its problems, so that its model can be asked in the same way elsewhere."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, cast

from star_mlx.errors import RunError
from star_mlx.export.source import ExportSource
from star_mlx.recipe import asking, opening
from star_mlx.recipe.asking import Asking
from star_mlx.settings import Recipe
from star_mlx.types import Problem, Question, Task


@dataclass(frozen=True, slots=True)
class Setup:
    """The parts needed to ask an iteration's model as in its run's measurements; ``text`` is the
    base's tokenizer (``engine.text.Text``)."""

    recipe: Recipe
    asking: Asking
    text: Any

    @property
    def task(self) -> Task:
        return self.asking.prompts.task


def setup(source: ExportSource) -> Setup:
    """How the run of an adapter asks, without loading its model.

    Raises:
        StarError: the prompt file or the data it was drawn from is gone or has changed.
    """
    from star_mlx.engine import blas

    blas.load()  # before the first import of mlx
    from mlx_lm.utils import load_config, load_tokenizer

    from star_mlx.engine.text import Text

    recipe, plain = source.opened()
    trusted = {"trust_remote_code": True} if source.trust_remote_code else {}
    ends = load_config(source.base.folder).get("eos_token_id")  # also of generation_config.json
    text = Text(load_tokenizer(source.base.folder, trusted, eos_token_ids=ends))
    prompts = opening.in_template(recipe, plain, cast(Any, text))
    if source.pulled is not None:
        source.pulled.check_prompt(prompts)
    elif prompts.digest() != source.record.provenance["prompts_sha256"]:
        raise RunError(
            f"the few-shot prompt of {source.record.path} has changed since it was made: restore "
            "its prompt file"
        )
    return Setup(recipe, asking.measuring(recipe, prompts, source.iteration), text)


def as_json(source: ExportSource, setup: Setup) -> dict[str, Any]:
    """The content of prompt.json.

    ``template`` contains ``{question}`` and, if the examples have choices, ``{choice A}`` and so
    on; it is the prompt, after ``few_shot`` if ``few_shot_used``.
    """
    asked = setup.asking
    prompts, decoding = asked.prompts, asked.decoding
    choices = next((shot.question.choices for shot in prompts.examples), ())
    question = Question("{question}", tuple((k, f"{{choice {k}}}") for k, _ in choices))
    problem = Problem("", question, "")
    # a chat template may begin a prompt with the same text as its examples
    before, [template] = asked.batch([problem])
    return {
        "task": setup.task.name,
        "base": source.base_told,
        "iteration": source.iteration,
        "chat": prompts.chat is not None,
        "system": prompts.system,
        "template_arguments": dict(setup.recipe.prompts.template),
        "date": setup.recipe.prompts.date,
        "template": template,
        "few_shot_used": asked.few_shot,
        "few_shot": before if asked.few_shot else prompts.few_shot(hinted=False),
        "examples": [
            {
                "question": prompts.asked(shot.question),
                "completion": prompts.completion(
                    None if prompts.direct else shot.rationale, shot.answer
                ),
            }
            for shot in prompts.examples
        ],
        "stop": list(decoding.stop),
        "end_tokens": sorted(setup.text.eos),
        "decoding": {
            key: value
            for key, value in asdict(decoding).items()
            if key in ("max_tokens", "temperature", "top_p")
        }
        | ({"thinking_tokens": bound} if (bound := asked.thinking_tokens) else {}),
    }
