"""The report: one page that nothing in a run can harm, with what the run has."""

from __future__ import annotations

import json
import re
import shutil
from html import escape
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_mlx.cli import main
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import RunError
from star_mlx.measure import run_problems, tracing, verdict
from star_mlx.recipe import opening
from star_mlx.report import browser, difference, drawing, gather, samples, svg
from star_mlx.report import write_report as report
from star_mlx.run import loop
from star_mlx.store import reading, rows, writing
from star_mlx.store.reading import RunRecord
from star_mlx.tasks.arithmetic import Arithmetic
from star_mlx.types import Step
from tests import hostile
from tests.lines import json_lines
from tests.report_pages import MADE, make
from tests.scripts import learner
from tests.test_growth import benchmark  # noqa: F401
from tests.test_loop import recipe

pytest.importorskip("matplotlib")

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(reports):
    return reports.runs


@pytest.fixture
def evil(reports):
    return reports.evil


@pytest.fixture
def pages(reports):
    """The pages of a run, of two, and of the hostile one."""
    return reports.pages


@pytest.fixture
def undrawn(monkeypatch):
    """For tests of all else: without the charts, which take most of the time."""
    monkeypatch.setattr(report, "_draw", lambda found: ({}, []))


@pytest.fixture
def unpainted(monkeypatch):
    """For tests of what stands in the page: each chart without its file of dots."""
    monkeypatch.setattr(drawing, "png", lambda figure: b"")


def text_of(pages, name):
    return (pages / name / "index.html").read_text(encoding="utf-8")


def written(tmp_path, *paths, **more):
    report.write(list(paths), tmp_path / "out", MADE, **more)
    return (tmp_path / "out/index.html").read_text(encoding="utf-8")


class Tags(HTMLParser):
    """Every element of a page with its attributes, and the text of those with an id."""

    def __init__(self, text):
        super().__init__()
        self.all: list[tuple[str, dict]] = []
        self.scripts: list[str] = []
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.all.append((tag, dict(attributes)))
        self._in = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._in = ""

    def handle_data(self, data):
        if self._in == "script":
            self.scripts[-1] += data

    def named(self, tag):
        return [attributes for name, attributes in self.all if name == tag]


def data_of(text):
    return json.loads(Tags(text).scripts[0])


# --------------------------------------------------------------------------- the page


def test_the_report_is_a_page_and_each_chart_twice(pages):
    for name in ("one", "two", "evil"):
        files = {str(f.relative_to(pages / name)) for f in (pages / name).rglob("*.*")}
        charts = {f"charts/{c}.{kind}" for c in report.CHARTS for kind in ("svg", "png")}
        assert files == {"index.html"} | charts
        for file in (pages / name / "charts").glob("*.svg"):
            ElementTree.parse(file)
        for file in (pages / name / "charts").glob("*.png"):
            assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["one", "two", "evil"])
def test_nothing_in_the_page_is_loaded_or_styled_or_run_from_elsewhere(pages, name):
    tags = Tags(text_of(pages, name))
    for tag, attributes in tags.all:
        assert tag not in ("link", "iframe", "object", "embed", "base", "audio", "video", "img")
        assert "style" not in attributes and not [k for k in attributes if k.startswith("on")]
        assert "src" not in attributes
        for key in ("href", "xlink:href"):
            assert attributes.get(key, "#").startswith(("#", "data:image/png;base64,"))
    assert len(tags.named("script")) == 2 and len(tags.named("style")) == 1
    assert not tags.named("b"), "no element of the data's"


