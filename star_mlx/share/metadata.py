"""The metadata of a model card, which the Hub reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from star_mlx.export.facts import Facts
from star_mlx.store import results
from star_mlx.store.metrics import as_json


@dataclass(frozen=True, slots=True)
class License:
    """A license as in the Hub's metadata; an ``other`` one has a name, and may have a link."""

    id: str
    name: str | None = None
    link: str | None = None


def metadata(
    facts: Facts,
    repo_id: str,
    license: License,
    *,
    formats: Sequence[str],
    dataset: str | None = None,
) -> str:
    """The YAML block of the card."""
    from huggingface_hub import ModelCardData

    task = facts.recipe["task"]["name"]
    mlx = "mlx" in formats
    tags = ["star-mlx", "STaR", "self-taught-reasoner", "reasoning", "lora", task]
    tags += ["mlx"] * mlx + ["peft"] * ("peft" in formats)
    tags += ["gguf"] * any(name.startswith("gguf") for name in formats)
    base = facts.base
    data = ModelCardData(
        base_model=base.id,
        base_model_relation="adapter" if base.id else None,
        base_model_revision=base.revision,
        license=license.id,
        license_name=license.name,
        license_link=license.link,
        library_name="mlx" if mlx else "peft" if "peft" in formats else None,
        pipeline_tag="text-generation",
        datasets=[name for name in (facts.dataset, dataset) if name] or None,
        metrics=["accuracy"],
        tags=tags,
        model_name=repo_id.rsplit("/", 1)[-1],
        eval_results=_eval_results(facts) or None,
    )
    return str(data.to_yaml())


def _eval_results(facts: Facts) -> list[Any]:
    """The measurements of this iteration, in the form of the metadata's model-index."""
    from huggingface_hub import EvalResult

    task = facts.recipe["task"]["name"]
    found = []
    for split, name, value, entry in measured(facts):
        about = {key: entry[key] for key in ("n", "correct", "samples", "ci95") if key in entry}
        found.append(
            EvalResult(
                task_type="text-generation",
                task_name="reasoning",
                dataset_type=facts.dataset or task,
                dataset_name=task,
                dataset_split=split,
                metric_type="accuracy" if name.startswith("accuracy") else name.split(" ")[0],
                metric_name=name,
                metric_value=value,
                metric_args=about,
            )
        )
    return found


def measured(facts: Facts) -> list[tuple[str, str, float, Mapping[str, Any]]]:
    """(split, metric, value from 0 to 1, entry) of every measurement of this iteration."""
    dev = facts.line.dev
    entries: list[Mapping[str, Any]] = [as_json(dev)] if dev else []
    known = {(entry["split"], entry["n"], 1) for entry in entries}
    for result in facts.results:
        if (result.split, result.n, result.samples or 1) not in known:
            entries.append(results.as_json(result))
    found = []
    for entry in entries:
        split, n = entry["split"], entry["n"]
        samples = f", {entry['samples']} samples" if "samples" in entry else ""
        about = f"({split}, n = {n}{samples})"
        found.append((split, f"accuracy {about}", entry["accuracy"], entry))
        unbounded = {key: entry[key] for key in entry if key not in ("correct", "ci95")}
        for k, value in entry.get("pass_at_k", {}).items():  # the interval is not that of pass@k
            found.append((split, f"pass@{k} {about}", value, unbounded))
        for k, vote in entry.get("maj_at_k", {}).items():
            found.append((split, f"maj@{k} {about}", vote["accuracy"], {**entry, **vote}))
    return found
