from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from capetune.cluster.machines import Cluster
from capetune.errors import UserError
from capetune.models.estimator import PoseEstimator
from capetune.runs.checkpoints import CheckpointMeta
from capetune.training.checkpoint import save_checkpoint
from capetune.training.optim import make_optimizer
from capetune.tuning import preflight as module
from capetune.tuning.preflight import Plan, checkpoint_bytes, plan, preflight

RANGE = "loss.tokens: {log: [0.05, 2]}\n"


def cluster(cpus, gpus=0):
    return Cluster("", None, ((cpus, gpus),))


@pytest.mark.parametrize(
    ("have", "workers", "trials", "wanted"),
    [
        (cluster(8), 1, 20, Plan(8, 1, 1, "cpu")),
        (cluster(8), 2, 20, Plan(4, 2, 1, "cpu")),
        (cluster(8), 1, 2, Plan(2, 1, 4, "cpu")),
        (cluster(64, 8), 1, 20, Plan(8, 1, 8, "cuda")),
        (cluster(64, 8), 4, 20, Plan(2, 4, 8, "cuda")),
        (cluster(3), 2, 20, Plan(1, 2, 1, "cpu")),
    ],
)
def test_trials_share_the_cluster(have, workers, trials, wanted):
    assert plan(have, workers, trials) == wanted


def test_fewer_at_once_have_more_threads_each():
    assert plan(cluster(8), 1, 20, at_once=2) == Plan(2, 1, 4, "cpu")
    assert plan(cluster(8), 1, 20, at_once=30) == Plan(8, 1, 1, "cpu")


def test_a_trial_larger_than_the_cluster_is_refused():
    with pytest.raises(UserError, match="a trial of 4 workers needs 4 GPUs, the cluster has 2"):
        plan(cluster(64, 2), 4, 1)


def test_trials_may_share_a_gpu() -> None:
    shared = plan(cluster(64, 2), 1, 20, per_gpu=4)
    assert shared == Plan(8, 1, 8, "cuda", 4)
    assert "1/4 of a GPU a worker: 8 trials at once" in shared.words
    for have, workers, why in ((cluster(8), 1, "no GPU"), (cluster(64, 2), 2, "of several workers")):
        with pytest.raises(UserError, match=why):
            plan(have, workers, 20, per_gpu=2)


def test_a_checkpoint_is_forecast_within_a_few_percent(tmp_path, read, config):
    small = config.with_overrides({"model.backbone.weights": "none"})
    model = PoseEstimator(small.model)
    optimizer = make_optimizer(model, small.train)
    for p in model.parameters():
        if p.requires_grad:
            p.grad = torch.zeros_like(p)
    optimizer.step()
    save_checkpoint(tmp_path / "c", model, CheckpointMeta(small, 1, {}, {}), {"optimizer": optimizer.state_dict()})
    real = sum(file.stat().st_size for file in (tmp_path / "c").iterdir())
    assert checkpoint_bytes(small, read(RANGE, small)) == pytest.approx(real, rel=0.05)


def test_the_largest_model_of_the_space_counts(read, config):
    wide = read("model.width: {choice: [128, 512]}\n")
    assert checkpoint_bytes(config, wide) > 3 * checkpoint_bytes(config, read(RANGE))


class Pack:
    def __init__(self, shards):
        self.manifest = SimpleNamespace(shards=[None] * shards)


def lines(folder, read, config, pack, workers=1, text=RANGE):
    checks = preflight(config, read(text), pack, folder, cluster(4), plan(cluster(4), workers, 9), 3)
    return [f"{check.check}: {check.found}" for check in checks]


def test_every_check_is_a_line(tmp_path, read, config):
    said = lines(tmp_path, read, config, Pack(8))
    assert [line.split(":")[0] for line in said] == ["cluster", "data", "disk"]
    assert said[0] == "cluster: 4 CPUs, 0 GPUs; 1 worker a trial, 1 CPU a worker: 4 trials at once"


def test_pbt_with_several_workers_a_trial_is_refused(tmp_path, read, config):
    with pytest.raises(UserError, match="pbt hands weights from trial to trial, of one worker each"):
        lines(tmp_path, read, config, Pack(8), 2, f"sampler: random\nscheduler: pbt\n{RANGE}")


def test_fewer_shards_than_readers_end_it(tmp_path, read, config):
    with pytest.raises(UserError, match="shards"):
        lines(tmp_path, read, config, Pack(1), workers=2)


def test_a_disk_without_room_ends_it(tmp_path, read, config, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(UserError, match=r"checkpoints may take .* MB, and .* has 1.0 kB free: free some, give another"):
        lines(tmp_path, read, config, Pack(8))
