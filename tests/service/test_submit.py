from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from capetune.errors import UserError
from capetune.service.door import read_request
from capetune.service.predict import PredictRequest
from capetune.service.promote import PromoteRequest
from capetune.service.search import SearchRequest
from capetune.service.submit import SENT, packed, submit
from capetune.service.train import TrainRequest

FAR = {"data": "s3://b/pack", "runs": "s3://b/runs"}


def test_what_is_sent_runs_the_same_code_elsewhere(tmp_path: Path) -> None:
    code = "import capetune, importlib.metadata as m; print(capetune.__file__, m.version('capetune'))"
    with packed(TrainRequest.of(preset="demo", **FAR)) as folder:
        assert (folder / "capetune/search_spaces/decoder.yaml").is_file()
        assert (folder / "capetune/datasets/packs/reader.py").is_file()
        assert not [file for file in folder.rglob("*") if file.is_symlink() or file.suffix == ".pyc"]
        alone = {"PYTHONPATH": str(folder)}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=tmp_path, env=os.environ | alone, capture_output=True, text=True, check=True)
        assert done.stdout.split()[0] == str(folder / "capetune/__init__.py")
        sent = read_request(folder / SENT)
    assert sent == TrainRequest.of(preset="demo", address="auto", **FAR)
    assert not folder.exists()


def test_predictions_are_made_where_the_pictures_are() -> None:
    with pytest.raises(UserError, match="run it here"), packed(PredictRequest.of(images="a.jpg", out="found")):
        pass


def test_the_files_of_space_and_config_travel_along(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("loss.tokens: {log: [0.1, 1]}\n")
    (tmp_path / "own.yaml").write_text("seed: 3\n")
    request = SearchRequest.of(space=str(tmp_path / "mine.yaml"), config=tmp_path / "own.yaml", **FAR)
    with packed(request) as folder:
        tree = json.loads((folder / SENT).read_text())
        assert (tree["space"], tree["config"]) == ("mine.yaml", "own.yaml")
        assert (folder / "mine.yaml").read_text() == (tmp_path / "mine.yaml").read_text()
        assert (folder / "own.yaml").read_text() == "seed: 3\n"


def test_a_built_in_space_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with packed(SearchRequest.of(space="decoder", **FAR)) as folder:
        assert json.loads((folder / SENT).read_text())["space"] == "decoder"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (
            SearchRequest.of(space="decoder", data="shards", runs="s3://b/runs"),
            "can't see --data shards, a path of this",
        ),
        (
            SearchRequest.of(space="decoder", data="s3://b/pack"),
            "can't see --runs runs, a path of this machine: give an",
        ),
        (TrainRequest.of(features="kept", **FAR), "can't see --features kept"),
        (TrainRequest.of(config="nowhere.yaml", **FAR), "--config nowhere.yaml: there is no such file"),
    ],
)
def test_what_the_cluster_can_t_see_is_refused(request_, words: str) -> None:
    with pytest.raises(UserError, match=words), packed(request_):
        pass


def test_absolute_paths_may_be_shared_and_the_built_in_set_is_everywhere() -> None:
    with packed(PromoteRequest.of(name="x", runs="/shared/runs", data="synthetic")) as folder:
        assert json.loads((folder / SENT).read_text())["runs"] == "/shared/runs"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (SearchRequest.of(space="losses", set=["model.widht=3"], **FAR), "model.widht"),
        (SearchRequest.of(space="nofile.yaml", **FAR), "there is no search space nofile.yaml"),
        (TrainRequest.of(set=["train.steps=x"], **FAR), "train.steps"),
    ],
)
def test_what_can_be_told_to_be_wrong_here_is_not_sent(asked, said: str) -> None:
    with pytest.raises(UserError, match=said):
        submit(asked, None)
