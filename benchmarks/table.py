"""``results.json`` -> ``table.md``: medians with their spread, and how every figure came about."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from peers import ALL
from work import PARTS, scaled, spread

Entry = Mapping[str, Any]
TITLES = {
    "generation": "Generation",
    "training": "Training",
    "iteration": "One STaR iteration",
}
COLUMNS = {
    "generation": "tokens/s | s a problem | same completions",
    "training": "tokens/s | loss: first, mean, last step",
    "iteration": "generation, hinted, training (s)",
}
FORMS = {"generation": 3, "training": 2, "iteration": 1}


def page(data: Mapping[str, Any]) -> str:
    """The whole page."""
    lines = ["# star-mlx beside others, on a CPU", "", *_machine(data)]
    for part in PARTS:
        if part in data["work"]:
            lines += ["", *_part(data, part)]
    lines += ["", *_trials(data), *_versions(data)]
    return "\n".join(lines).rstrip() + "\n"


def current(data: Mapping[str, Any], part: str, contestant: str) -> list[Entry]:
    """The measurements of a contestant on the part's present work, one a repeat, the last made."""
    wanted = data["work"].get(part, {}).get("digest")
    found = {
        e["repeat"]: e
        for e in data["measurements"]
        if (e["part"], e["contestant"], e["work"]) == (part, contestant, wanted)
    }
    return [found[repeat] for repeat in sorted(found)]


def seconds(data: Mapping[str, Any], part: str, contestant: str) -> list[float]:
    """The wall seconds of every good measurement; for slow contestants scaled to full size."""
    good = [e for e in current(data, part, contestant) if "error" not in e]
    if any(c.name == contestant and c.slow for c in ALL):
        return [total for e in good if (total := _scaled(data, part, e["phases"])) is not None]
    return [float(e["seconds"]) for e in good]


def _scaled(data: Mapping[str, Any], part: str, phases: Mapping[str, Any]) -> float | None:
    facts = data["work"][part]
    total = 0.0
    for name, phase in phases.items():
        measured = phase["measured"]
        if name == "training":
            total += measured["seconds"] / measured["tokens"] * facts[name]["tokens"]
        else:
            total += scaled(measured, facts[name]["tokens"], _decoded(data, part, name))
    return total


def _decoded(data: Mapping[str, Any], part: str, phase: str) -> float:
    """Tokens that star's completions have, which a slow contestant is scaled to."""
    counts = [e["phases"][phase]["tokens"] for e in current(data, part, "star") if "error" not in e]
    facts = data["work"][part][phase]
    return statistics.median(counts) if counts else facts["rows"] * facts["max_tokens"]


def summed(data: Mapping[str, Any], part: str) -> dict[str, float] | None:
    """The phases of a whole iteration of stock mlx-lm, in seconds, at the rates it was measured at
    in the parts of one phase; None where those are not there."""
    before = "tiny-" if part.startswith("tiny-") else ""
    rates = {}
    for kind in ("generation", "training"):
        good = [e for e in current(data, before + kind, "mlx-lm") if "error" not in e]
        if not good:
            return None
        rates[kind] = good[0]["phases"][kind]
    phases = {"generation": rates["generation"], "hinted": rates["generation"]}
    phases["training"] = rates["training"]
    return {name: _scaled(data, part, {name: phase}) or 0.0 for name, phase in phases.items()}


def _part(data: Mapping[str, Any], part: str) -> list[str]:
    kind = part.removeprefix("tiny-")
    lines = [f"## {TITLES[kind]}{', tiny' if part != kind else ''}", "", _what(data, part), ""]
    head = f"contestant | runs | seconds | times star's | {COLUMNS[kind]} | load s | peak GiB"
    lines += [f"| {head} |"]
    lines += ["|---" * (6 + FORMS[kind]) + "|"]
    star = seconds(data, part, "star")
    notes = []
    for contestant in ALL:
        name = contestant.name
        entries = current(data, part, name)
        good = [e for e in entries if "error" not in e]
        bad = [e for e in entries if "error" in e]
        if bad:
            notes.append(f"- {name} failed: {bad[-1]['error']}")
        phases = summed(data, part) if name == "mlx-lm" and kind == "iteration" else None
        if phases:
            cells = [f"{name} (scaled)", "-", _number(sum(phases.values()))]
            cells += [_ratio([sum(phases.values())], star)]
            cells += [", ".join(_number(s) for s in phases.values()), "-", "-"]
            lines.append("| " + " | ".join(cells) + " |")
        elif good:
            lines.append(_row(data, part, name, good, star))
            notes += _note(data, part, name, good)
        elif not bad:
            skips = [e for e in data["skipped"] if (e["part"], e["contestant"]) == (part, name)]
            notes += [f"- {name} is not run: {skips[-1]['why']}" for _ in skips[:1]]
    return [*lines, "", *notes] if notes else lines


