"""The examples of docs/python.md, run; some of them in the kernel of a real notebook."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

PAGE = Path(__file__).parent.parent / "docs/python.md"
TEXT = PAGE.read_text(encoding="utf-8")
FENCED = re.compile(r"^```python\n(.*?)^```$", re.S | re.M)


def blocks(text: str) -> list[str]:
    return FENCED.findall(text)


def section(heading: str) -> list[str]:
    [text] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.S | re.M)
    return blocks(text)


@pytest.mark.slow
def test_every_example_runs_and_gives_what_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "__main__"}
    for number, block in enumerate(blocks(TEXT), 1):
        exec(compile(block, f"{PAGE.name}, example {number}", "exec"), names)
    out = capsys.readouterr().out.splitlines()
    assert "there is no setting rnak: did you mean rank?" in out
    assert "iteration 1: 1 solved, 4 rationalized" in out
    assert "iteration 2: 5 solved, 0 rationalized" in out
    assert "runs/nowhere is not a run folder: there is no such folder" in out
    assert names["answer"].correct and names["run"].last == 1
    assert names["measured"].n == 20 and names["comparison"].pair.n == 20
    assert names["halted"].last == 2 and len(names["losses"]) == 10
    first = names["halves"].metrics[1]
    assert (first.solved, first.rationalized, first.dev.accuracy) == (11, 29, 1.0)
    assert names["again"].ask("What is half of 50?").correct
    assert names["grades"].accuracy == 0.5
    assert (tmp_path / "lesson.html").stat().st_size > 10_000
    assert (tmp_path / "exported/adapters.safetensors").is_file()


def test_no_python_block_of_the_page_is_left_out():
    assert len(blocks(TEXT)) == TEXT.count("```python") == 16


def test_the_custom_task_is_about_twenty_lines():
    assert len([line for line in section("A task of your own")[0].splitlines() if line]) <= 20


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """The outputs of the cells of a notebook with the page's task, and the folder it ran in."""
    folder = tmp_path_factory.mktemp("notebook")
    task, pupil, *_ = section("A task of your own")
    stopped = pupil.replace("out=", "on_event=stop, out=").replace("runs/halves", "runs/stopped")
    sources = [
        "import star_mlx as sx",
        task,
        pupil.split("\n\n\nhalves =")[0] + "\n",
        "halves =" + pupil.split("\nhalves =")[1].split("\n")[0],
        "halves",
        "halves.ask('What is half of 50?')",
        "def stop(event):\n    if isinstance(event, sx.IterationFinished): raise KeyboardInterrupt",
        "halves =" + stopped.split("\nhalves =")[1].split("\n")[0],
        "sx.open_run('runs/stopped', task=task, engine=halves._engine).resume()",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", allow_errors=True,
        resources={"metadata": {"path": str(folder)}},
    )  # fmt: skip
    client.execute()
    return [cell.outputs for cell in notebook.cells], folder


@pytest.mark.slow
def test_in_a_notebook_train_updates_one_display(cells):
    outputs, _ = cells
    [shown] = outputs[3]
    assert shown.output_type == "display_data"
    html = shown.data["text/html"]
    assert html.count("<tr>") == 4 and "finished in" in html and "generating" not in html
    assert "finished in" in shown.data["text/plain"]


@pytest.mark.slow
def test_in_a_notebook_a_run_is_a_table(cells):
    outputs, _ = cells
    [result] = outputs[4]
    html = result.data["text/html"]
    rows = re.findall(r"<tr>(.*?)</tr>", html)
    heads = re.findall(r"<th[^>]*>(.*?)</th>", rows[0])
    assert heads[:5] == ["iter", "problems", "solved<br>directly", "with<br>hint", "kept"]
    first = re.findall(r"<td[^>]*>(.*?)</td>", rows[2])
    assert first[:5] == ["1", "40", "11", "29", "40"] and len(rows) == 4
    assert "runs/halves: task.py:Halves" in html


@pytest.mark.slow
def test_in_a_notebook_an_answer_is_text(cells):
    outputs, _ = cells
    [result] = outputs[5]
    text = result.data["text/plain"]
    assert text.endswith("iteration 2 answers 25, right") and "25 + 25 = 50." in text


@pytest.mark.slow
def test_in_a_notebook_the_source_of_a_task_is_kept(cells):
    _, folder = cells
    kept = (folder / "runs/halves/task.py").read_text(encoding="utf-8")
    assert kept.startswith("class Halves(sx.SimpleTask):") and "Half of an even number" in kept
    assert "task = Halves()" not in kept


@pytest.mark.slow
def test_in_a_notebook_an_interrupted_cell_leaves_a_run_to_go_on_with(cells):
    outputs, folder = cells
    [error] = outputs[7]
    assert error.output_type == "error" and error.ename == "KeyboardInterrupt"
    assert (folder / "runs/stopped/metrics.jsonl").is_file()
    shown = [o.data["text/html"] for o in outputs[8] if o.output_type == "execute_result"]
    assert len(shown) == 1 and shown[0].count("<tr>") == 4
