"""How many trials may share a GPU: measured on pretended ones, with a reading that is given."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from capetune.cluster.machines import Cluster
from capetune.config import Config
from capetune.tuning.footprint import Reading, largest, share_of, try_out

GIB = 1 << 30
SMALL = {
    "model.sequence": "point",
    "model.width": 32,
    "model.heads": 4,
    "model.vocabulary": 16,
    "model.decoder.layers": 1,
    "model.support.layers": 1,
    "model.backbone.name": "efficientnet_lite0",
    "model.backbone.weights": "none",
    "data.size": 64,
    "train.batch_size": 2,
    "train.accumulate": 2,
    "train.ema": 0.9,
}


def test_the_greediest_value_of_each_key_is_tried_out_and_every_backbone(read, config) -> None:
    text = """
model.width: {choice: [64, 128, 96]}
model.heads: {choice: [4, 8]}
model.decoder.layers: {int: [1, 4]}
model.sequence: {choice: [xy, point]}
model.refine: {choice: [false, true]}
model.backbone.frozen: {choice: [all, 2, 3]}
model.backbone.stride: {choice: [16, pyramid, 32]}
model.backbone.name: {choice: [efficientnet_lite0, resnet50]}
train.batch_size: {int: [8, 32]}
train.learning_rate: {log: [1.0e-5, 1.0e-3]}
"""
    start = {"model.heads": 4, "model.width": 64, "model.decoder.layers": 2}
    base = config.with_overrides(start | {"model.backbone.frozen": 2, "model.backbone.stride": 16})
    found = largest(base, read(text, base))
    assert [each.model.backbone.name for each in found] == ["efficientnet_lite0", "resnet50"]
    for each in found:
        model = each.model
        assert (model.width, model.heads, model.decoder.layers, model.sequence) == (128, 4, 4, "xy")
        assert (model.refine, model.backbone.frozen, model.backbone.stride) == (True, 2, "pyramid")
        assert (each.train.batch_size, each.train.learning_rate) == (32, base.train.learning_rate)


@pytest.mark.parametrize(
    ("reading", "machines", "most", "wanted"),
    [
        (Reading(80 * GIB, 10 * GIB, GIB), ((64, 2),), 40, 6),  # 80 / (1.1 · 10 + 1)
        (Reading(80 * GIB, 60 * GIB, GIB), ((64, 2),), 40, 1),
        (Reading(80 * GIB, 10 * GIB, GIB), ((6, 2), (64, 2)), 40, 3),
        (Reading(80 * GIB, 10 * GIB, GIB), ((64, 2), (32, 0)), 5, 3),
        (Reading(80 * GIB, 10 * GIB, GIB), ((1, 2),), 40, 1),
    ],
)
def test_as_many_share_a_gpu_as_memory_cpus_and_trials_are_for(
    reading: Reading, machines: tuple[tuple[int, int], ...], most: int, wanted: int
) -> None:
    share = share_of([reading], Cluster("", None, machines), most, "the largest model")
    assert share.per_gpu == wanted
    if wanted > 1:
        assert 1 / wanted - share.aside >= 1.1 * reading.held / reading.total
        assert f"{wanted} trials share one" in share.words


def test_the_greediest_of_several_counts_and_one_that_could_not_be_measured_ends_it() -> None:
    cluster = Cluster("", None, ((64, 1),))
    small, large = Reading(80 * GIB, GIB, GIB), Reading(80 * GIB, 30 * GIB, GIB)
    assert share_of([small, large], cluster, 40, "it").per_gpu == 2
    assert share_of([small, "needs more memory than there is"], cluster, 40, "it") == share_of(
        ["needs more memory than there is"], cluster, 9, "it"
    )
    said = share_of(["needs more memory than there is"], cluster, 40, "it")
    assert (said.per_gpu, said.words) == (1, "it needs more memory than there is: no trials share a GPU")


@pytest.mark.parametrize("source", ["geometry", "both"])
@pytest.mark.parametrize("kept", [False, True], ids=["images", "kept features"])
def test_a_trial_s_work_is_done_before_memory_is_read(kept: bool, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of its batch, at each number of keypoints, and a batch of validation."""
    from capetune.models.estimator import PoseEstimator

    seen: list[tuple[bool, int, int, int]] = []
    forward = PoseEstimator.forward

    def noted(self, batch, *given, **named):
        seen.append((self.training, len(batch), batch.joints.shape[1], batch.images.shape[-1]))
        return forward(self, batch, *given, **named)

    monkeypatch.setattr(PoseEstimator, "forward", noted)
    changes = {"model.backbone.frozen": "all" if kept else 0, "model.support.source": source}
    config = Config().with_overrides(SMALL | changes)
    reading = Reading(8, 2, 1)
    assert try_out(config, [8], kept, "cpu", lambda: reading) is reading
    side = 0 if kept else 64
    assert seen == [(True, 2, 8, side), (True, 2, 8, side), (False, 128, 8, side)] * 3


def test_a_model_that_outgrows_the_gpu_is_no_failure() -> None:
    config = Config().with_overrides(SMALL | {"train.batch_size": 1 << 56})
    assert try_out(config, [8], False, "cpu", lambda: Reading(8, 2, 1)) == "needs more memory than there is"


PROGRAM = """
import sys
from functools import partial
from pathlib import Path
import ray
from capetune.cluster.machines import Cluster
from capetune.config import load_config
from capetune.datasets.packs.reader import open_pack
from capetune.tuning.footprint import Reading, share_gpus, read_gpu
from capetune.tuning.space_file import load_space

ray.init(num_cpus=4, num_gpus=1, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
config = load_config("demo", None, ["model.width=32", "model.backbone.weights=none", "data.size=64"])
space = load_space(sys.argv[1], config)
how = (config, space, open_pack(Path(sys.argv[2])), Cluster("", None, ((4, 1),)), 9, False)
print(share_gpus(*how, partial(Reading, 80 << 30, 10 << 30, 1 << 30)))
print(share_gpus(*how))
"""


@pytest.mark.deploy
def test_it_is_measured_where_trials_run_and_without_a_gpu_it_is_said(tiny_pack: Path, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("model.width: {choice: [32, 64]}\n")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "space.yaml"), str(tiny_pack)]
    with tempfile.TemporaryDirectory() as folder:  # Ray's sockets want a short path
        environment = os.environ | {"RAY_TMPDIR": folder, "HOME": folder}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    measured, unseen = ran.stdout.splitlines()[-2:]
    assert "per_gpu=4" in measured, ran.stderr[-2000:]
    assert "the largest model of the space (model.width=64) held 10.0 GiB of a GPU's 80.0 GiB" in measured
    assert "4 trials share one, for there are CPUs for no more" in measured
    assert "per_gpu=1" in unseen
    assert "Ray counts a GPU where PyTorch sees none: no trials share a GPU" in unseen
