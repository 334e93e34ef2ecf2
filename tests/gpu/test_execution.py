"""On a GPU: what is compiled and captured gives what is written. `make test-gpu` runs these alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from capetune.config import Config, load_config
from capetune.models.captured import AS_WRITTEN, Captured
from capetune.models.estimator import PoseEstimator
from capetune.models.execution import Way, prepare
from capetune.pose import Batch
from capetune.training.checkpoint import load_training, save_checkpoint
from capetune.training.optim import make_optimizer, make_schedule
from capetune.training.step import CapturedStep, Learn, train_step

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")

SETTINGS = {
    "model.dropout": 0.0,
    "model.refine": True,
    "model.backbone.weights": "none",
    "model.backbone.frozen": 2,
    "model.backbone.precision": "float32",
    "train.input_noise": 0.0,
    "train.warmup": 0,
    "train.schedule": "constant",
    "train.learning_rate": 1e-4,  # or what the order of sums changes grows too fast to compare
}


@pytest.fixture(scope="module", autouse=True)
def _prepared() -> None:
    prepare("cuda")
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


@pytest.fixture(params=["xy", "point"])
def config(request: pytest.FixtureRequest) -> Config:
    return load_config("demo").with_overrides(SETTINGS | {"model.sequence": request.param})


def make_batch(count: int, keypoints: int, seed: int) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    real = torch.arange(keypoints) < torch.randint(1, keypoints + 1, (count, 1), generator=draw)
    edges = torch.rand(count, keypoints, keypoints, generator=draw) < 0.3
    batch = Batch(
        images=torch.randint(0, 256, (count, 3, 128, 128), dtype=torch.uint8, generator=draw),
        template=torch.rand(count, keypoints, 2, generator=draw) * real.unsqueeze(-1),
        template_known=real,
        adjacency=(edges | edges.mT) & real.unsqueeze(1) & real.unsqueeze(2),
        joints=real,
        target=torch.rand(count, keypoints, 2, generator=draw) * real.unsqueeze(-1),
        visible=real,
        to_source=torch.zeros(count, 2, 3, dtype=torch.float64),
        side=torch.ones(count, dtype=torch.float64),
        ids=torch.arange(count),
    )
    return batch.to("cuda")


def make_model(config: Config, way: Way) -> PoseEstimator:
    torch.manual_seed(0)
    model = PoseEstimator(config.model).cuda().run_as(way)
    with torch.no_grad():  # the heads start near zero
        for weight in model.decoder.parameters():
            weight.add_(torch.randn_like(weight) * 0.02)
    return model


@pytest.mark.parametrize("way", [Way(captured=True), Way(True, True)], ids=["captured", "compiled"])
def test_poses_are_those_of_the_model_as_written(config: Config, way: Way) -> None:
    """Of batches of two sizes in turn, so that a replayed graph has the wrong ones' numbers in it."""
    plain, fast = make_model(config, Way()).eval(), make_model(config, way).eval()
    fields = len(make_batch(1, 1, 0).tensors())

    def work(tensors: Any) -> Any:
        prediction, losses, forced = fast.answer(Batch(*tensors[:fields]), tuple(tensors[fields:]), config.loss)
        return prediction.xy, prediction.score, losses["loss"], forced

    run = Captured(work) if way.captured else work
    for seed in range(2 * (AS_WRITTEN + 2)):
        batch = make_batch(4, (5, 9)[seed % 2], seed)
        with torch.inference_mode():
            prediction, losses, forced = plain.answer(batch, plain.backbone(batch.images), config.loss)
            got = run([*batch.tensors(), *fast.backbone(batch.images)])
        wanted = (prediction.xy, prediction.score, losses["loss"], forced)
        for mine, its in zip(got, wanted, strict=True):
            torch.testing.assert_close(mine, its, rtol=1e-3, atol=1e-4)
    if isinstance(run, Captured):
        assert len(run) == 2


def course(config: Config, way: Way, steps: int, counts: int = 1) -> tuple[list[float], PoseEstimator, Any]:
    """The losses of some steps on batches of two sizes in turn."""
    model = make_model(config, way).train()
    optimizer = make_optimizer(model, config.train)
    schedule = make_schedule(optimizer, config.train, 100)
    if way.captured:
        learn: Learn = CapturedStep(model, optimizer, schedule, config)
    else:
        learn = lambda group, kept: train_step(model, group, optimizer, schedule, config)  # noqa: E731
    losses = []
    for seed in range(steps):
        group = [make_batch(4, (5, 9)[seed % 2], 100 * seed + i) for i in range(counts)]
        losses.append(float(learn(group, ())["loss"]))
    return losses, model, (optimizer, schedule)


@pytest.mark.parametrize("way", [Way(captured=True), Way(True, True)], ids=["captured", "compiled"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_training_takes_the_same_course(config: Config, way: Way, accumulate: int) -> None:
    changed = config.with_overrides({"train.schedule": "cosine", "train.warmup": 3})
    wanted, plain, _ = course(changed, Way(), 12, accumulate)
    got, fast, _ = course(changed, way, 12, accumulate)
    assert got == pytest.approx(wanted, rel=5e-3)
    assert wanted[-1] < wanted[0]
    for mine, its in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=0.02, atol=2e-3)


def test_noise_is_drawn_anew_in_every_replay(config: Config) -> None:
    noisy = config.with_overrides({"train.input_noise": 0.3, "train.learning_rate": 1e-12, "model.dropout": 0.3})
    model = make_model(noisy, Way(captured=True)).train()
    optimizer = make_optimizer(model, noisy.train)
    learn = CapturedStep(model, optimizer, make_schedule(optimizer, noisy.train, 100), noisy)
    batch = make_batch(4, 5, 0)
    losses = [float(learn([batch])["loss"]) for _ in range(10)]
    assert len(set(losses)) == 10


def test_rates_follow_the_schedule_in_a_replay(config: Config) -> None:
    """With a rate of nothing the weights stay; later they move."""
    changed = config.with_overrides({"train.weight_decay": 0.0})
    model = make_model(changed, Way(captured=True)).train()
    optimizer = make_optimizer(model, changed.train)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0 if step < 6 else 1.0)
    learn, batch = CapturedStep(model, optimizer, schedule, changed), make_batch(4, 5, 0)
    weight = model.decoder.token_head.weight
    seen = []
    for _ in range(8):
        before = weight.detach().clone()
        learn([batch])
        seen.append(bool((weight != before).any()))
    assert seen == [False] * 6 + [True] * 2


def test_a_captured_training_is_saved_and_gone_on_with_on_a_cpu(config: Config, tmp_path: Path) -> None:
    from capetune.runs.checkpoints import CheckpointMeta
    from capetune.training.loop import _restore

    _, model, (optimizer, schedule) = course(config, Way(captured=True), 6)
    training = {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
    save_checkpoint(tmp_path / "c", model=model, meta=CheckpointMeta(config, 1, {}, {}), training=training)
    cold = PoseEstimator(config.model)
    again = make_optimizer(cold, config.train)
    _restore(again, make_schedule(again, config.train, 100), load_training(tmp_path / "c"))
    rates = [group["lr"] for group in again.param_groups]
    assert all(isinstance(rate, float) for rate in rates)
    batch = replace(make_batch(2, 5, 0)).to("cpu")
    train_step(cold.train(), [batch], again, make_schedule(again, config.train, 100), config)
