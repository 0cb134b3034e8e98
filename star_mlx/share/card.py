"""The model card of a run's iteration, made from the record of the run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from star_mlx.export.facts import Facts, Failures, Sample
from star_mlx.formatting import count, percent
from star_mlx.measure.paired import Paired
from star_mlx.share import snippets
from star_mlx.share.markdown import code, fence, inline, table
from star_mlx.share.metadata import License, measured, metadata

PAPER = "https://arxiv.org/abs/2203.14465"
LONGEST = 2000  # characters of an answer that are shown
EXACT = "The file `run/prompt.txt` has it to the byte."


def card(
    facts: Facts,
    repo_id: str,
    license: License,
    *,
    formats: Sequence[str],
    notes: Sequence[str] = (),
    picture: bool = False,
    dataset: str | None = None,
) -> str:
    """The text of README.md.

    Args:
        facts: what there is to say.
        repo_id: the repository it is written for, ``user/name``.
        license: of the base, which the adapter has too.
        formats: what is in the repository.
        notes: what is not, and why.
        picture: whether accuracy.png is beside it.
        dataset: the repository of the kept rationales, where they are shared too.
    """
    data = metadata(facts, repo_id, license, formats=formats, dataset=dataset)
    parts = [
        _head(facts, repo_id),
        _results(facts),
        _iterations(facts, picture),
        _steps(facts),
        _failures(facts),
        _asked(facts),
        snippets.section(facts, repo_id, formats, notes),
        _data(facts, dataset),
        _recipe(facts),
    ]
    return f"---\n{data}\n---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


# --------------------------------------------------------------------------- the body


def _head(facts: Facts, repo_id: str) -> str:
    task, base = facts.recipe["task"]["name"], facts.base
    last = facts.metrics[-1]["iteration"]
    lines = [
        f"# {inline(repo_id.rsplit('/', 1)[-1])}",
        f"A LoRA adapter for {base_words(facts)}, trained on rationales that the model wrote "
        f"itself, with [STaR, the Self-Taught Reasoner]({PAPER}), on the task {inline(task)}: in "
        "each iteration the model attempts problems whose answers are known, what ends in the "
        "right answer is kept"
        + (
            ", failures are tried again with the answer as a hint"
            if facts.recipe["star"]["rationalize"]
            else ""
        )
        + ", and a fresh adapter is trained on the base. "
        f"This one is of iteration {facts.iteration} of {last}.",
    ]
    if not base.id:
        lines.append(
            f"The base is not on the Hub under a name of its own. Its content has the SHA-256 "
            f"`{base.hash}` (over its config, tokenizer and weights); an adapter fits no other."
        )
    return "\n\n".join(lines)


def base_words(facts: Facts) -> str:
    """What the base is, in words."""
    base = facts.base
    size = [f"{base.bits}-bit"] if base.bits else []
    size += [f"{count(base.parameters)} parameters"] if base.parameters else []
    about = f" ({', '.join(size)})" if size else ""
    if base.id:
        at = f" at commit `{base.revision}`" if base.revision else ""
        return f"[{inline(base.id)}](https://hf.co/{base.id}){at}{about}"
    if base.tiny:
        return f"`tiny`, the base that comes with star-mlx{about}"
    return f"the model in the folder {code(base.name)}{about}"


def _results(facts: Facts) -> str:
    rows = [
        (inline(name), split, f"{percent(value, 1)}%", _interval(entry), entry["n"])
        for split, name, value, entry in measured(facts)
    ]
    rows += [
        (inline(name), entry["split"], f"{percent(entry['accuracy'], 1)}%", _interval(entry),
         entry["n"])
        for name, entry in facts.baselines.items()
    ]  # fmt: skip
    if not rows:
        return "## Results\n\nNothing was measured in this run."
    lines = [
        "## Results",
        table(("what", "split", "right", "95% interval", "n"), rows),
        "Right answers by the task's own grader; intervals are Wilson's.",
    ]
    sentences = [f"- {text}" for text in _comparisons(facts)]
    if sentences:
        lines.append(
            "Compared problem by problem on the same problems (exact McNemar test, two-sided; "
            "from p = 0.05 on a difference counts as none):\n\n" + "\n".join(sentences)
        )
    chosen = facts.line.get("best") == facts.iteration
    if chosen and "eval" in facts.line:
        lines.append(
            "This iteration was chosen as the best on dev, so its dev accuracy is a little too "
            "high; only a test split that took no part in the choice says how good it is."
        )
    reads = max((result.get("test_reads", 0) for result in facts.results), default=0)
    if reads > 1:
        lines.append(f"The test split was read {reads} times in this run.")
    return "\n\n".join(lines)


def _interval(entry: Mapping[str, Any]) -> str:
    low, high = entry["ci95"]
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _comparisons(facts: Facts) -> list[str]:
    """The paired tests in words."""
    name = f"iteration {facts.iteration}"
    found: list[str] = []
    for entry in facts.line.get("compared", {}).values():
        other = f"iteration {entry['iteration']}" if entry["iteration"] else "the base"
        keys = ("n", "both", "better", "worse", "neither", "p")
        found.append(f"dev: {Paired(**{key: entry[key] for key in keys}).words(name, other)}")
    for result in facts.results:
        found += [f"{result['split']}: {pair['words']}" for pair in result["against"]]
    return [inline(text) for text in dict.fromkeys(found)]


def _iterations(facts: Facts, picture: bool) -> str:
    heads = (
        "iteration", "generated by", "problems", "solved", "rationalized", "trained on", "steps",
        "dev right", "95% interval", "n",
    )  # fmt: skip
    rows = [_iteration(line, facts.iteration) for line in facts.metrics]
    lines = [
        "## What STaR did",
        table(heads, rows),
        "*solved*: of the problems attempted, those with a right answer; *rationalized*: of the "
        "others, those whose rationale was found with the answer as a hint; *trained on*: "
        "examples of the training set. Every adapter is trained from the base, none from another.",
    ]
    if picture:
        lines.append("![Accuracy on dev by iteration](accuracy.png)")
    return "\n\n".join(lines)


def _iteration(line: Mapping[str, Any], shared: int) -> list[object]:
    number = line["iteration"]
    entry = line.get("eval")
    tail: list[object] = ["", "", ""]
    if entry:
        tail = [f"{percent(entry['accuracy'], 1)}%", _interval(entry), entry["n"]]
    if number == 0:
        return ["0 (the base)", *[""] * 6, *tail]
    teacher = f"iteration {line['teacher']}" if line["teacher"] else "the base"
    name = f"**{number}** (this)" if number == shared else number
    made = [line[key] for key in ("problems", "solved", "rationalized", "examples")]
    return [name, teacher, *made, line["train"]["steps"], *tail]


def _steps(facts: Facts) -> str:
    """Whether the steps of what was trained on are right."""
    told = []
    for source, words in (("direct", "solved"), ("rationalized", "rationalized")):
        counts = facts.line.get("valid_steps", {}).get(source, {"n": 0, "valid": 0})
        if counts["n"]:
            share = percent(counts["valid"] / counts["n"], 1)
            told.append(
                f"of the {counts['n']} {words} rationales that can be checked, {counts['valid']} "
                f"({share}%) are right in every step"
            )
    if not told:
        text = "The steps of these rationales cannot be checked by the task."
    else:
        text = f"A right answer may follow from wrong steps: {'; '.join(told)}."
    leaks = facts.line.get("hint_leaks", 0)
    text += f" {leaks} kept rationalizations speak of their hint." if leaks else ""
    rejected = facts.line.get("rejected") or {}
    if rejected:
        listed = ", ".join(f"{n} for {inline(reason)}" for reason, n in rejected.items())
        text += f" Right answers not kept: {listed}."
    return f"## Step validity\n\n{text}"


def _failures(facts: Facts) -> str:
    if facts.failures is None:
        return ""
    lines = ["## Where it fails", _failed(facts.failures)]
    if worst := _classes(facts):
        lines.append(worst)
    if facts.samples:
        lines.append(
            f"Answers to dev problems, drawn by a hash of the problem's id and not picked; right "
            f"ones first. What is longer than {LONGEST} characters is cut."
        )
        lines += [_sample(sample) for sample in facts.samples]
    return "\n\n".join(lines)


def _failed(failures: Failures) -> str:
    parts = [
        f"{failures.wrong} end in a wrong answer",
        f"{failures.unread} in no answer that can be read",
        f"{failures.cut} were cut off by the length limit",
    ]
    return (
        f"Of {failures.n} dev problems {failures.right} are answered right, "
        f"{', '.join(parts[:2])}, and {parts[2]}."
    )


def _classes(facts: Facts) -> str:
    """Accuracy by the problems' class, where there are classes."""
    entry = facts.line.get("eval", {})
    rows = [
        (inline(name), f"{percent(c['correct'] / c['n'], 1)}%", c["n"])
        for name, c in sorted(entry.get("by_class", {}).items(), key=lambda i: (len(i[0]), i[0]))
        if name and c["n"]
    ]
    return table((inline(entry["classes"]), "right", "n"), rows) if rows else ""


