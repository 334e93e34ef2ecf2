from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from capetune.config import Config
from capetune.datasets.episodes.augment import Augmentation
from capetune.datasets.episodes.batch import collate, make_item, place_item
from capetune.datasets.episodes.queries import encode_queries
from capetune.datasets.episodes.supports import TrainSet
from capetune.datasets.packs.reader import Pack
from capetune.errors import UserError
from capetune.models.backbone import Backbone
from capetune.models.estimator import PoseEstimator
from capetune.models.looks import read
from capetune.training.features import Features, check_keepable, feature_bytes, keep_features, open_features
from capetune.training.loop import Metrics, Save, fit
from capetune.training.ranks import Ranks
from capetune.training.validation import Validation

KEYS = {
    "model.width": 32,
    "model.heads": 4,
    "model.backbone.name": "efficientnet_lite0",
    "model.backbone.frozen": "all",
    "data.size": 64,
    "data.flip": 0.5,
    "train.batch_size": 7,
}


@pytest.fixture(scope="module", params=[16, "pyramid"])
def config(request: pytest.FixtureRequest) -> Config:
    return Config().with_overrides(KEYS | {"model.backbone.stride": request.param})


@pytest.fixture(scope="module")
def kept(config: Config, pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> Features:
    folder = tmp_path_factory.mktemp("features") / "kept"
    heard: list[tuple[int, int]] = []
    keep_features(folder, pack, config, 3, lambda *numbers: heard.append(numbers))
    assert heard[-1] == (200, 200)
    assert [file.name for file in folder.parent.iterdir()] == ["kept"]
    return open_features(folder)


def test_every_instance_is_kept_in_crops_of_its_own(kept: Features, config: Config, pack: Pack) -> None:
    assert kept.ids.tolist() == list(TrainSet(pack, 1).instances)
    assert kept.draws.shape == (200, 3, 3)
    assert np.abs(kept.draws[..., 0]).max() <= config.data.rotation
    assert len(np.unique(kept.draws[..., 0])) == 600
    flips = kept.draws[..., 2].any(axis=1)
    flippable = TrainSet(pack, 1).flippable
    assert {id for id, flipped in zip(kept.ids // 10**14, flips, strict=True) if flipped} == flippable
    assert [maps.shape[:2] for maps in kept.maps] == [(200, 3)] * (
        3 if config.model.backbone.stride == "pyramid" else 1
    )


def test_balanced_each_category_comes_as_often_as_the_others(kept: Features, config: Config, pack: Pack) -> None:
    few = [row for row, id in enumerate(kept.ids.tolist()) if row % 20 < 2 or row >= 180]  # 20 of one, 2 of nine
    ids = kept.ids[few].tolist()
    entry = pack.manifest.splits["1"]["train"]
    rows = tuple(row for row in entry.instances if pack.instances[row].id in ids)
    splits = {"1": {"train": entry.model_copy(update={"instances": rows})}}
    train = TrainSet(Pack(pack.place, pack.manifest.model_copy(update={"splits": splits})), 1)
    some = replace(kept, maps=tuple(maps[few] for maps in kept.maps), draws=kept.draws[few], ids=kept.ids[few])
    even = config.with_overrides({"data.balance": "categories", "train.batch_size": 38})
    (batch, _), *_ = some.loader(train, even).epoch(1, 1)
    times = Counter(train.instances[id].category_id for id in batch.ids.tolist())
    assert len(times) == 10
    assert max(times.values()) <= 5


def test_batches_equal_what_the_backbone_makes_of_the_pixels(kept: Features, config: Config, pack: Pack) -> None:
    """The same crop is cut again from the instance and its draw; the stored map is that of this crop, rounded."""
    train, backbone = TrainSet(pack, 1), Backbone(config.model).eval()
    batch, maps = next(kept.loader(train, config).epoch(1, 1))
    assert len(batch) == 7
    items = []
    for id, to_source in zip(batch.ids.tolist(), batch.to_source.numpy(), strict=True):
        query, row = train.instances[id], kept.ids.tolist().index(id)
        none = np.zeros((len(query.xy), 2)), np.ones(len(query.xy), bool)
        crops = []
        for rotation, scale, flip in kept.draws[row]:
            drawn = Augmentation(rotation, scale, bool(flip))
            crops.append(make_item(train.categories[query.category_id], query, pack.crop(id, 64), *none, 64, drawn))
        items.append(next(item for item in crops if np.allclose(item.to_source, to_source)))
    again = collate(items)
    assert torch.equal(again.target, batch.target)
    assert torch.equal(again.visible, batch.visible)
    with torch.no_grad():
        for got, wanted in zip(maps, backbone.features(again.images), strict=True):
            torch.testing.assert_close(got.float(), wanted, atol=2e-3, rtol=2e-3)


def test_each_instance_comes_once_before_any_comes_twice(kept: Features, config: Config, pack: Pack) -> None:
    batches = list(kept.loader(TrainSet(pack, 1), config).epoch(1, 40))
    ids = torch.cat([batch.ids for batch, _ in batches]).tolist()
    assert sorted(ids[:200]) == sorted(kept.ids.tolist())
    assert len(ids) == 280


def test_two_workers_share_each_step_s_samples(kept: Features, config: Config, pack: Pack) -> None:
    train = TrainSet(pack, 1)

    def ids(size: int, rank: int, world: int) -> list[list[int]]:
        sized = config.with_overrides({"train.batch_size": size})
        return [batch.ids.tolist() for batch, _ in kept.loader(train, sized, rank, world).epoch(1, 40)]

    whole, ranks = ids(8, 0, 1), [ids(4, rank, 2) for rank in (0, 1)]
    assert [[*one, *other] for one, other in zip(*ranks, strict=True)] == whole


def test_epochs_differ_and_repeat(kept: Features, config: Config, pack: Pack) -> None:
    train = TrainSet(pack, 1)
    first, again, second = (next(kept.loader(train, config).epoch(epoch, 1))[0] for epoch in (1, 1, 2))
    assert torch.equal(first.template, again.template)
    assert first.ids.tolist() != second.ids.tolist()


def test_the_val_part_is_kept_as_it_is(kept: Features, config: Config, pack: Pack) -> None:
    backbone, part = Backbone(config.model).eval(), pack.part(1, "val")
    instances = [group[3] for group in part.instances.values()]
    images, _ = encode_queries(pack, instances, 64)
    with torch.no_grad():
        for got, wanted in zip(kept.validation(instances), backbone.features(images), strict=True):
            torch.testing.assert_close(got.float(), wanted, atol=2e-3, rtol=2e-3)
    assert sorted(kept.val_rows) == sorted(i.id for group in part.instances.values() for i in group)


def test_a_training_on_kept_features_validates_as_one_on_images(kept: Features, config: Config, pack: Pack) -> None:
    small = {"train.epochs": 1, "train.steps": 2, "validation.episodes": 1, "validation.queries": 3}
    small |= {"model.decoder.layers": 1, "model.support.layers": 1}
    found: list[Metrics] = []
    short = config.with_overrides(small)

    def report(metrics: Metrics, save: Save) -> None:
        found.append(metrics)

    fit(short, pack, report, features=kept)
    torch.manual_seed(0)
    model = PoseEstimator(short.model)
    there, here = (Validation(model, pack, short, Ranks(), features)() for features in (kept, None))
    for name in here:
        if name != "generate_ms":
            assert there[name] == pytest.approx(here[name], abs=0.02), name
    assert set(found[0]) >= set(here)


def test_how_much_room_they_take_is_known_before(kept: Features, config: Config, pack: Pack) -> None:
    stored = [*kept.maps, *kept.val]
    assert feature_bytes(pack, config, 3) == sum(maps.nbytes for maps in stored)


@pytest.mark.parametrize(
    "key", ["model.backbone.stride", "data.size", "data.rotation", "data.scale", "data.flip", "data.split"]
)
def test_a_space_that_would_make_them_wrong_is_refused(config: Config, key: str) -> None:
    with pytest.raises(UserError, match=f"{key} changes what the backbone sees or gives"):
        check_keepable(config, ["loss.tokens", key])


def test_a_backbone_that_learns_is_refused(config: Config) -> None:
    with pytest.raises(UserError, match=r"of a frozen backbone only: --set model\.backbone\.frozen=all"):
        check_keepable(config.with_overrides({"model.backbone.frozen": 2}), [])
    check_keepable(config, ["loss.tokens", "model.width", "data.shots", "seed"])


def test_kept_supports_look_as_a_kept_crop_of_another_instance_does(kept: Features, config: Config, pack: Pack) -> None:
    keys = {"model.support.source": "both", "data.shots": (1,), "train.batch_size": 4}
    train, part = TrainSet(pack, 1), pack.part(1, "train")
    batch, _ = next(kept.loader(train, config.with_overrides(keys)).epoch(1, 1))
    assert batch.support_looks is not None
    assert batch.support_images is None
    for row, id in enumerate(batch.ids.tolist()):
        category, found = train.categories[train.instances[id].category_id], set()
        k = category.graph.size
        visible = batch.support_visible[row, 0, :k]
        for each in part.instances[category.id]:
            at = kept.ids.tolist().index(each.id)
            for copy, (rotation, scale, flip) in enumerate(kept.draws[at]):
                turned = Augmentation(rotation, scale, bool(flip))
                none = np.zeros((k, 2)), np.ones(k, dtype=bool)
                item = place_item(category, each, np.zeros((0, 0, 3), np.uint8), *none, turned)
                seen = read(kept.at([at], [copy]), torch.from_numpy(item.target)[None])[0]
                same = torch.isclose(seen, batch.support_looks[row, 0, :k], atol=1e-5).all(dim=1)
                if item.visible.tolist() == visible.tolist() and same[visible].all():
                    found.add(each.id)
        assert len(found) == 1
        assert id not in found


def test_a_training_that_looks_learns_and_validates_on_kept_features_as_on_images(
    kept: Features, config: Config, pack: Pack
) -> None:
    small = {"train.epochs": 1, "train.steps": 1, "validation.episodes": 1, "validation.queries": 3}
    small |= {"model.decoder.layers": 1, "model.support.layers": 1, "train.batch_size": 2}
    found: list[Metrics] = []
    short = config.with_overrides(small | {"model.support.source": "both", "data.shots": (1, 3)})
    for features in (kept, None):
        fit(short, pack, lambda metrics, save: found.append(metrics), features=features)
    assert np.isfinite([metrics["train_loss"] for metrics in found]).all()
    torch.manual_seed(0)
    model = PoseEstimator(short.model)
    there, here = (Validation(model, pack, short, Ranks(), features)() for features in (kept, None))
    assert there["val_loss"] == pytest.approx(here["val_loss"], abs=0.02)
