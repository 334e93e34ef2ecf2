from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from capetune.config import Config
from capetune.datasets.episodes.batch import collate, make_item
from capetune.datasets.episodes.queries import encode_queries
from capetune.datasets.episodes.templates import mean_template, normalise
from capetune.datasets.packs.crop import apply
from capetune.datasets.packs.reader import Pack, open_pack
from capetune.evaluation.evaluate import evaluate
from capetune.evaluation.model import ModelPredictor
from capetune.evaluation.order import slices
from capetune.evaluation.pair_batch import pair_batch, to_source
from capetune.evaluation.pck import mpck4, pck_curve
from capetune.evaluation.protocol import CategoryPairs
from capetune.evaluation.shared import SharedPredictor
from capetune.evaluation.support import own
from capetune.models.backbone import Backbone
from capetune.models.decoder import Memory
from capetune.models.estimator import PoseEstimator
from capetune.models.losses import total_loss
from capetune.pose import Batch, Category, Instance

KEYS = {
    "model.width": 32,
    "model.heads": 4,
    "model.vocabulary": 16,
    "model.support.layers": 1,
    "model.decoder.layers": 1,
    "model.backbone.name": "efficientnet_lite0",
    "model.backbone.stride": 16,
    "data.size": 64,
}


@pytest.fixture(scope="module")
def pack(tiny_pack: Path) -> Pack:
    return open_pack(tiny_pack)


@pytest.fixture(scope="module", params=["xy", "point"])
def config(request: pytest.FixtureRequest) -> Config:
    return Config().with_overrides(KEYS | {"model.sequence": request.param})


@pytest.fixture(scope="module")
def model(config: Config) -> PoseEstimator:
    torch.manual_seed(0)
    model = PoseEstimator(config.model)
    with torch.no_grad():
        for weight in (*model.support.parameters(), *model.decoder.parameters()):
            weight.add_(torch.randn_like(weight) * 0.1)
    return model.eval()


@pytest.fixture(scope="module")
def drawn(pack: Pack) -> tuple[Category, tuple[Instance, ...], np.ndarray, np.ndarray]:
    """A category of split 1's test part and 7 pairs of 2 shots, one query twice with other supports."""
    part = pack.part(1, "test")
    category = part.categories[0]
    instances = part.instances[category.id]
    rng = np.random.default_rng(0)
    rows = np.array([rng.permutation(len(instances))[:3] for _ in range(7)])
    rows[5, 0] = rows[2, 0]
    rows[5, 1:] = [i for i in range(6) if i not in rows[2]][:2]
    return category, instances, rows[:, 1:], rows[:, 0]


def predict(
    predictor: ModelPredictor | SharedPredictor,
    category: Category,
    instances: Sequence[Instance],
    supports: np.ndarray,
    queries: np.ndarray,
) -> np.ndarray:
    """The pairs of one category."""
    ((place, predicted),) = predictor.predict_all(
        {category.id: instances}, [CategoryPairs(category, supports, queries)]
    )
    assert place == 0
    return predicted


def single(
    config: Config, pack: Pack, category: Category, instances: tuple[Instance, ...], supports: np.ndarray, query: int
) -> Batch:
    """One pair by the road that training samples take."""
    chosen = [instances[i] for i in supports]
    poses, seen = np.stack([normalise(s) for s in chosen]), np.stack([s.visible for s in chosen])
    size, crop = config.data.size, pack.crop(instances[query].id, config.data.size)
    return collate([make_item(category, instances[query], crop, *mean_template(poses, seen), size)])


def test_predictions_equal_those_of_each_pair_alone(
    model: PoseEstimator, config: Config, pack: Pack, drawn: tuple
) -> None:
    category, instances, supports, queries = drawn
    got = predict(ModelPredictor(model, pack, config.data, batch_size=3), *drawn)
    assert got.shape == (7, category.graph.size, 2)
    for pair in range(7):
        batch = single(config, pack, category, instances, supports[pair], queries[pair])
        unit = model.predict(batch).xy[0].double().numpy()
        np.testing.assert_allclose(got[pair], apply(batch.to_source[0].numpy(), unit), atol=2e-3)


def test_pair_batches_equal_training_batches_but_for_the_pixels(config: Config, pack: Pack, drawn: tuple) -> None:
    category, instances, supports, queries = drawn
    batch = pair_batch([(own(category, instances, supports), [instances[i] for i in queries])])
    assert batch.images.shape == (7, 3, 0, 0)
    for pair in range(7):
        alone = single(config, pack, category, instances, supports[pair], queries[pair])
        for name in ("template", "template_known", "adjacency", "joints", "target", "visible", "side", "ids"):
            torch.testing.assert_close(getattr(batch, name)[pair], getattr(alone, name)[0], atol=1e-6, rtol=0)
        torch.testing.assert_close(batch.to_source[pair], alone.to_source[0])