def _sample(sample: Sample) -> str:
    verdict = "right" if sample.right else "wrong"
    if not sample.right and sample.gold is not None:
        verdict += f", the answer is {code(sample.gold)}"
    if sample.finish == "length":
        verdict += ", cut off by the length limit"
    asked = "" if sample.question is None else f"{fence(sample.question)}\n\n"
    text = sample.completion
    shown = text[:LONGEST] + (" [...]" if len(text) > LONGEST else "")
    return f"**{code(sample.id)}** ({verdict})\n\n{asked}{fence(shown)}"


def _asked(facts: Facts) -> str:
    how = facts.asking
    sampling = (
        "greedy (temperature 0)"
        if how.temperature == 0
        else f"sampled at temperature {how.temperature:g} with top-p {how.top_p:g}"
    )
    stops = ", ".join(code(json.dumps(stop, ensure_ascii=False)) for stop in how.stop)
    lines = [
        "## How it is asked",
        f"Decoding: {sampling}, at most {how.max_tokens} tokens"
        + (f", ending at {stops} or the end token." if stops else ", ending at the end token."),
    ]
    if how.turns is not None:
        turns = json.dumps([list(turn) for turn in how.turns], ensure_ascii=False, indent=1)
        lines.append("In the model's chat template. The turns before the question:")
        lines += [fence(turns, "json"), "The question's own turn:", fence(how.asked)]
        lines.append("The file `run/turns.json` has the turns before the question.")
    elif how.few_shot:
        lines += [f"The few-shot prompt in front of every question. {EXACT}", fence(how.few_shot)]
        lines += ["And a question:", fence(how.asked)]
    else:
        lines += ["No few-shot prompt; a question as it is put:", fence(how.asked)]
    return "\n\n".join(lines)


