from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from capetune.config import Config
from capetune.datasets.episodes.stream import train_batches
from capetune.datasets.packs.reader import Pack, PackDamaged, open_pack
from capetune.errors import UserError
from capetune.models.estimator import PoseEstimator
from capetune.runs.checkpoints import read_meta
from capetune.training.checkpoint import load_model, load_training
from capetune.training.loop import Metrics, Save, average, fit, train_epoch
from capetune.training.optim import make_optimizer, make_schedule
from capetune.training.ranks import Ranks
from capetune.training.validation import Validation

from .conftest import TIMES, Run, untimed


def test_reports_after_every_epoch(run: Run) -> None:
    assert [metrics["epoch"] for metrics in run.metrics] == [1, 2]
    assert run.progress == [(1, 3, 1), (1, 3, 2), (1, 3, 3), (2, 3, 1), (2, 3, 2), (2, 3, 3)]
    names = {f"{part}_{loss}" for part in ("train", "val") for loss in ("loss", "tokens", "coordinates")}
    scores = {"mpck4", "mpck5", "template_mpck4", "forced_mpck4"} | {f"pck_{t:g}" for t in (0.05, 0.1, 0.15, 0.2, 0.25)}
    scores |= {"score_slope", "score_offset"}
    for metrics in run.metrics:
        assert set(metrics) == names | scores | {"epoch", "images", "learning_rate", *TIMES}
        assert all(metrics[name] > 0 for name in TIMES)
        assert np.isfinite(list(metrics.values())).all()
        assert all(0 <= metrics[name] <= 1 for name in scores)


def test_checkpoints_hold_the_epoch_its_metrics_and_where_they_come_from(run: Run, config: Config) -> None:
    meta = read_meta(run.folder / "2")
    assert meta.config == config
    assert meta.epoch == 2
    assert meta.metrics == run.metrics[1]
    assert meta.data["data"] == "real"
    assert meta.data["split"] == 1
    assert meta.data["train_instances"] == 200
    assert set(meta.data["missing_categories"]) == {"train", "val", "test"}


def test_the_same_training_gives_the_same_weights(run: Run, config: Config, pack: Pack, tmp_path: Path) -> None:
    again = Run(config, pack, tmp_path)
    assert untimed(again.metrics) == untimed(run.metrics)


@pytest.mark.filterwarnings("error::UserWarning")
def test_resuming_equals_training_through(run: Run, config: Config, pack: Pack, tmp_path: Path) -> None:
    torch.manual_seed(999)
    resumed = Run(config, pack, tmp_path, resume=run.folder / "1")
    assert [metrics["epoch"] for metrics in resumed.metrics] == [2]
    assert untimed(resumed.metrics) == untimed(run.metrics[1:])
    through, after = load_model(run.folder / "2")[0].state_dict(), load_model(tmp_path / "2")[0].state_dict()
    for name, value in through.items():
        assert torch.equal(value, after[name]), name


def test_a_checkpoint_s_weights_begin_a_training_of_its_own(
    run: Run, config: Config, pack: Pack, tmp_path: Path
) -> None:
    """Its epochs, its schedule and its optimiser are new; it knows where the weights come from."""
    frozen = {
        "model.backbone.frozen": "all",
        "train.learning_rate": 1e-30,
    }  # else its BatchNorm learns from what it sees
    still = config.with_overrides({**frozen, "train.epochs": 1})

    def report(metrics: Metrics, save: Save) -> None:
        assert metrics["epoch"] == 1
        save(tmp_path / "1")

    fit(still, pack, report, weights=run.folder / "2")
    saved = [load_model(folder)[0].state_dict() for folder in (run.folder / "2", tmp_path / "1")]
    assert all(torch.equal(value, saved[1][name]) for name, value in saved[0].items())
    assert load_training(tmp_path / "1")["optimizer"]["state"][0]["step"] == 3
    [before] = read_meta(tmp_path / "1").data["before"]
    assert (before["checkpoint"], before["epoch"], before["split"]) == (str(run.folder / "2"), 2, 1)
    assert before["data_hash"] == pack.fingerprint
    fit(still, pack, lambda metrics, save: save(tmp_path / "2"), weights=tmp_path / "1")
    assert [each["epoch"] for each in read_meta(tmp_path / "2").data["before"]] == [2, 1]


@pytest.mark.parametrize(
    "changes", [{"train.ema": 0.8}, {"train.accumulate": 2}, {"model.refine": True, "data.flip": 0.5}]
)
def test_resuming_equals_training_through_with(config: Config, pack: Pack, tmp_path: Path, changes: dict) -> None:
    config = config.with_overrides(changes)
    through = Run(config, pack, tmp_path / "through")
    resumed = Run(config, pack, tmp_path / "resumed", resume=tmp_path / "through" / "1")
    assert untimed(resumed.metrics) == untimed(through.metrics[1:])