def test_batch_size_doesnt_matter(model: PoseEstimator, config: Config, pack: Pack, drawn: tuple) -> None:
    one, many = (predict(ModelPredictor(model, pack, config.data, batch_size=n), *drawn) for n in (1, 64))
    np.testing.assert_allclose(one, many, atol=2e-3)


def test_the_querys_own_annotation_doesnt_influence_its_prediction(
    model: PoseEstimator, config: Config, pack: Pack, drawn: tuple
) -> None:
    category, instances, supports, queries = drawn
    pair = 2
    lies = list(instances)
    told = instances[queries[pair]]
    lies[queries[pair]] = replace(told, xy=told.xy[::-1] + 7.0, visible=~told.visible)
    only = (supports[pair : pair + 1], queries[pair : pair + 1])
    predictor = ModelPredictor(model, pack, config.data)
    assert np.array_equal(predict(predictor, category, lies, *only), predict(predictor, category, instances, *only))


def test_supports_and_pixels_influence_it(model: PoseEstimator, config: Config, pack: Pack, drawn: tuple) -> None:
    category, instances, supports, queries = drawn
    predictor = ModelPredictor(model, pack, config.data)
    before = predict(predictor, *drawn)
    assert queries[2] == queries[5]
    assert np.abs(before[2] - before[5]).max() > 1e-2  # the same query by other supports
    shown = instances[supports[2, 0]]
    moved = list(instances)
    moved[supports[2, 0]] = replace(shown, xy=shown.xy + np.array([10.0, 0.0]))
    assert np.abs(predict(predictor, category, moved, supports, queries)[2] - before[2]).max() > 1e-2
    # Another instance's pixels under the query's box.
    other = list(instances)
    other[queries[2]] = replace(instances[queries[2]], id=instances[(queries[2] + 1) % len(instances)].id)
    assert np.abs(predict(predictor, category, other, supports, queries)[2] - before[2]).max() > 1e-3


