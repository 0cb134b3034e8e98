"""Trackers: what each is told, read back from the real libraries; none of them stops a run."""

from __future__ import annotations

import json
import os
import socket
import struct
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from star_mlx import engine as engines
from star_mlx import trackers
from star_mlx.cli import main
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import RunError
from star_mlx.events import IterationFinished, Notice, Progress, RunFinished, Sampled
from star_mlx.run import loop
from star_mlx.trackers import flat, mlflow_tracker, open_trackers
from tests.lines import json_lines
from tests.scripts import learner
from tests.test_loop import SMALL, recipe

FEW = ["train.batch_size=4", "star.schedule.add_epochs=0"]  # five optimizer steps an iteration
SETTINGS = [part for value in (*SMALL, *FEW) for part in ("--set", value)]
ALL = tuple(trackers.TRACKERS)


@pytest.fixture(scope="module", autouse=True)
def apart(tmp_path_factory):
    """No network, and nothing of the user's; trackio reads its folder once, when imported."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            *("STAR_MLX_TRACK", "WANDB_API_KEY", "WANDB_PROJECT", "WANDB_ERROR_REPORTING"),
            *("MLFLOW_TRACKING_URI", "MLFLOW_DISABLE_TELEMETRY"),
            *("TRACKIO_PROJECT", "TRACKIO_SPACE_ID"),
        ):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(home))
        patch.setenv("TRACKIO_DIR", str(home / "trackio"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("WANDB_MODE", "offline")
        for name in ("CONFIG", "CACHE", "DATA"):
            patch.setenv(f"WANDB_{name}_DIR", str(home / "wandb"))
        patch.setattr(socket.socket, "connect", _local_only(socket.socket.connect))
        yield


def _local_only(connect):
    def guarded(self, address):
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test reached for {address}")
        return connect(self, address)

    return guarded


@dataclass
class Recorder:
    """A tracker that notes what it is told."""

    told: list = field(default_factory=list)
    fails: str = ""  # the call that raises

    def __call__(self):
        return self

    def _note(self, call, *values):
        if call == self.fails:
            raise OSError(f"no {call}\ntoday")
        self.told.append((call, *values))

    def start(self, run):
        self._note("start", run)

    def metrics(self, iteration, values):
        self._note("metrics", iteration, values)

    def steps(self, steps):
        self._note("steps", steps)

    def samples(self, iteration, rows):
        self._note("samples", iteration, rows)

    def artifact(self, iteration, folder):
        self._note("artifact", iteration, folder)

    def finish(self, done):
        self._note("finish", done)

    def all(self, call):
        return [tuple(values) for name, *values in self.told if name == call]

    @property
    def numbers(self):
        return [number for [steps] in self.all("steps") for number, _ in steps]


def track(path, names=("it",), stop=None):
    """Run a loop of three iterations with trackers, up to the event where ``stop`` says so."""
    events = []

    def emit(event):
        if stop and stop(event):
            raise KeyboardInterrupt
        events.append(event)

    try:
        with open_trackers(names, path, emit) as tell:
            loop.run(recipe(*FEW), path, tell, engine=ScriptedEngine(learner))
    except KeyboardInterrupt:
        assert stop
    return events


def in_training(event):
    """In the third iteration, after two of its five optimizer steps."""
    return isinstance(event, Progress) and (event.iteration, event.phase, event.done) == (
        *(3, "train"),
        3,
    )


def warnings(events):
    """All warnings but those of the few steps that these runs take."""
    said = [e.text for e in events if isinstance(e, Notice) and e.level == "warning"]
    return [text for text in said if "train.batch_size" not in text]


@pytest.fixture
def it(monkeypatch):
    recorder = Recorder()
    monkeypatch.setitem(trackers.TRACKERS, "it", recorder)
    return recorder


# --------------------------------------------------------------------------- what they are told


def test_a_tracker_is_told_of_a_run_in_order(tmp_path, it):
    events = track(tmp_path / "run")
    assert warnings(events) == []
    calls = [call for call, *_ in it.told if call != "steps"]
    iteration = ["samples", "artifact", "metrics"]
    assert calls == ["start", "samples", "metrics", *iteration * 3, "finish"]
    [[run]] = it.all("start")
    assert run.folder == tmp_path / "run" and run.config["star"]["iterations"] == 3
    assert run.config["base"]["name"] == "scripted"
    assert [n for n, _ in it.all("metrics")] == [0, 1, 2, 3]
    assert it.all("artifact")[1] == (2, tmp_path / "run/iterations/002/adapter")
    assert it.all("finish") == [(True,)]


def test_steps_are_counted_over_iterations(tmp_path, it):
    track(tmp_path / "run")
    assert it.numbers == list(range(1, 16))
    steps = dict(row for [rows] in it.all("steps") for row in rows)
    [first, *_] = json_lines(tmp_path / "run/iterations/002/train.jsonl")
    assert steps[6]["step/loss"] == first["loss"]
    assert steps[6]["step/gradient_norm"] == first["gradient_norm"]
    assert steps[6]["step/tokens_per_second"] > 0


def test_the_screen_sees_every_event_and_the_end_last(tmp_path, it):
    seen = track(tmp_path / "run")
    alone = track(tmp_path / "alone", ())
    assert [type(e) for e in seen] == [type(e) for e in alone]
    it.fails = "finish"
    events = track(tmp_path / "other")
    assert warnings(events) == ["it failed and is left out from here on: no finish today"]
    assert isinstance(events[-1], RunFinished)


def test_without_trackers_nothing_is_written(tmp_path):
    track(tmp_path / "run", ())
    assert not (tmp_path / "run/trackers.json").exists()


def test_numbers_are_flat_and_words_left_out():
    evaluation = {
        "split": "dev",
        "accuracy": 0.5,
        "ci95": [0.1, 0.9],
        "by_class": {"3": {"n": 4, "correct": 1}, "a/b": {"n": 1, "correct": 1}},
    }
    line = {"iteration": 2, "solved": 5, "rejected": {"wrong step": 1}, "eval": evaluation}
    assert flat.numbers(line) == {
        "solved": 5,
        "rejected/wrong step": 1,
        "eval/accuracy": 0.5,
        "eval/ci95_low": 0.1,
        "eval/ci95_high": 0.9,
        "eval/by_class/3": 0.25,
        "eval/by_class/a_b": 1.0,
    }


def test_settings_are_paths():
    assert flat.settings({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}


@pytest.mark.parametrize(
    ("key", "path"), [("", "_"), ("..", "_"), ("x/../y", "x_.._y"), ("<b>", "_b_"), ("été", "été")]
)
def test_a_key_of_data_is_made_a_part_of_a_path(key, path):
    assert flat.clean(key) == path


def test_samples_are_harmless_and_cut():
    attempt = {"id": "p", "completion": "\x1b[2J" + "x" * 3000, "answer": None, "correct": False}
    row = flat.sample(Sampled(1, "1 +\t1", "2", attempt), "rationalize")
    assert row[:3] == ("hinted", "p", "1 +    1") and row[4:] == ("", "2", "no answer")
    assert row[3].startswith("␛[2Jx") and row[3].endswith("x…") and len(row[3]) == flat.CUT


# --------------------------------------------------------------------------- resuming


def test_a_resumed_run_is_told_once(tmp_path, it, monkeypatch):
    track(tmp_path / "run", stop=in_training)
    assert it.numbers == list(range(1, 13)) and it.all("finish") == [(False,)]
    again = Recorder()
    monkeypatch.setitem(trackers.TRACKERS, "it", again)
    track(tmp_path / "run")
    assert again.numbers == [13, 14, 15]
    assert [n for n, _ in again.all("metrics")] == [n for n, _ in again.all("artifact")] == [3]


def test_what_a_tracker_keeps_is_given_back(tmp_path, it):
    track(tmp_path / "run", stop=in_training)
    it.all("start")[0][0].kept["id"] = "lost: written after it was saved"
    kept = json.loads((tmp_path / "run/trackers.json").read_text())
    assert kept == {"it": {"iteration": 2, "step": 12}}
    kept["it"]["id"] = "mine"
    (tmp_path / "run/trackers.json").write_text(json.dumps(kept))
    track(tmp_path / "run")
    assert it.all("start")[1][0].kept["id"] == "mine"


def test_a_run_begun_without_a_tracker_reports_what_it_has(tmp_path, it):
    track(tmp_path / "run", (), stop=in_training)
    track(tmp_path / "run")
    assert [n for n, _ in it.all("metrics")] == [0, 1, 2, 3]
    assert it.numbers == list(range(1, 16))
    [first, *_] = [steps for [steps] in it.all("steps")]
    assert first[0] == (1, {"step/loss": 1.0, "step/gradient_norm": 1.0})
    it.told.clear()
    track(tmp_path / "run")  # a finished run has nothing new
    assert [call for call, *_ in it.told] == ["start", "finish"]


def test_a_damaged_file_is_said_before_the_run_goes_on(tmp_path):
    track(tmp_path / "run", ())
    (tmp_path / "run/trackers.json").write_text("[1]")
    with pytest.raises(RunError, match=r"trackers\.json cannot be read"):
        open_trackers(["tensorboard"], tmp_path / "run", lambda event: None)


# --------------------------------------------------------------------------- failing


@pytest.mark.parametrize("call", ["start", "metrics", "steps", "samples", "artifact"])
def test_a_tracker_that_fails_is_one_warning_and_the_run_goes_on(tmp_path, it, monkeypatch, call):
    bad = Recorder(fails=call)
    monkeypatch.setitem(trackers.TRACKERS, "bad", bad)
    events = track(tmp_path / "run", ("bad", "it"))
    assert warnings(events) == [f"bad failed and is left out from here on: no {call} today"]
    assert isinstance(events[-1], RunFinished) and events[-1].reason == "done"
    assert sum(isinstance(e, IterationFinished) for e in events) == 4
    assert bad.all("finish") == [(False,)] and len(it.all("metrics")) == 4
    bad.fails = ""
    bad.told.clear()
    track(tmp_path / "run", ("bad",))
    first = 1 if call in ("steps", "artifact") else 0  # iteration 0 has neither
    assert [n for n, _ in bad.all("metrics")] == list(range(first, 4))
    assert [n for n, _ in bad.all("artifact")] == [1, 2, 3]


def test_an_interruption_in_a_tracker_is_one(tmp_path, it, monkeypatch):
    def interrupted(iteration, values):
        raise KeyboardInterrupt

    monkeypatch.setattr(it, "metrics", interrupted)
    with pytest.raises(KeyboardInterrupt), open_trackers(("it",), tmp_path / "run", print) as tell:
        loop.run(recipe(*FEW), tmp_path / "run", tell, engine=ScriptedEngine(learner))
    assert it.all("finish") == [(False,)]


@pytest.mark.slow
def test_a_server_that_is_away_is_one_warning(tmp_path, monkeypatch):
    import wandb

    wandb.teardown()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("WANDB_MODE", "online")  # without a key
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    events = track(tmp_path / "run", ("mlflow", "wandb"))
    wandb.teardown()  # it keeps the settings of its first run for a process
    assert [text.split(" failed")[0] for text in warnings(events)] == ["mlflow", "wandb"]
    assert isinstance(events[-1], RunFinished)


@pytest.mark.slow
def test_usage_reports_are_off_where_the_user_did_not_turn_them_on(resumed, monkeypatch):
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    track(resumed, ("mlflow",))
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "false"


# --------------------------------------------------------------------------- the command line


@pytest.fixture
def star(tmp_path, monkeypatch, capfd):
    """Runs the command line in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engines, "open_base", lambda recipe: ScriptedEngine(learner))

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return ended.value.code, out, err

    return run


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["wanbd"], "--track wanbd: there is no such tracker (did you mean wandb?); there are"),
        (["tensorboard,x"], "there are wandb, trackio, tensorboard, mlflow, none"),
        (["none", "tensorboard"], "give none alone"),
        (["mlflow"], "--track mlflow needs the mlflow package: pip install 'star-mlx[mlflow]'"),
    ],
)
@pytest.mark.parametrize("command", [["loop"], ["baseline", "--kind", "few-shot"]])
def test_a_tracker_that_cannot_be_used_is_one_line(
    star, tmp_path, monkeypatch, command, given, message
):
    monkeypatch.setattr(engines, "open_base", lambda recipe: pytest.fail("a model was loaded"))
    monkeypatch.setattr(trackers, "_installed", lambda package: package != "mlflow")
    options = [part for name in given for part in ("--track", name)]
    code, out, err = star(*command, "--task", "arithmetic", *options)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_the_name_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "wandb_like").mkdir()
    (tmp_path / "real_one").mkdir()
    (tmp_path / "real_one/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert not trackers._installed("wandb_like") and trackers._installed("real_one")


@pytest.mark.parametrize("given", [["--track", "none"], ["--track", "other"]])
def test_the_environment_is_the_default_and_the_option_goes_before_it(star, it, monkeypatch, given):
    other = Recorder()
    monkeypatch.setitem(trackers.TRACKERS, "other", other)
    monkeypatch.setattr(trackers, "_installed", lambda package: True)
    monkeypatch.setenv("STAR_MLX_TRACK", "it,other")
    assert star("loop", "--task", "arithmetic", *SETTINGS, "--run", "a")[0] == 0
    assert it.told and other.told
    it.told.clear(), other.told.clear()
    assert star("loop", "--task", "arithmetic", *SETTINGS, "--run", "b", *given)[0] == 0
    assert it.told == [] and bool(other.told) == (given[-1] == "other")


@pytest.mark.slow
def test_standard_output_stays_json_with_every_tracker(star):
    options = ["--track", "tensorboard,mlflow", "--track", "wandb", "--track", "trackio"]
    code, out, err = star(
        "loop", "--task", "arithmetic", *SETTINGS, *options, "--run", "r", "--json"
    )
    assert (code, err) == (0, "")
    events = [json.loads(line) for line in out.splitlines()]
    assert events[-1]["event"] == "run_finished"
    told = [e["text"] for e in events if e.get("level") == "warning"]
    assert [text for text in told if "train.batch_size" not in text] == []


# --------------------------------------------------------------------------- the real libraries


@pytest.fixture(scope="module")
def resumed(apart, tmp_path_factory):
    """A run with every tracker at once, stopped in its third training and gone on with."""
    run = tmp_path_factory.mktemp("runs") / "arithmetic-001"
    assert warnings(track(run, ALL, stop=in_training)) == []
    assert warnings(track(run, ALL)) == []
    return run


def lines(run):
    return list(json_lines(run / "metrics.jsonl"))


def losses(run):
    rows = [r for n in (1, 2, 3) for r in json_lines(run / f"iterations/00{n}/train.jsonl")]
    return [(i, pytest.approx(row["loss"])) for i, row in enumerate(rows, 1)]


def accuracies(run):
    return [(n, pytest.approx(line["eval"]["accuracy"])) for n, line in enumerate(lines(run))]


def kept(run, name):
    return json.loads((run / "trackers.json").read_text())[name]


@pytest.mark.slow
def test_every_tracker_was_told_of_all(resumed):
    for name in ALL:
        assert (kept(resumed, name)["iteration"], kept(resumed, name)["step"]) == (3, 15)


def tensorboard(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    return found.Reload()


def scalars(found, tag):
    return [(event.step, event.value) for event in found.Scalars(tag)]


@pytest.mark.slow
def test_tensorboard_reads_back(resumed):
    found = tensorboard(resumed)
    assert scalars(found, "step/loss") == losses(resumed)
    assert scalars(found, "eval/accuracy") == accuracies(resumed)
    assert {"step/gradient_norm", "step/tokens_per_second", "eval/by_class/3"} <= set(
        found.Tags()["scalars"]
    )
    [config] = found.Tensors("config")
    text = config.tensor_proto.string_val[0].decode()
    assert json.loads(text)["star"]["iterations"] == 3
    samples = found.Tensors("samples")
    assert [event.step for event in samples] == [0, 1, 2, 3]
    shown = samples[1].tensor_proto.string_val[0].decode().split("\n")
    assert "    pass: hinted" in shown and all(line.startswith("    ") for line in shown)


@pytest.mark.slow
def test_steps_that_were_written_but_do_not_count_are_not_doubled_in_tensorboard(tmp_path):
    track(tmp_path / "run", ("tensorboard",), stop=in_training)
    file = tmp_path / "run/trackers.json"
    entry = json.loads(file.read_text())
    assert entry["tensorboard"]["step"] == 12
    entry["tensorboard"]["step"] = 10  # as if it had been killed before this was saved
    file.write_text(json.dumps(entry))
    track(tmp_path / "run", ("tensorboard",))
    found = tensorboard(tmp_path / "run")
    assert scalars(found, "step/loss") == losses(tmp_path / "run")
    assert scalars(found, "eval/accuracy") == accuracies(tmp_path / "run")


@pytest.mark.slow
def test_mlflow_reads_back(resumed):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{resumed.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("star-mlx")
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == kept(resumed, "mlflow")["run_id"]
    assert (run.info.run_name, run.info.status) == ("arithmetic-001", "FINISHED")
    assert run.data.params["star.iterations"] == "3" and run.data.params["base.name"] == "scripted"

    def history(key):
        return [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)]

    assert history("step/loss") == losses(resumed)
    assert history("eval/accuracy") == accuracies(resumed)
    names = {file.path for file in client.list_artifacts(run.info.run_id, "adapters/003")}
    assert names == {"adapters/003/scripted.json"}
    table = client.download_artifacts(run.info.run_id, "samples/001.json", str(resumed.parent))
    rows = json.loads(Path(table).read_text(encoding="utf-8"))
    assert rows["columns"] == list(flat.COLUMNS)
    assert {row[0] for row in rows["data"]} == {"direct", "hinted", "dev"}
    assert {row[-1] for row in rows["data"]} == {"right", "wrong"}


def test_a_baseline_goes_beside_its_run(tmp_path):
    assert mlflow_tracker._home(tmp_path / "runs/it") == tmp_path / "runs"
    assert mlflow_tracker._home(tmp_path / "runs/it/baselines/sft") == tmp_path / "runs"


def wandb_records(run):
    """The records of the offline folders, one list a folder, in the order they were made."""
    from wandb.proto.wandb_internal_pb2 import Record

    for file in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        yield [Record.FromString(data) for data in leveldb_log(file.read_bytes())]


def leveldb_log(data):
    """The records of a LevelDB log behind wandb's seven bytes: in blocks of 32 KiB, each part of a
    record with its checksum, length and kind (whole, first, middle, last)."""
    assert data[:4] == b":W&B"
    at, parts = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield parts
            parts = b""


@pytest.mark.slow
def test_wandb_reads_back(resumed):
    folders = list(wandb_records(resumed))
    assert len(folders) == 2
    records = [record for found in folders for record in found]
    starts = [record.run for record in records if record.HasField("run")]
    assert {start.run_id for start in starts} == {kept(resumed, "wandb")["id"]}
    assert {start.project for start in starts} == {"star-mlx"}
    rows = [
        {item.key or item.nested_key[0]: json.loads(item.value_json) for item in r.history.item}
        for r in records
        if r.HasField("history")
    ]
    numbers = [row["_step"] for row in rows]
    assert numbers == list(range(len(rows))) and kept(resumed, "wandb")["rows"] == len(rows)
    assert [(row["step/number"], row["step/loss"]) for row in rows if "step/loss" in row] == losses(
        resumed
    )
    assert [
        (row["iteration"], row["eval/accuracy"]) for row in rows if "eval/accuracy" in row
    ] == accuracies(resumed)
    assert [row["iteration"] for row in rows if "samples" in row] == [0, 1, 2, 3]
    made = [r.artifact for r in records if r.HasField("artifact")]
    made += [
        r.request.log_artifact.artifact
        for r in records
        if r.HasField("request") and r.request.HasField("log_artifact")
    ]
    adapters = [artifact for artifact in made if artifact.type == "model"]
    assert [sorted(a.aliases) for a in adapters] == [
        [f"iteration-{n}", "latest"] for n in (1, 2, 3)
    ]
    axes = {r.metric.name or r.metric.glob_name: r.metric.step_metric for r in records}
    assert (axes["eval/accuracy"], axes["step/*"]) == ("iteration", "step/number")
    config = {item.key: json.loads(item.value_json) for item in starts[0].config.update}
    assert config["star"]["iterations"] == 3 and config["base"]["name"] == "scripted"
    assert not starts[0].git.commit and not starts[0].git.remote_url


@pytest.mark.slow
def test_trackio_reads_back(resumed):
    from trackio.sqlite_storage import SQLiteStorage

    name = kept(resumed, "trackio")["name"]
    assert [run for run in SQLiteStorage.get_runs("star-mlx") if run == name] == [name]
    rows = SQLiteStorage.get_logs("star-mlx", name)
    assert [(r["step"], r["step/loss"]) for r in rows if "step/loss" in r] == losses(resumed)
    assert [(r["step"], r["eval/accuracy"]) for r in rows if "eval/accuracy" in r] == accuracies(
        resumed
    )
    assert [r["step"] for r in rows if "samples" in r] == [0, 1, 2, 3]
    assert SQLiteStorage.get_run_config("star-mlx", name)["star"]["iterations"] == 3
    table = next(r["samples"] for r in rows if "samples" in r and r["step"] == 1)
    assert [*table["_value"][0]] == list(flat.COLUMNS)
    for version in ("v0", "v1", "v2"):
        made = SQLiteStorage.get_artifact_manifest("star-mlx", f"adapter-{name}", version)
        assert [file["path"] for file in made["manifest"]] == ["scripted.json"]
