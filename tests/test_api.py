"""The Python door without Ray; searches and trainings through it are in tests/integration."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import capetune
from capetune.config import load_preset
from capetune.datasets.packs.reader import open_pack
from capetune.errors import UserError
from capetune.events import Progress
from capetune.models.estimator import PoseEstimator
from capetune.runs.checkpoints import CheckpointMeta
from capetune.runs.facts import describe_data
from capetune.runs.record import Run
from capetune.training.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_pack):
    """The folder of a training with two checkpoints."""
    folder = tmp_path_factory.mktemp("runs") / "trained"
    keys = {"data.size": 64, "model.width": 32, "model.heads": 4, "model.backbone.weights": "none"}
    config = load_preset("demo").with_overrides(keys)
    model, data = PoseEstimator(config.model), describe_data(open_pack(tiny_pack), 1)
    Run(folder, "train", "completed").save("completed")
    for epoch, score in ((1, 0.5), (2, 0.25)):
        save_checkpoint(folder / f"epoch-{epoch:04d}", model, CheckpointMeta(config, epoch, {"mpck4": score}, data), {})
    return folder


def test_to_import_it_imports_nothing_heavy():
    code = "import capetune, sys, json; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "ray", "numpy", "pydantic", "optuna", "rich", "typer", "cv2", "yaml"}
    assert not heavy & set(json.loads(done.stdout))


def test_every_verb_has_a_contract():
    for name in capetune.__all__:
        assert "Raises" in getattr(capetune, name).__doc__, name


def test_a_run_s_best_is_loaded_or_the_checkpoint_that_is_named(run):
    model = capetune.load(run)
    assert (model.meta.epoch, model.estimator.training) == (1, False)
    assert capetune.load(str(run / "epoch-0002")).meta.epoch == 2
    with pytest.raises(UserError, match="is not a capetune checkpoint"):
        capetune.load(run.parent)


def test_an_evaluation_returns_its_report_and_tells_how_far_it_is(run, capsys):
    heard = []
    report = capetune.evaluate(split=1, checkpoint=run / "epoch-0001", episodes=1, queries=3, listener=heard.append)
    assert report.scores.pairs == 2 * 3
    assert report.template.mpck4 > 0
    assert [event.done for event in heard if isinstance(event, Progress)][-1] > 0
    assert capsys.readouterr() == ("", "")


def test_without_a_listener_it_is_shown(run, capsys):
    capetune.evaluate(split=1, runs=run.parent, episodes=1, queries=3)
    assert f"best checkpoint of the latest run: {run}/epoch-0001" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (lambda: capetune.search(spaces="x"), "there is no 'spaces' in a request to search; did you mean 'space'"),
        (lambda: capetune.search(space="nosuch"), "there is no search space nosuch"),
        (lambda: capetune.train(best="nosuch"), "there is no search 'nosuch' in runs"),
        (lambda: capetune.promote(name="nosuch"), "there is no search 'nosuch' in runs"),
        (lambda: capetune.submit("serch"), "did you mean 'search'?"),
        (lambda: capetune.submit("search", address="head:6379"), "the dashboard's URL is wanted"),
        (
            lambda: capetune.predict(images="a.jpg", out="found", category="x"),
            "no such picture: a.jpg; give files or a folder that exist",
        ),
        (lambda: capetune.export(checkpoint="nosuch", out="mine.pt2"), "there is no run 'nosuch' in runs"),
        (lambda: capetune.predict(images=[], out="found"), "no picture is named; give files or a folder"),
        (lambda: capetune.serve(prt=1).__enter__(), "there is no 'prt' in a request to serve; did you mean 'port'?"),
        (lambda: capetune.template(cocoa="x"), "there is no 'cocoa' in a template; did you mean 'coco'?"),
        (lambda: capetune.evaluate(split=6), "--split: Input should be less than or equal to 5, not 6"),
    ],
)
def test_bad_input_is_the_one_exception_with_its_cure(ask, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as raised:
        ask()
    assert line in str(raised.value)
    assert list(tmp_path.iterdir()) == []