def test_an_image_goes_through_the_backbone_once(
    model: PoseEstimator, config: Config, pack: Pack, drawn: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    features = Backbone.features

    def count(self: Backbone, images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return features(self, images)

    monkeypatch.setattr(Backbone, "features", count)
    predictor = ModelPredictor(model, pack, config.data, batch_size=2, losses=config.loss)
    predict(predictor, *drawn)
    assert sum(seen) == len(set(drawn[3].tolist())) < 7


@pytest.mark.parametrize("option", [{}, {"refine": True, "decode": "both"}, {"decode": "expectation"}])
def test_categories_of_any_size_in_one_batch_are_predicted_as_each_pair_alone(
    config: Config, pack: Pack, option: dict[str, object]
) -> None:
    """Ten categories of 4 to 9 keypoints, in random order; a batch mixes them all, or none."""
    torch.manual_seed(0)
    chosen = config.with_overrides({f"model.{key}": value for key, value in option.items()})
    model = PoseEstimator(chosen.model)
    with torch.no_grad():
        for weight in (*model.support.parameters(), *model.decoder.parameters()):
            weight.add_(torch.randn_like(weight) * 0.1)
    part = pack.part(1, "train")
    rng = np.random.default_rng(0)
    pairs = []
    for i in rng.permutation(len(part.categories)):
        rows = np.stack([rng.permutation(20)[:3] for _ in range(rng.integers(1, 6))])
        pairs.append(CategoryPairs(part.categories[i], rows[:, 1:], rows[:, 0]))
    assert len({drawn.category.graph.size for drawn in pairs}) == 6
    together, alone = (
        ModelPredictor(model, pack, chosen.data, batch_size=size, losses=chosen.loss) for size in (64, 1)
    )
    got, wanted = (dict(predictor.predict_all(part.instances, pairs)) for predictor in (together, alone))
    assert sorted(got) == sorted(wanted) == list(range(10))
    for entry in got:
        np.testing.assert_allclose(got[entry], wanted[entry], atol=2e-3)
    # Neither do the losses depend on who shares a batch.
    assert together.mean_losses() == pytest.approx(alone.mean_losses(), rel=1e-4)


def test_categories_are_handed_over_as_they_are_done(model: PoseEstimator, config: Config, pack: Pack) -> None:
    part = pack.part(1, "train")
    order = np.arange(20)
    pairs = [CategoryPairs(category, (order[:, None] + 1) % 20, order) for category in part.categories]
    predictor = ModelPredictor(model, pack, config.data, batch_size=8)
    predicted = [(predictor.pairs, place) for place, _ in predictor.predict_all(part.instances, pairs)]
    assert [pairs[place].category.graph.size for _, place in predicted] == sorted(
        category.graph.size for category in part.categories
    )
    assert all(count < 20 * (done + 2) for done, (count, _) in enumerate(predicted))


def test_of_a_large_category_few_maps_are_held(
    model: PoseEstimator, config: Config, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = pack.part(1, "train")
    category = part.categories[0]
    many = [replace(one) for one in part.instances[category.id] for _ in range(10)]
    order = np.arange(200)
    held: list[int] = []
    maps = ModelPredictor._maps

    def spy(self: ModelPredictor, parts: Sequence[Sequence[Instance]]) -> Iterator[tuple[torch.Tensor, ...]]:
        for seen in maps(self, parts):
            held.append(len(seen[0]))
            yield seen

    monkeypatch.setattr(ModelPredictor, "_maps", spy)
    predict(ModelPredictor(model, pack, config.data, batch_size=8), category, many, (order[:, None] + 1) % 200, order)
    assert held == [8] * 25


def test_a_slice_gives_the_same_digits_alone_and_among_all(model: PoseEstimator, config: Config, pack: Pack) -> None:
    part = pack.part(1, "train")
    order = np.arange(20)
    pairs = [CategoryPairs(category, (order[:, None] + 1) % 20, order) for category in part.categories[:3]]
    predictor = ModelPredictor(model, pack, config.data, batch_size=16)
    cut = slices(pairs, 16)
    together = list(predictor.decoded(part.instances, pairs, cut))
    alone = [each for one in reversed(cut) for each in predictor.decoded(part.instances, pairs, [one])]
    assert len(cut) == len(together) == len(alone) == 4
    by_first = {tuple(rows[0]): points for rows, points in alone}
    for rows, points in together:
        assert np.array_equal(points, by_first[tuple(rows[0])])


def test_losses_share_the_memory_of_generation(
    model: PoseEstimator, config: Config, pack: Pack, drawn: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered: list[int] = []
    remember = PoseEstimator.remember

    def count(self: PoseEstimator, batch: Batch, features: tuple[torch.Tensor, ...]) -> Memory:
        remembered.append(len(batch))
        return remember(self, batch, features)

    monkeypatch.setattr(PoseEstimator, "remember", count)
    predict(ModelPredictor(model, pack, config.data, losses=config.loss), *drawn)
    assert remembered == [7]


def test_predictor_evaluates_even_a_model_in_training(
    model: PoseEstimator, config: Config, pack: Pack, drawn: tuple
) -> None:
    wanted = predict(ModelPredictor(model, pack, config.data), *drawn)
    model.train()
    assert np.array_equal(predict(ModelPredictor(model, pack, config.data), *drawn), wanted)


def test_mean_losses_are_over_all_pairs(model: PoseEstimator, config: Config, pack: Pack, drawn: tuple) -> None:
    category, instances, supports, queries = drawn
    predictor = ModelPredictor(model, pack, config.data, batch_size=1, losses=config.loss)
    assert predictor.mean_losses() == {"loss": 0, "tokens": 0, "coordinates": 0, "forced_mpck4": 0}
    predict(predictor, *drawn)
    sums: dict[str, float] = {}
    with torch.no_grad():
        for pair in range(7):
            out = model(single(config, pack, category, instances, supports[pair], queries[pair]))
            for name, value in total_loss(out.logits, out.points, out.tokens, config.loss).items():
                sums[name] = sums.get(name, 0.0) + value.item()
            batch = single(config, pack, category, instances, supports[pair], queries[pair])
            query, support = instances[queries[pair]], [instances[i] for i in supports[pair]]
            seen = query.visible & np.all([s.visible for s in support], axis=0)
            curve = pck_curve(to_source(out.forced, batch), query.xy[None], seen[None], np.array([query.side]))
            sums["forced_mpck4"] = sums.get("forced_mpck4", 0.0) + mpck4(curve).item()
    assert predictor.pairs == 7
    assert predictor.mean_losses() == pytest.approx({name: value / 7 for name, value in sums.items()}, rel=1e-3)


class Gathered(Exception):
    pass


@pytest.mark.parametrize("world", [2, 3, 9])
def test_shared_by_ranks_equals_unshared(
    model: PoseEstimator, config: Config, pack: Pack, drawn: tuple, world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """9 ranks share 7 pairs of 6 images: three of them have none."""
    looked: list[int] = []
    features = Backbone.features

    def count(self: Backbone, images: torch.Tensor) -> torch.Tensor:
        looked.append(len(images))
        return features(self, images)

    monkeypatch.setattr(Backbone, "features", count)
    predictor = ModelPredictor(model, pack, config.data)
    parts: list[np.ndarray] = []

    def collect(array: np.ndarray) -> list[np.ndarray]:
        parts.append(array)
        raise Gathered  # the other ranks' arrays aren't there yet

    for rank in range(world):
        with pytest.raises(Gathered):
            predict(SharedPredictor(predictor, rank, world, collect), *drawn)
    assert sum(len(part) for part in parts) == 7 * 2 * drawn[0].graph.size  # each pair once
    assert sum(looked) == 6  # and each image
    assert max(map(len, parts)) - min(map(len, parts)) <= 2 * 2 * drawn[0].graph.size
    assert all(part.dtype == np.float64 and part.ndim == 1 for part in parts)  # what any means of exchange carries
    last = SharedPredictor(predictor, world - 1, world, lambda array: parts)
    np.testing.assert_allclose(predict(last, *drawn), predict(predictor, *drawn), atol=2e-3)


def test_model_is_scored_beside_the_template(model: PoseEstimator, config: Config, pack: Pack) -> None:
    report = evaluate(pack.part(1, "val"), ModelPredictor(model, pack, config.data), 1, 1, 2)
    assert report.predictor == "model"
    assert report.template.mpck4 > report.scores.mpck4  # it has learned nothing


def test_bfloat16_predicts_about_the_same(
    model: PoseEstimator, config: Config, pack: Pack, drawn: tuple, make_half: Callable[[], PoseEstimator]
) -> None:
    wanted = predict(ModelPredictor(model, pack, config.data), *drawn)
    got = predict(ModelPredictor(make_half(), pack, config.data, losses=config.loss), *drawn)
    side = np.array([drawn[1][query].side for query in drawn[3]])
    assert (np.abs(got - wanted).max(axis=(1, 2)) < 0.1 * side).all()


@pytest.fixture
def make_half(model: PoseEstimator, config: Config) -> Callable[[], PoseEstimator]:
    """The same weights with a backbone in bfloat16."""

    def make() -> PoseEstimator:
        half = PoseEstimator(config.with_overrides({"model.backbone.precision": "bfloat16"}).model, pretrained=False)
        half.load_state_dict(model.state_dict())
        return half

    return make


@pytest.fixture(scope="module")
def looking(config: Config) -> PoseEstimator:
    torch.manual_seed(0)
    return PoseEstimator(config.with_overrides({"model.support.source": "both"}).model).eval()


def test_a_model_that_looks_sees_the_supports_and_never_the_query_as_one(
    looking: PoseEstimator, config: Config, pack: Pack, drawn: tuple
) -> None:
    category, instances, supports, queries = drawn
    asked: list[list[int]] = []

    def kept(some: Sequence[Instance]) -> tuple[torch.Tensor, ...]:
        asked.append([each.id for each in some])
        images, _ = encode_queries(pack, some, config.data.size)
        with torch.no_grad():
            return looking.backbone.features(images)

    only = (supports[2:3], queries[2:3])
    got = predict(ModelPredictor(looking, pack, config.data, kept=kept), category, instances, *only)
    query = instances[queries[2]]
    assert sorted(asked) == sorted([sorted(instances[i].id for i in supports[2]), [query.id]])
    plain = predict(ModelPredictor(looking, pack, config.data), category, instances, *only)
    np.testing.assert_allclose(got, plain, atol=2e-3)
    lies = list(instances)
    lies[queries[2]] = replace(query, xy=query.xy[::-1] + 7.0, visible=~query.visible)
    assert np.array_equal(plain, predict(ModelPredictor(looking, pack, config.data), category, lies, *only))


def test_of_several_supports_those_count_that_show_the_keypoint(
    looking: PoseEstimator, config: Config, pack: Pack, drawn: tuple
) -> None:
    """The same pair by the road that a training's images take; and batches of two give what one gives."""
    category, instances, supports, queries = drawn
    size = config.data.size
    many, few = (predict(ModelPredictor(looking, pack, config.data, batch_size=n), *drawn) for n in (64, 2))
    np.testing.assert_allclose(few, many, atol=2e-3)
    for pair in (0, 3):
        alone = single(config, pack, category, instances, supports[pair], queries[pair])
        none = np.zeros((category.graph.size, 2)), np.zeros(category.graph.size, dtype=bool)
        shown = [instances[i] for i in supports[pair]]
        items = collate([make_item(category, each, pack.crop(each.id, size), *none, size) for each in shown])
        visible = items.visible.unsqueeze(0)
        seen = {"support_visible": visible, "support_looks": torch.zeros(*visible.shape, 0)}
        batch = replace(alone, **seen, support_xy=items.target[None], support_images=items.images[None])
        unit = looking.predict(batch).xy[0].double().numpy()
        np.testing.assert_allclose(many[pair], apply(batch.to_source[0].numpy(), unit), atol=2e-3)