def test_the_average_is_the_recursion_over_steps(config: Config, pack: Pack) -> None:
    torch.manual_seed(0)
    model = PoseEstimator(config.model)
    averaged = average(model, 0.8)
    wanted = model.decoder.point_head.weight.detach().clone()
    for step in range(4):
        with torch.no_grad():
            model.decoder.point_head.weight.add_(step + 1.0)
        averaged.update_parameters(model)
        own = model.decoder.point_head.weight.detach()
        wanted = own.clone() if step == 0 else 0.8 * wanted + 0.2 * own
    torch.testing.assert_close(averaged.module.decoder.point_head.weight, wanted)


def test_averaged_weights_are_what_is_evaluated_and_kept(run: Run, config: Config, pack: Pack, tmp_path: Path) -> None:
    """After the same steps, the average lags behind; with decay 0 it would be the weights themselves."""
    averaged = Run(config.with_overrides({"train.ema": 0.9}), pack, tmp_path)
    plain, kept = (load_model(folder / "2")[0].state_dict() for folder in (run.folder, tmp_path))
    raw = load_training(tmp_path / "2")["model"]
    name = "decoder.point_head.weight"
    assert torch.equal(raw[name], plain[name])  # the training itself is the same
    assert not torch.equal(kept[name], plain[name])
    model, meta = load_model(tmp_path / "2")
    assert Validation(model, pack, config, Ranks())()["mpck4"] == meta.metrics["mpck4"] == averaged.metrics[1]["mpck4"]


def test_resuming_from_the_end_has_nothing_to_do(run: Run, config: Config, pack: Pack, tmp_path: Path) -> None:
    assert Run(config, pack, tmp_path, resume=run.folder / "2").metrics == []


def test_another_seed_trains_otherwise(run: Run, config: Config, pack: Pack, tmp_path: Path) -> None:
    other = Run(config.with_overrides({"seed": 2**32 - 1, "train.epochs": 1}), pack, tmp_path)
    assert other.metrics[0]["train_loss"] != run.metrics[0]["train_loss"]


def test_report_may_stop_the_training(config: Config, pack: Pack) -> None:
    class Enough(Exception):
        pass

    def report(metrics: Metrics, save: Save) -> None:
        raise Enough

    seen: list[int] = []
    with pytest.raises(Enough):
        fit(config, pack, report, progress=lambda epoch, steps, step: seen.append(epoch))
    assert set(seen) == {1}


def test_a_loss_that_isnt_finite_names_the_learning_rate(config: Config, pack: Pack) -> None:
    wild = config.with_overrides({"train.learning_rate": 1e30, "train.warmup": 0, "train.clip": 1e30})
    with pytest.raises(UserError, match=r"learning rate 1e\+30; lower it with --set train\.learning_rate"):
        fit(wild, pack, lambda metrics, save: None)


def test_spoilt_samples_are_counted_and_named_after_the_epoch_that_met_them(
    config: Config, tiny_pack: Path, tmp_path: Path
) -> None:
    copy = open_pack(shutil.copytree(tiny_pack, tmp_path / "copy"))
    part = copy.part(1, "train")
    first, second = (copy.row(part.instances[category.id][3].id) for category in part.categories[:2])
    for row in (first, second):
        with (tmp_path / "copy" / copy.manifest.shards[row.shard].name).open("r+b") as file:
            file.seek(row.offset)
            file.write(bytes(row.length))
    told: list[str] = []
    rows: list[Metrics] = []
    once = config.with_overrides({"train.steps": 55, "data.max_corrupt": 0.01})
    fit(once, copy, lambda metrics, save: rows.append(metrics), doubt=told.append)
    assert [metrics["corrupt"] for metrics in rows] == [2, 2]
    (line,) = told
    assert line.startswith(f"2 train samples of {tmp_path / 'copy'} can't be read, left out of training: ")
    assert f"{first.instance.id} (shard-{first.shard:05}.tar)" in line
    assert f"{second.instance.id} (shard-{second.shard:05}.tar)" in line

    with pytest.raises(PackDamaged, match="is damaged at instance"):
        fit(once.with_overrides({"data.max_corrupt": 0.0}), copy, lambda metrics, save: None)


def test_validation_never_skips_a_spoilt_sample(config: Config, tiny_pack: Path, tmp_path: Path) -> None:
    copy = open_pack(shutil.copytree(tiny_pack, tmp_path / "copy"))
    for group in copy.part(1, "val").instances.values():
        for instance in group:
            row = copy.row(instance.id)
            with (tmp_path / "copy" / copy.manifest.shards[row.shard].name).open("r+b") as file:
                file.seek(row.offset)
                file.write(bytes(row.length))
    with pytest.raises(PackDamaged, match="is damaged at instance"):
        fit(config.with_overrides({"data.max_corrupt": 0.5}), copy, lambda metrics, save: None)