def _data(facts: Facts, dataset: str | None) -> str:
    recipe, line = facts.recipe, facts.line
    made = recipe.get("provenance", {})
    seen = sum(m.get("problems", 0) for m in facts.metrics if m["iteration"] <= facts.iteration)
    where = (
        f" of [{facts.dataset}](https://hf.co/datasets/{facts.dataset})" if facts.dataset else ""
    )
    lines = [
        "## What data it saw",
        f"Problems of the task {inline(recipe['task']['name'])}{where}, of the train split alone. "
        f"In the iterations up to this one {seen} were attempted, some of them again; this "
        f"adapter's own training set has {line['examples']} examples. Of a problem the model was "
        "given the question, and the answer as a hint where it was rationalized; it was trained "
        "on no rationale but its own. The dev problems were measured on alone." + _overlap(facts),
        f"SHA-256 of the train and dev problems: `{inline(made.get('data_sha256', 'unknown'))}`; "
        f"of the few-shot prompts: `{inline(made.get('prompts_sha256', 'unknown'))}`.",
    ]
    if dataset:
        link = f"[{inline(dataset)}](https://hf.co/datasets/{dataset})"
        lines.append(f"The rationales that were kept are in {link}.")
    return "\n\n".join(lines)


def _recipe(facts: Facts) -> str:
    recipe = {key: value for key, value in facts.recipe.items() if key != "provenance"}
    made = facts.recipe.get("provenance", {})
    versions = [(inline(name), inline(v)) for name, v in made.get("versions", {}).items()]
    train = facts.line["train"]
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    return "\n\n".join(
        [
            "## How it was made",
            f"{train['steps']} optimizer steps ({train['epochs']:g} epochs, "
            f"{train['tokens']:,} tokens) on {facts.line['examples']} examples; loss "
            f"{train['first_loss']:.3f} at first and {train['last_loss']:.3f} at last, in nats a "
            "token. The whole recipe, without the machine's paths:",
            fence(text, "yaml"),
            f"SHA-256 of the base: `{inline(facts.base.hash)}`; of adapters.safetensors: "
            f"`{facts.adapter_hash}`. The seed is {recipe['seed']}.",
            table(("package", "version"), versions),
        ]
    )


def _overlap(facts: Facts) -> str:
    """What is in both splits, as far as the task is known to have that."""
    task = facts.recipe["task"]
    digits = task.get("options", {}).get("digits")
    if task["name"] == "arithmetic" and isinstance(digits, list) and digits[:1] == [1]:
        return " Sums of one digit, of which there are only 100, may be in both splits."
    return ""
