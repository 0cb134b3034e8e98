"""The names and places of the files in a run folder."""

from __future__ import annotations

from pathlib import Path

RECIPE = "recipe.yaml"
JOURNAL = "journal.jsonl"
METRICS = "metrics.jsonl"
LIVE = "live.json"
LOG = "log.txt"
TRACKERS = "trackers.json"
LOCK = ".lock"

ITERATIONS = "iterations"
BASELINES = "baselines"
RESULTS = "results"
REPORT = "report"
DAMAGED = "damaged"  # files that `star-mlx check --repair` took out of the run

ATTEMPTS = "attempts.jsonl"
QUESTIONS = "questions.jsonl"
EXAMPLES = "examples.jsonl"
STEPS = "train.jsonl"
DEV = "eval.jsonl"
ZERO_SHOT = "zero-shot.jsonl"
ADAPTER = "adapter"
WEIGHTS = "adapters.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
TRAINING = "training.json"  # of a training that is not finished, in the folder of its adapter
TRAINING_ARRAYS = "training-"  # and the number of steps taken
TRAINED_ON = "trained-on.json"  # of an adapter that was trained on a file's rows

PARTIAL = ".partial"  # the suffix of a file or folder that is not complete yet

_OF_PASS = {"direct": ATTEMPTS, "hinted": ATTEMPTS, "dev": DEV}


def iteration(run: Path, number: int) -> Path:
    """The folder of an iteration."""
    return run / ITERATIONS / f"{number:03d}"


def attempts_name(kind: str) -> str:
    """The file that holds the attempts of a pass: ``direct`` and ``hinted`` share one, and each
    measurement has its own."""
    return _OF_PASS.get(kind, f"{kind}.jsonl")


def attempts(run: Path, number: int, kind: str) -> Path:
    """The file of a pass of an iteration."""
    return iteration(run, number) / attempts_name(kind)


def adapter(run: Path, number: int) -> Path:
    """The folder of an iteration's adapter."""
    return iteration(run, number) / ADAPTER


def results(run: Path) -> list[Path]:
    """The files of the run's measurements, in the order they were made."""
    return sorted((run / RESULTS).glob("*.json"))


def baseline(run: Path, kind: str) -> Path:
    """The run folder of a baseline of the run."""
    return run / BASELINES / kind