def test_steps_default_to_once_through_the_train_part(config: Config, pack: Pack) -> None:
    class Enough(Exception):
        pass

    seen: list[int] = []

    def progress(epoch: int, steps: int, step: int) -> None:
        seen.append(steps)
        raise Enough

    with pytest.raises(Enough):
        fit(config.with_overrides({"train.steps": None}), pack, lambda *_: None, progress=progress)
    assert seen == [50]  # 200 instances, 4 at a time


def seen(batches):
    """As the loop takes batches with pixels."""
    return [(batch, ()) for batch in batches]


def batches(config: Config, pack: Pack, steps: int) -> list:
    return list(train_batches(pack, config.data, config.train.batch_size, config.seed, 1, steps=steps))


def test_training_lowers_the_loss(config: Config, pack: Pack) -> None:
    torch.manual_seed(0)
    easy = config.with_overrides({"model.dropout": 0.0, "train.schedule": "constant", "train.learning_rate": 3e-3})
    model = PoseEstimator(easy.model)
    optimizer = make_optimizer(model, easy.train)
    schedule = make_schedule(optimizer, easy.train, 60)
    few = batches(easy, pack, 2)
    losses = [train_epoch(model, seen(few), optimizer, schedule, easy)["train_loss"] for _ in range(12)]
    assert losses[-1] < 0.8 * losses[0]


def test_train_losses_are_means_over_the_steps(config: Config, pack: Pack) -> None:
    torch.manual_seed(0)
    still = config.with_overrides({"model.dropout": 0.0, "train.input_noise": 0.0, "train.learning_rate": 1e-30})
    model = PoseEstimator(still.model)
    optimizer = make_optimizer(model, still.train)
    schedule = make_schedule(optimizer, still.train, 10)
    first, second = batches(still, pack, 2)
    each = [train_epoch(model, seen([batch]), optimizer, schedule, still) for batch in (first, second)]
    both = train_epoch(model, seen([first, second]), optimizer, schedule, still)
    for name in ("train_loss", "train_tokens", "train_coordinates"):
        assert both.pop(name) == pytest.approx((each[0][name] + each[1][name]) / 2, rel=1e-5)
    assert both.pop("images") == each[0]["images"] + each[1]["images"] == 2 * still.train.batch_size
    parts = ("seconds_copy", "seconds_forward", "seconds_backward", "seconds_optimiser")
    assert set(both) == {"seconds_data", "seconds_steps", *parts}
    assert 0 < sum(both[part] for part in parts) <= both["seconds_steps"]


def test_gradients_are_clipped(config: Config, pack: Pack) -> None:
    torch.manual_seed(0)
    tight = config.with_overrides({"train.clip": 1e-3})
    model = PoseEstimator(tight.model)
    optimizer = make_optimizer(model, tight.train)
    train_epoch(model, seen(batches(tight, pack, 1)), optimizer, make_schedule(optimizer, tight.train, 1), tight)
    norm = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-2)


def test_ranks_are_wrapped_and_draw_their_own_batches(config: Config, pack: Pack) -> None:
    seen: dict[int, list[int]] = {0: [], 1: []}

    class Enough(Exception):
        pass

    for rank in (0, 1):

        class Spy(torch.nn.Module):
            def __init__(self, model: torch.nn.Module) -> None:
                super().__init__()
                self.model = model

            def forward(self, batch, train, kept, rank=rank):
                seen[rank].extend(batch.ids.tolist())
                return self.model(batch, train, kept)

        def progress(epoch: int, steps: int, step: int) -> None:
            if step == 2:
                raise Enough

        with pytest.raises(Enough):
            fit(config, pack, lambda *_: None, Ranks(rank, 2, wrap=Spy), progress=progress)
    assert len(seen[0]) == len(seen[1]) == 8
    assert not set(seen[0]) & set(seen[1])


def test_values_given_to_a_resumed_training_take_effect(run: Run, config: Config, pack: Pack, tmp_path: Path) -> None:
    """Population based training goes on from another trial's checkpoint with values of its own."""
    other = config.with_overrides({"train.learning_rate": 5e-4, "train.weight_decay": 0.5})
    rates: list[tuple[float, float]] = []

    def report(metrics: Metrics, save: Save) -> None:
        save(tmp_path)
        group = load_training(tmp_path)["optimizer"]["param_groups"][0]
        rates.append((group["initial_lr"], group["weight_decay"]))

    fit(other, pack, report, resume=run.folder / "1")
    assert rates == [(5e-4, 0.5)]
