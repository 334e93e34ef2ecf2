"""The Python door and the JSON door for real: README's lines, another thread, a notebook, another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from capetune.prediction.template import Template
from capetune.service.search import SearchRequest

from .conftest import OURS, PATIENCE, SMALL
from .machines import NOT_NICE

pytestmark = pytest.mark.timeout(900)
ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
SPACE = "loss.tokens: {log: [0.05, 2.0]}\n"
SETTINGS = SMALL | {"train.epochs": 1}


def readme_lines() -> str:
    """The Python block of README that calls a search."""
    blocks = [block.partition("```")[0] for block in README.read_text().split("```python\n")[1:]]
    (found,) = [block for block in blocks if "capetune.search(" in block]
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_pack: Path, tiny_root: Path) -> Path:
    """A folder with what README's lines name: decoder.yaml, shards/, a pack, two pictures and a template."""
    root = tmp_path_factory.mktemp("doors")
    (root / "decoder.yaml").write_text(SPACE)
    (root / "shards").symlink_to(tiny_pack)
    for name, picture in (("a.jpg", "000"), ("b.jpg", "001")):
        (root / name).symlink_to(tiny_root / f"images/tiny88_body/{picture}.jpg")
    Template.of([[0.1, 0.5], [0.9, 0.5]], [(0, 1)]).write(root / "fly.json")
    return root


def environment(place: Path) -> dict[str, str]:
    own = {
        "HOME": str(place),
        "CAPETUNE_CACHE": str(place / "cache"),
        "OMP_NUM_THREADS": "1",
        **NOT_NICE,
    }
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)} | own


def smaller(code: str) -> str:
    """README's lines with a tiny model and short trainings: everything else as it stands there."""
    small = code.replace("trials=40", f"trials=2, preset='demo', name='readme', set={SETTINGS!r}")
    small = small.replace('set={"train.epochs": 300}', 'set={"train.epochs": 2}, name="longer"')
    small = small.replace("split=1,", "split=1, episodes=1, queries=3,")
    assert small.count("tiny") == 0
    return small


def test_readme_s_lines_work_in_a_thread_of_a_script(place: Path) -> None:
    code = (
        "import threading, traceback\n"
        f"lines = {smaller(readme_lines())!r}\n"
        "space = {}\n"
        "def work():\n"
        "    exec(lines, space)\n"
        "thread = threading.Thread(target=work)\n"
        "thread.start()\n"
        "thread.join()\n"
        "print(space['found'].best.number, space['trained'].meta.epoch, space['report'].scores.pairs)\n"
        "print(space['poses'].xy.shape)\n"
        "print(space['model'].estimator.training, space['model'].meta.config.train.epochs)\n"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(
        words, cwd=place, env=environment(place), capture_output=True, text=True, timeout=2 * PATIENCE
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[-3].split()[1:] == ["2", "6"]
    assert lines[-2] == "(2, 2, 2)"
    assert lines[-1] == "False 2"
    assert any(line.startswith("trial 0 (default): completed") for line in lines)
    assert any(line.startswith("epoch 2/2") for line in lines)


@pytest.mark.long  # a kernel with a Ray of its own
def test_in_a_notebook_a_search_uses_the_ray_that_is_there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A running event loop, and Ray started by the cell before."""
    monkeypatch.setenv("IPYTHONDIR", str(place / "ipython"))  # the client makes it too, not only the kernel
    cells = [
        "import ray\nray.init(num_cpus=2, log_to_driver=False)",
        "import asyncio\nassert asyncio.get_running_loop().is_running()\nimport capetune\n"
        "heard = []\n"
        "found = capetune.search(space='decoder.yaml', data='shards', preset='demo', trials=2, name='notebook',\n"
        f"                        set={SETTINGS!r}, listener=heard.append)",
        "print([result.status for result in found.trials], sorted({event.kind for event in heard}))\n"
        "assert ray.is_initialized()",
        "trained = capetune.train(best='notebook', name='shown')",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = NotebookClient(notebook, timeout=PATIENCE * 2, resources={"metadata": {"path": str(place)}})
    with tempfile.TemporaryDirectory(prefix="ct", ignore_cleanup_errors=True) as short:  # what a user's own Ray leaves
        client.execute(env=environment(place) | {"TMPDIR": short})
    said = "".join(output.get("text", "") for output in notebook.cells[2].outputs)
    assert said.startswith("['completed', 'completed'] [")
    for kind in ("cluster_joined", "data_described", "epoch_done", "search_began", "trial_ended", "trial_started"):
        assert f"'{kind}'" in said
    assert (place / "runs/shown/run.json").is_file()


@pytest.mark.long  # a kernel that imports torch
def test_the_notebook_of_docs_runs_from_top_to_bottom(
    tmp_path: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is committed, in a folder where a demo has left a model: here one that has learnt nothing."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/demo-20260101-120000-best").symlink_to(untrained)
    notebook = nbformat.read(ROOT / "docs/notebook.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), "clear the outputs before you commit it"
    NotebookClient(notebook, timeout=PATIENCE, resources={"metadata": {"path": str(tmp_path)}}).execute(
        env=environment(tmp_path)
    )
    said = ["".join(each.text for each in cell.outputs if each.get("name") == "stdout") for cell in code]
    assert said[1].startswith("epoch 3, crops of 64 px")
    keypoints = len(said[2].splitlines()) - 1
    assert said[4].startswith(f"(4, {keypoints}, 2) (4, {keypoints})\n")
    assert len(said[4].splitlines()) == 1 + keypoints
    assert any("image/png" in output.get("data", {}) for output in code[5].outputs)
    assert [line.split()[0] for line in said[6].splitlines()] == ["model", "template"]


@pytest.mark.deploy  # two searches
def test_a_request_written_by_one_process_and_run_by_another_gives_the_trials_of_the_command(place: Path) -> None:
    settings = [f"{key}={json.dumps(value)}" for key, value in SETTINGS.items()]
    common = {"space": "decoder.yaml", "data": "shards", "preset": "demo", "trials": 3}
    program = [sys.executable, "-c", "from capetune.cli.main import program; program()"]
    tell = {"cwd": place, "env": environment(place), "capture_output": True, "text": True}
    request = SearchRequest.of(**common, name="asked", set=settings)
    (place / "asked.json").write_text(request.model_dump_json())
    done = subprocess.run([*program, "request", "asked.json"], **tell, timeout=PATIENCE)  # type: ignore[call-overload]
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["event"] == "result"
    assert {event["event"] for event in events} >= {"search_began", "trial_started", "epoch_done", "trial_ended"}
    options = [word for key, value in common.items() for word in (f"--{key}", str(value))]
    words = [*program, "search", *options, "--name", "typed", *(f"--set={text}" for text in settings)]
    assert subprocess.run(words, **tell, timeout=PATIENCE).returncode == 0  # type: ignore[call-overload]
    asked, typed = (json.loads((place / f"runs/{name}/results.json").read_text()) for name in ("asked", "typed"))
    assert [trial["number"] for trial in events[-1]["trials"]] == [trial["number"] for trial in asked["trials"]]

    def by_number(tree: dict) -> dict:
        kept = ("overrides", "status", "score", "config_hash", "history", "epochs")
        return {trial["number"]: {key: trial[key] for key in kept} for trial in tree["trials"]}

    assert by_number(asked) == by_number(typed)