@pytest.mark.parametrize("name", ["one", "two", "evil"])
def test_the_policy_allows_the_page_its_own_script_and_style_by_their_hashes(pages, name):
    from base64 import b64encode
    from hashlib import sha256

    text = text_of(pages, name)
    policy = next(a["content"] for a in Tags(text).named("meta") if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    style = re.search(r"<style>(.*?)</style>", text, re.S)[1]
    script = re.search(r"<script>(.*?)</script>", text, re.S)[1]
    for kind, content in (("style", style), ("script", script)):
        digest = b64encode(sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


@pytest.mark.parametrize("name", ["one", "two", "evil"])
def test_tables_charts_and_headings_are_made_for_screen_readers(pages, name):
    text = text_of(pages, name)
    tags = Tags(text)
    ids = [attributes["id"] for _, attributes in tags.all if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert len(tags.named("table")) == len(tags.named("caption")) >= len(report.CHARTS)
    assert all(a.get("scope") in ("col", "row") for a in tags.named("th"))
    pictures = tags.named("svg")
    assert len(pictures) == 2 * len(report.CHARTS), "one for wide screens, one for phones"
    for picture in pictures:
        assert picture["role"] == "img" and set(picture["aria-labelledby"].split()) <= set(ids)
    levels = [int(tag[1]) for tag, _ in tags.all if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    for attributes in tags.named("a"):
        assert attributes["href"][1:] in ids
    assert tags.named("html") == [{"lang": "en"}] and len(tags.named("main")) == 1


def test_text_that_would_do_harm_is_shown_instead(pages):
    text = text_of(pages, "evil")
    bad = re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]", text)
    assert bad == []
    assert "alert(2)" in text and "<script>alert" not in text
    data = data_of(text)
    texts = [row[browser.COLUMNS.index("text")] for row in data["attempts"]]
    assert any("<script>alert(1)</script>" in t for t in texts), "whole in the data"
    assert any("</script><!-- <script>" in t for t in texts)
    assert any("\u241b[31mred" in t for t in texts) and any("\\u202e" in t for t in texts)
    assert "<script>alert(1)</script>" in data["classes"]


def test_a_very_long_completion_is_cut_and_says_by_how_much(pages):
    rows = data_of(text_of(pages, "evil"))["attempts"]
    text, left_out = browser.COLUMNS.index("text"), browser.COLUMNS.index("leftOut")
    cut = [row for row in rows if row[text].startswith(" xxx")]
    assert cut and all(row[left_out] == 10_000 - 2000 for row in cut)


def test_a_megabyte_of_one_character_and_a_lone_surrogate_do_no_harm(evil, tmp_path, undrawn):
    run = tmp_path / "run"
    shutil.copytree(evil, run)
    (run / "journal.jsonl").unlink()  # with it, the rows would be damaged
    for file in run.glob("iterations/*/eval.jsonl"):
        rows = list(json_lines(file))
        rows[0]["completion"], rows[1]["completion"] = "y" * 1_000_000, "a \ud800 b"
        rows[2]["completion"] = "\u202e" * 1_000_000
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    text = written(tmp_path, run)
    assert len(text) < 2_500_000
    texts = [row[browser.COLUMNS.index("text")] for row in data_of(text)["attempts"]]
    assert "y" * 2000 in texts and "a \\ud800 b" in texts and "\\u202e" * 2000 in texts


def test_the_findings_say_what_came_of_it_in_words(pages):
    text = text_of(pages, "one")
    assert "iteration 1 is better than iteration 0 (the base): 16 more right, 0 fewer" in text
    assert "iteration 1 is better than zero-shot: 16 more right" in text
    assert "iteration 3 is not different from iteration 2: 0 more right" in text
    assert "iteration 1 (the best on dev): 100.0% [83.9–100.0] of n = 20 on dev" in text


def test_runs_are_named_by_what_differs_between_them(pages, runs, tmp_path, undrawn):
    text = text_of(pages, "two")
    assert "with rationalization (with)" in text and "without rationalization (without)" in text
    assert "without rationalization (without), iteration" in text, "one is tested on the other"
    assert '<th scope="row">star.rationalize</th><td>true</td><td>false</td>' in text
    other = make(tmp_path / "with", "seed=4")
    records = [reading.read(runs / "with"), reading.read(other)]
    first, second = gather.labels(records)
    assert first.startswith("seed=0 (") and second.startswith("seed=4 (")
    assert first.endswith("/with)") and second.endswith("/with)") and first[8:] != second[8:]


def test_a_run_given_twice_is_shown_once(runs, tmp_path, undrawn):
    again = runs / "with/../with"
    text = written(tmp_path, runs / "with", again)
    assert data_of(text)["runs"] == ["with"]
    assert report.folder([runs / "with", again]) == runs / "with/report"
    assert report.folder([runs / "with", runs / "without"]) == runs / "with/report-with-others"


# --------------------------------------------------------------------------- charts


def test_a_picture_in_the_page_has_its_own_ids_and_no_style():
    source = b"""<svg xmlns="http://www.w3.org/2000/svg"
      xmlns:xlink="http://www.w3.org/1999/xlink" width="10pt" viewBox="0 0 1 1">
      <metadata/><defs><style>*{}</style><path id="m" style="fill: #1b1f24"/><path id="q"/></defs>
      <g id="axes"><use xlink:href="#m" style="stroke: url(#m); fill: #ffffff; opacity: 0.5"/></g>
    </svg>"""
    found = svg.inline(source, "n", "<title>", "says")
    root = ElementTree.fromstring(found)
    assert "style" not in found and "metadata" not in found and "width" not in root.attrib
    assert root.find("title").text == "<title>" and root[0].get("id") == "n-title"
    path, unused = root.findall("defs/path")
    assert path.attrib == {"id": "n-m", "fill": "currentColor"} and unused.attrib == {}
    use = root.find("g/use").attrib
    assert use == {"href": "#n-m", "stroke": "url(#n-m)", "fill": "none", "opacity": "0.5"}


def test_every_reference_in_the_pages_pictures_leads_somewhere(pages):
    text = text_of(pages, "two")
    ids = set(re.findall(r' id="([^"]+)"', text))
    references = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text))
    assert len(references) > 50 and all((a or b) in ids for a, b in references)


def test_the_tables_have_the_numbers_of_the_run(pages, runs):
    text = text_of(pages, "one")
    for line in json_lines(runs / "with/metrics.jsonl"):
        if line["iteration"]:
            steps = line["train"]["steps"]
            row = f'<th scope="row" class="n">{line["iteration"]}</th>'
            cells = [
                line["problems"],
                line["solved"],
                line["rationalized"],
                line["examples"],
                steps,
            ]
            assert row + "".join(f'<td class="n">{cell}</td>' for cell in cells) in text


def test_the_ledger_is_sorted_by_when_a_problem_was_first_solved(runs):
    [run] = gather.runs([runs / "without"])
    states, (direct, hinted) = run.grid.states, (gather.DIRECT, gather.WITH_HINT)
    assert states.shape == (len(run.grid.ids), 3) and not (states == hinted).any()
    first = [int(np.argmax(row == direct)) if (row == direct).any() else 3 for row in states]
    assert first == sorted(first) and len(set(first)) > 1
    found = json.loads(json.dumps(gather.ledger.read(runs / "without").as_json()))
    for id, row in zip(run.grid.ids, states, strict=True):
        history = found["problems"][id]
        assert [i + 1 for i in range(3) if row[i] == direct] == history["direct"]
        assert [i + 1 for i in range(3) if row[i] > gather.NOT_ATTEMPTED] == history["attempted"]


def test_a_problem_solved_by_hint_has_its_own_state(runs):
    [run] = gather.runs([runs / "with"])
    assert int((run.grid.states[:, 0] == gather.WITH_HINT).sum()) == 16
    assert int((run.grid.states[:, 0] == gather.DIRECT).sum()) == 4


def test_losses_are_by_step_or_else_the_first_and_the_last(runs, pages, tmp_path, unpainted):
    shutil.copytree(runs / "with", tmp_path / "run")
    assert "Mean loss over the batch at each optimizer step" in text_of(pages, "one")
    (tmp_path / "run/journal.jsonl").unlink()  # with it, the files would be missing
    for file in (tmp_path / "run").glob("iterations/*/train.jsonl"):
        file.unlink()
    text = written(tmp_path, tmp_path / "run")
    assert "over the first and over the last tenth of the steps" in text
    assert "Gradient norm" not in text


def test_a_long_curve_is_averaged_over_neighbours(tmp_path):
    folder = tmp_path / "iterations/001"
    folder.mkdir(parents=True)
    steps = [Step(i, 1000, 2.0 * i, 1.0, 0.1, i) for i in range(1, 1001)]
    (folder / "train.jsonl").write_bytes(b"".join(rows.steps(steps)))
    points = gather._curve(RunRecord(tmp_path, {}, []), 1).points
    assert (
        len(points) == 200 and points[0] == (3.0, 6.0, 1.0) and points[-1] == (998.0, 1996.0, 1.0)
    )


# --------------------------------------------------------------------------- samples


def select(path, size=1_000_000):
    [run] = gather.runs([path])
    return samples.select(run, run_problems.of_run(run.record), size)


def test_all_attempts_of_a_drawn_problem_are_shown(runs):
    found = select(runs / "with")
    assert found.drawn == found.problems and found.extra == 0
    rows = [
        (row["id"], row["hinted"], n, row["completion"])
        for n in range(4)
        for name in samples.FILES
        for row in json_lines(runs / f"with/iterations/{n:03d}/{name}")
    ]
    assert sorted((s.id, s.hinted, s.iteration, s.text) for s in found.shown) == sorted(rows)
    assert found.attempts == len(rows)


def test_problems_are_drawn_by_the_hash_of_their_id_until_there_is_no_room(runs):
    [run] = gather.runs([runs / "with"])
    small, larger = select(runs / "with", 6_000), select(runs / "with", 12_000)
    assert 0 < small.drawn < larger.drawn < larger.problems
    order = list(samples.ranked(run.grid.ids))
    assert order != list(run.grid.ids) and order == list(samples.ranked(reversed(run.grid.ids)))
    for found in (small, larger):
        whole = [s for s in found.shown if s.split == "train"]
        firsts = set(order[: (found.drawn + 1) // 2])
        assert firsts <= {s.id for s in whole}
        assert sum(s.size for s in found.shown) < 14_000


def test_every_kind_of_attempt_is_shown_however_little_room_there_is(evil):
    found = select(evil, 1)
    assert found.drawn == 0 and found.extra == len(found.shown)
    assert {s.kind for s in found.shown} == {"right", "wrong", "no answer", "cut off", "hint leak"}
    assert all(sum(s.kind == kind for s in found.shown) <= samples.FEW for kind in samples.KINDS)


def test_rejected_attempts_are_a_kind_with_its_reason(tmp_path):
    def told(asked):
        return learner(asked).replace("</scratch>", "Target </scratch>")

    run = make(tmp_path / "run", "star.reject_hint_leaks=true", "star.iterations=1", reply=told)
    rejected = [s for s in select(run).shown if s.kind == "rejected"]
    assert len(rejected) == 16
    assert all(s.hinted and s.remark == "right, but not kept: hint leak" for s in rejected)


def test_without_room_no_attempt_is_read_or_shown(runs, tmp_path, undrawn):
    text = written(tmp_path, runs / "with", samples_bytes=0)
    assert "No attempts are shown" in text and data_of(text)["attempts"] == []


def test_rows_of_other_writers_are_read_as_well(runs, tmp_path):
    shutil.copytree(runs / "with", tmp_path / "run")
    (tmp_path / "run/journal.jsonl").unlink()
    for file in (tmp_path / "run").glob("iterations/*/*.jsonl"):
        rows = list(json_lines(file))
        file.write_text("".join(json.dumps(row, indent=None) + "\n" for row in rows))
    assert select(tmp_path / "run").shown == select(runs / "with").shown


def test_problems_that_were_wrong_then_kept_with_hint_then_right_come_first(runs):
    found = select(runs / "with").shown
    places = samples._places(found)
    order = [places[one.split, one.id] for one in found]
    assert order == sorted(order) and {0, 1, 2} == set(order)
    first = [one for one in found if one.id == found[0].id]
    assert [(one.iteration, one.hinted, one.kind) for one in first[:2]] == [
        (first[0].iteration, False, "wrong"),
        (first[0].iteration, True, "right"),
    ]
    assert first[2].kind == "right" and not first[2].hinted


def test_of_a_very_large_run_some_iterations_are_read(runs, monkeypatch):
    whole = select(runs / "with")
    assert whole.read == ()
    last = max(one.iteration for one in whole.shown)
    monkeypatch.setattr(samples, "READ", whole.attempts // 2)
    found = select(runs / "with")
    assert found.read[0] == 0 and found.read[-1] == last and 2 <= len(found.read) <= last
    assert {one.iteration for one in found.shown} <= set(found.read)
    assert found.attempts == whole.attempts, "of all iterations"
    monkeypatch.setattr(samples, "READ", 1)
    assert select(runs / "with").read == (0, last)


def test_the_traced_problem_is_among_the_samples_however_many_there_are(runs):
    [run] = gather.runs([runs / "with"])
    known = run_problems.of_run(run.record)
    last = list(samples.ranked(run.grid.ids))[-1]
    assert last not in {one.id for one in samples.select(run, known, 6_000).shown}
    assert last in {one.id for one in samples.select(run, known, 6_000, last).shown}


def test_the_page_opens_with_the_verdict_and_one_problem(pages, runs):
    text = text_of(pages, "one")
    record = reading.read(runs / "with")
    judged, trace = verdict.of_run(record), tracing.trace(record)
    places = [text.index(escape(line)) for line in judged.sentences]
    places += [text.index(escape(part.title)) for part in trace.parts()]
    assert places == sorted(places) and places[-1] < text.index('id="findings"')
    assert text.index('class="chart"') < text.index('id="problem"')
    assert "<title>star-mlx report: with</title>" in text and "<h1>with</h1>" in text
    assert "<h1>with and without</h1>" in text_of(pages, "two")


def test_a_run_that_attempted_nothing_has_no_problem_to_show(tmp_path, undrawn):
    run = make(tmp_path / "run", "star.iterations=1")
    file = run / "metrics.jsonl"
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    text = written(tmp_path, run)
    assert 'id="problem"' not in text and "No iteration is finished yet" in text


def test_a_damaged_row_is_named_by_its_line(runs, tmp_path):
    shutil.copytree(runs / "with", tmp_path / "run")
    (tmp_path / "run/journal.jsonl").unlink()
    file = tmp_path / "run/iterations/002/attempts.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], lines[2][:40] + b"\n", *lines[3:]]))
    with pytest.raises(RunError, match=r"attempts\.jsonl, line 3 is damaged"):
        written(tmp_path, tmp_path / "run")
    assert not (tmp_path / "out").exists()


def test_questions_answers_and_classes_come_from_the_data(pages, runs):
    data = data_of(text_of(pages, "one"))
    task = Arithmetic(opening.open_task(recipe())[0].options)
    known = {p.id: p for split in ("train", "dev") for p in task.problems(split)}
    assert data["classes"] == ["1", "2", "3", "4", "5"] and len(data["problems"]) > 30
    for id, question, gold, group in data["problems"]:
        problem = known[id]
        assert (question, gold, group) == (problem.question.text, problem.answer, problem.group)


def test_the_test_split_is_never_asked_for(runs, tmp_path, monkeypatch, undrawn):
    asked = []
    real = Arithmetic.problems
    monkeypatch.setattr(
        Arithmetic, "problems", lambda s, split: asked.append(split) or real(s, split)
    )
    written(tmp_path, runs / "with")
    assert set(asked) == {"train", "dev"}


def test_without_the_data_the_prompts_are_shown_and_it_is_said(tmp_path, undrawn):
    run = hostile.make(tmp_path)
    (tmp_path / "data.jsonl").rename(tmp_path / "moved.jsonl")
    text = written(tmp_path, run)
    assert "are not shown, only the prompts that were trained on" in text and "data.jsonl" in text
    shown = [question for _, question, _, _ in data_of(text)["problems"] if question]
    assert shown and all(question.startswith("Q: ") for question in shown)


def test_data_that_has_changed_is_not_shown_for_that_of_the_run(tmp_path, undrawn):
    run = hostile.make(tmp_path)
    file = tmp_path / "data.jsonl"
    file.write_text(file.read_text().replace(" + 1?", " plus 1?"))
    text = written(tmp_path, run)
    assert "the data has changed since the run was made" in text
    assert not [q for _, q, _, _ in data_of(text)["problems"] if "plus 1" in q]


# --------------------------------------------------------------------------- differences


def applied(old, new, operations):
    """What the page's script makes of operations: the old text and the new one, put together."""
    a, b = (list(text.encode("utf-16-le", "surrogatepass")) for text in (old, new))
    before, after, i, j = [], [], 0, 0
    for kind, digits in re.findall(r"([=+-])(\d+)", operations):
        n = 2 * int(digits)
        if kind in "=-":
            before += a[i : i + n]
            i += n
        if kind in "=+":
            after += b[j : j + n]
            j += n
        if kind == "=":
            assert a[i - n : i] == b[j - n : j]
    return before == a and after == b


@given(st.text("ab \n😀", max_size=40), st.text("ab \n😀", max_size=40))
def test_a_difference_leads_from_the_old_text_to_the_new(old, new):
    assert applied(old, new, difference.operations(old, new))


def test_a_difference_is_by_words_and_counts_as_javascript_does():
    assert difference.operations("so 12 + 3", "so 12 + 4") == "=8-1+1"
    assert difference.operations("😀 a", "😀 b") == "=3-1+1"
    assert difference.operations("", "") == ""


def test_texts_that_are_too_long_are_not_compared():
    assert difference.operations("a " * 2000, "b " * 2000) is None


def test_a_hinted_attempt_is_compared_with_the_direct_one_and_with_the_one_before(pages):
    data = data_of(text_of(pages, "evil"))
    rows = [dict(zip(data["columns"], row, strict=True)) for row in data["attempts"]]
    compared = [row for row in rows if row["direct"]]
    assert compared and all(row["hinted"] for row in compared)
    for row in compared:
        other = rows[row["direct"][0]]
        same = ("run", "split", "iteration", "problem")
        assert not other["hinted"] and all(other[key] == row[key] for key in same)
        assert applied(other["text"], row["text"], row["direct"][1])
    later = [row for row in rows if row["before"]]
    assert later
    for row in later:
        other = rows[row["before"][0]]
        same = ("run", "split", "hinted", "problem")
        assert other["iteration"] < row["iteration"] and all(other[k] == row[k] for k in same)
        assert applied(other["text"], row["text"], row["before"][1])


@given(st.text())
def test_nothing_in_the_data_can_end_its_element(text):
    found = browser.script_json({"a": text.encode("utf-8", "replace").decode()})
    assert not set(found) & set("<>&\u2028\u2029") and json.loads(found)


# --------------------------------------------------------------------------- whole runs


def test_a_report_of_a_large_run_stays_below_three_megabytes(
    benchmark,  # noqa: F811
    tmp_path,
    unpainted,
):
    module = benchmark("synthetic_run")
    shape = module.Shape(20, 2_000, train=4_000, dev=200)
    module.write(tmp_path / "run", shape, ScriptedEngine(learner))
    report.write([tmp_path / "run"], tmp_path / "out", MADE)
    size = (tmp_path / "out/index.html").stat().st_size
    assert 800_000 < size < 3_000_000
    found = data_of((tmp_path / "out/index.html").read_text(encoding="utf-8"))
    assert {row[2] for row in found["attempts"]} == set(range(21))


@pytest.mark.parametrize("kind", ["few-shot", "direct"])
def test_a_baseline_is_a_run_too_and_stands_beside_its_run(runs, tmp_path, kind, unpainted):
    from star_mlx.run import baseline

    shutil.copytree(runs / "with", tmp_path / "run")
    made = baseline.recipe(recipe(), kind, run=tmp_path / "run", steps=None)
    folder = tmp_path / "run/baselines" / kind
    loop.run(made, folder, lambda event: None, engine=ScriptedEngine(learner))
    assert "Accuracy on dev" in written(tmp_path, folder)
    text = written(tmp_path, tmp_path / "run", folder)
    assert ("better than direct" in text or "not different from direct" in text) == (
        kind == "direct"
    )


def test_a_run_that_was_only_begun_has_a_report_of_its_base(runs, tmp_path, unpainted):
    shutil.copytree(runs / "with", tmp_path / "run")
    file = tmp_path / "run/metrics.jsonl"
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    assert "iteration 0 (the base, the best on dev, the last)" in written(
        tmp_path, tmp_path / "run"
    )


def test_a_run_without_dev_accuracies_has_a_report(tmp_path, unpainted):
    run = make(tmp_path / "run", "star.evaluate=false", "star.iterations=2")
    text = written(tmp_path, run)
    assert "Yields" in text and "Accuracy on dev" not in text


def test_measurements_of_a_run_are_in_its_report(runs, tmp_path, undrawn):
    from star_mlx.run.evaluate import How, evaluate_run

    shutil.copytree(runs / "with", tmp_path / "run")
    engine = ScriptedEngine(learner)
    evaluate_run(tmp_path / "run", "2", how=How("dev"), against=["few-shot"], engine=engine)
    (tmp_path / "run/results/other.json").write_text("[1]")
    text = written(tmp_path, tmp_path / "run")
    assert "iteration 2, dev: 100.0% [83.9-100.0] of n = 20" in text
    assert "results/other.json is not a result of star-mlx evaluate: left out" in text


def test_a_run_in_use_can_be_reported_on_and_is_left_as_it_is(runs, tmp_path, undrawn):
    before = {f: f.read_bytes() for f in (runs / "with").rglob("*") if f.is_file()}
    with writing.opened(runs / "with", {}):
        held = {f: f.read_bytes() for f in (runs / "with").rglob("*") if f.is_file()}
        written(tmp_path, runs / "with")
        assert {f: f.read_bytes() for f in (runs / "with").rglob("*") if f.is_file()} == held
    assert before.keys() == held.keys()


def test_the_same_run_makes_the_same_report(runs, pages, tmp_path):
    made = tmp_path / "again"
    files = {f.relative_to(made) for f in report.write([runs / "with"], made, MADE).files}
    assert {f.relative_to(pages / "one") for f in (pages / "one").rglob("*.*")} == files
    for file in files:
        assert (made / file).read_bytes() == (pages / "one" / file).read_bytes(), file


# --------------------------------------------------------------------------- the folder


def test_an_earlier_report_is_replaced_and_nothing_else_is(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "_draw", lambda found: ({"charts/work.svg": b"new"}, []))
    out = tmp_path / "out"
    report.write([runs / "with"], out, MADE)
    (out / "charts/work.svg").write_text("old")
    report.write([runs / "with"], out, MADE)
    assert (out / "charts/work.svg").read_text() == "new"
    (out / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"has other files than a report \(notes\.txt\)"):
        report.write([runs / "with"], out, MADE)
    assert (out / "notes.txt").read_text() == "mine" and (out / "index.html").exists()
    assert [f.name for f in tmp_path.iterdir()] == ["out"]


def test_a_page_of_someone_else_is_not_replaced(runs, tmp_path, undrawn):
    (tmp_path / "index.html").write_text("<!doctype html><title>my site</title>")
    with pytest.raises(RunError, match=r"index\.html"):
        report.write([runs / "with"], tmp_path, MADE)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is a file"):
        report.write([runs / "with"], tmp_path / "file", MADE)
    with pytest.raises(RunError, match="cannot be written"):
        report.write([runs / "with"], tmp_path / "file/below", MADE)


# --------------------------------------------------------------------------- the command


@pytest.fixture
def star(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def test_the_command_prints_where_the_page_is_and_can_open_it(
    runs, tmp_path, star, monkeypatch, undrawn
):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    shutil.copytree(runs / "with", tmp_path / "run")
    code, out, err = star("report", tmp_path / "run")
    assert (code, err, opened) == (0, "", [])
    assert out.splitlines()[0] == str(tmp_path / "run/report/index.html")
    star("report", tmp_path / "run", "--out", tmp_path / "there", "--samples-bytes", 0, "--open")
    assert opened == [(tmp_path / "there/index.html").as_uri()]


def test_what_cannot_be_reported_on_is_one_line(runs, tmp_path, star, monkeypatch):
    def refused(*arguments):
        code, out, err = star("report", *arguments)
        assert (code, out) == (2, "") and err.count("\n") == 1
        return err

    assert "is not a run folder" in refused(tmp_path)
    shutil.copytree(runs / "with", tmp_path / "run")
    (tmp_path / "run/metrics.jsonl").unlink()
    assert "has no finished iteration yet" in refused(tmp_path / "run")
    monkeypatch.setattr(report, "find_spec", lambda name: None)
    assert "needs matplotlib, which is missing" in refused(runs / "with")
