"""Exported files are run as their card says, and give what the model gives."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

import capetune
from capetune.cli.main import app
from capetune.models.estimator import PoseEstimator
from capetune.prediction.exported import FACTS
from capetune.runs.checkpoints import CheckpointMeta, read_meta
from capetune.training.checkpoint import save_checkpoint

pytestmark = pytest.mark.long
EDGES = [(0, 1), (1, 2)]
SIZE = {"data.size": 64}


def facts_in(file: Path) -> dict:
    if file.suffix == ".onnx":
        [found] = [each.value for each in onnx.load(file).metadata_props if each.key == "capetune"]
        return json.loads(found)
    with zipfile.ZipFile(file) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(FACTS)]
        return json.loads(archive.read(name))


@pytest.mark.parametrize(
    ("format", "end", "keys"),
    [
        ("onnx", "onnx", {"model.decode": "both"}),
        ("torch", "pt2", {"model.sequence": "xy", "model.refine": True, "model.backbone.stride": "pyramid"}),
    ],
)
def test_a_file_run_as_its_card_says_gives_the_model_s_keypoints(
    untrained, tiny_root, tmp_path, monkeypatch, format, end, keys
):
    meta = read_meta(untrained)
    config = meta.config.with_overrides({"model.decoder.layers": 2, "model.support.layers": 1, **keys})
    torch.manual_seed(0)
    model = PoseEstimator(config.model)
    with torch.no_grad():  # an untrained one sees little
        for weight in [*model.support.parameters(), *model.decoder.parameters()]:
            weight.add_(torch.randn_like(weight) * 0.1)
    save_checkpoint(tmp_path / "mine", model, CheckpointMeta(config, 3, meta.metrics, meta.data), {})
    monkeypatch.chdir(tmp_path)
    out = f"handed/mine.{end}"
    done = CliRunner().invoke(app, ["export", "mine", "--format", format, "--keypoints", "20", "--out", out])
    assert done.exit_code == 0, done.output
    assert re.search(
        r"differ from the model's by up to \S+ pixels, scores by up to \S+, on noise of up to 20", done.stdout
    )
    facts = facts_in(Path(out))
    assert (facts["keypoints"], facts["config_hash"], facts["size"]) == ([1, 20], config.hash(), 64)
    content = Path(out).read_bytes()
    assert b"scanned.py" not in content
    assert str(tmp_path).encode() not in content

    picture = cv2.resize(cv2.imread(str(tiny_root / "images/tiny88_body/005.jpg")), (60, 48))  # the card doesn't reduce
    Path("handed/picture.jpg").write_bytes(cv2.imencode(".png", picture)[1].tobytes())  # every reader sees the same
    monkeypatch.chdir(tmp_path / "handed")
    snippet = re.search(r"```python\n(.*?)```", Path("mine.md").read_text(), re.S)
    assert snippet is not None
    names: dict = {}
    exec(snippet[1], names)
    template = ([[0.2, 0.1], [0.5, 0.5], [0.8, 0.9]], EDGES)
    poses = capetune.load(tmp_path / "mine").predict(["picture.jpg"], template)
    np.testing.assert_allclose(np.array(names["xy"]), poses.xy, atol=0.05)
    np.testing.assert_allclose(np.array(names["score"]), poses.score, atol=1e-3)