def _row(
    data: Mapping[str, Any], part: str, name: str, good: Sequence[Entry], star: Sequence[float]
) -> str:
    kind = part.removeprefix("tiny-")
    took = seconds(data, part, name)
    slow = bool(good[0].get("slow"))
    facts = data["work"][part]
    cells = [f"{name} (scaled)" if slow else name, str(len(good)), _spread(took)]
    cells.append(_ratio(took, star))
    if kind == "generation":
        if slow:
            tokens = [_decoded(data, part, "generation")] * len(good)
        else:
            tokens = [e["phases"]["generation"]["tokens"] for e in good]
        cells.append(_spread([n / s for n, s in zip(tokens, took, strict=True)]))
        cells.append(_spread([s / facts["generation"]["rows"] for s in took]))
        cells.append(_agreement(good[-1]["phases"]["generation"].get("agreement")))
    elif kind == "training":
        cells.append(_spread([facts["training"]["tokens"] / s for s in took]))
        losses = good[-1]["phases"]["training"]["losses"]
        mean = statistics.fmean(losses)
        cells.append(f"{losses[0]:.3f}, {mean:.3f}, {losses[-1]:.3f}")
    else:
        medians = [
            statistics.median(e["phases"][phase]["seconds"] for e in good)
            for phase in ("generation", "hinted", "training")
        ]
        cells.append(", ".join(map(_number, medians)))
    cells.append(_spread([e["load_seconds"] for e in good]))
    cells.append(f"{max(e['peak_rss'] for e in good) / 2**30:.2f}")
    return "| " + " | ".join(cells) + " |"


def _note(data: Mapping[str, Any], part: str, name: str, good: Sequence[Entry]) -> list[str]:
    shown = {k: v for k, v in good[-1]["settings"].items() if k != "cpu"}
    text = ", ".join(f"{k} {v}" for k, v in shown.items())
    for phase, figures in good[-1]["phases"].items():
        if "measured" in figures:
            m = figures["measured"]
            if phase == "training":
                text += f"; scaled from {m['rows']} rows / {m['tokens']:.0f} tokens"
                text += f" ({m['tokens'] / m['seconds']:.2f} tokens/s)"
            else:
                text += (
                    f"; scaled from {m['rows']} problems / {m['prompt_tokens']:.0f} prompt tokens"
                    f" ({m['prompt_tokens'] / m['prompt_seconds']:.2f} a second) and "
                    f"{m['decode_tokens']:.0f} decoded"
                    f" ({m['decode_tokens'] / m['decode_seconds']:.2f} a second), to as many tokens"
                    " as star's completions have"
                )
    return [f"- {name}: {text}"]


def _what(data: Mapping[str, Any], part: str) -> str:
    facts, words = data["work"][part], []
    for name in ("generation", "hinted"):
        if name in facts:
            f = facts[name]
            words.append(
                f"{'hinted prompts' if name == 'hinted' else 'prompts'}: {f['rows']} of "
                f"{f['tokens'] / f['rows']:.0f} tokens, the first {f['shared']} shared, up to "
                f"{f['max_tokens']} new ones, greedy"
            )
    if "training" in facts:
        f = facts["training"]
        words.append(f"training: one epoch of {f['rows']} examples, {f['tokens']} tokens")
    text = "; ".join(words)
    text = text[0].upper() + text[1:] + "."
    if "hinted" in facts:
        text += " All problems go through the hinted pass, and the training set is the fixed one."
    return text


def _agreement(found: Mapping[str, Any] | None) -> str:
    if not found or not found["of"]:
        return "-"
    return (
        f"{found['identical']}/{found['of']}, first {found['common_prefix']:.0f} of "
        f"{found['reference_length']:.0f} tokens"
    )


def _machine(data: Mapping[str, Any]) -> list[str]:
    m = data.get("machine")
    if not m:
        return []
    features = ", ".join(m.get("features", []))
    text = f"{m['cpu']}, {m['cores']} cores" + (f" ({features})" if features else "")
    memory = f", {m['memory_gib']} GiB of memory" if "memory_gib" in m else ""
    return [f"{text}{memory}; {m['os']}; Python {m['python']}.", "",
            "Median (least-greatest) of the runs, the contestants taking turns, each in a process "
            "of its own. Seconds count from the loaded model to all results."]  # fmt: skip


def _trials(data: Mapping[str, Any]) -> list[str]:
    if not data["trials"]:
        return []
    lines = ["## Settings tried", ""]
    for e in data["trials"]:
        text = ", ".join(f"{k} {v}" for k, v in e["settings"].items())
        result = e["error"] if "error" in e else f"{e['seconds']:.1f} s foreseen"
        lines.append(f"- {e['contestant']}, {e['part']}: {text}: {result}")
    return [*lines, ""]


def _versions(data: Mapping[str, Any]) -> list[str]:
    found: dict[str, str] = {}
    for e in data["measurements"]:
        if "versions" in e:
            found[e["contestant"]] = ", ".join(f"{k} {v}" for k, v in e["versions"].items())
    if not found:
        return []
    return ["## Versions", "", *(f"- {name}: {text}" for name, text in found.items())]


def _ratio(took: Sequence[float], star: Sequence[float]) -> str:
    if not took or not star:
        return "-"
    return f"{statistics.median(took) / statistics.median(star):.2f}"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    middle, low, high = spread(values)
    return _number(middle) if low == high else f"{_number(middle)} ({_number(low)}-{_number(high)})"


def _number(value: float) -> str:
    """Three figures that count."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if value < 1 else f"{value:#.3g}"
