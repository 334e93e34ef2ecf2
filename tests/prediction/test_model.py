"""A model on arrays and files: the same crops, keypoints and scores as in an evaluation."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from capetune.datasets.episodes.queries import encode_queries
from capetune.datasets.mp100.instance import clip_box
from capetune.datasets.packs.reader import open_pack
from capetune.errors import UserError
from capetune.evaluation.model import ModelPredictor
from capetune.evaluation.protocol import CategoryPairs
from capetune.prediction.model import load_best
from capetune.prediction.template import Template
from capetune.service.templates import TemplateRequest, made
from capetune.training.checkpoint import load_model


@pytest.fixture(scope="module")
def model(untrained):
    return load_best(untrained)


@pytest.fixture(scope="module")
def part(tiny_pack):
    return open_pack(tiny_pack).part(1, "test")


def pixels(root, instance) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(root / "images" / instance.file_name)), cv2.COLOR_BGR2RGB)


def annotated(root, instance) -> list[float]:
    """The box as the annotation file has it, not yet clipped."""
    tree = json.loads((root / "annotations/mp100_split1_test.json").read_text())
    return next(entry["bbox"] for entry in tree["annotations"] if entry["id"] == instance.id)


def test_an_annotated_box_gives_the_crop_that_evaluation_sees(model, part, tiny_root, tiny_pack):
    category = part.categories[0]
    group = part.instances[category.id][4:8]
    seen, _ = encode_queries(open_pack(tiny_pack), group, 64)
    for instance, wanted in zip(group, seen, strict=True):
        image = pixels(tiny_root, instance)
        box = np.array(clip_box(annotated(tiny_root, instance), *instance.image_size))
        np.testing.assert_allclose(box, instance.box)
        crop = model.crop(image, box)
        away = abs(crop.astype(int) - wanted.permute(1, 2, 0).numpy())
        assert away.mean() < 6  # the pack's were JPEGs twice


def test_it_predicts_what_an_evaluation_does(model, part, tiny_root, tiny_pack, untrained):
    category = part.categories[0]
    group = part.instances[category.id]
    supports, queries = np.array([[0], [0], [0]]), np.array([4, 5, 6])
    predictor = ModelPredictor(load_model(untrained)[0], open_pack(tiny_pack), model.meta.config.data)
    [(_, wanted)] = predictor.predict_all(part.instances, [CategoryPairs(category, supports, queries)])
    template = Template.of_instances(category.name, category.graph, [group[0]], "one")
    asked = [group[i] for i in queries]
    poses = model.predict(
        [tiny_root / "images" / each.file_name for each in asked],
        template,
        [annotated(tiny_root, each) for each in asked],
    )
    assert poses.xy.shape == (3, category.graph.size, 2)
    sides = np.array([each.side for each in asked])[:, None]
    assert (np.linalg.norm(poses.xy - wanted, axis=-1) / sides).max() < 0.02
    np.testing.assert_allclose(poses.score, predictor.scores[0], atol=0.02)
    np.testing.assert_allclose(poses.box, [each.box for each in asked])


def test_arrays_and_files_are_alike_and_so_is_each_alone(model, part, tiny_root):
    group = part.instances[part.categories[0].id][2:7]
    template = ([[0.2, 0.2], [0.8, 0.3], [0.5, 0.9]], [(0, 1), (1, 2)])
    arrays = [pixels(tiny_root, each) for each in group]
    together = model.predict(arrays, template)
    assert together.xy.shape == (5, 3, 2)
    assert ((together.score > 0) & (together.score < 1)).all()
    for number, image in enumerate(arrays):
        height, width = image.shape[:2]
        assert together.box[number].tolist() == [0, 0, width - 1, height - 1]
        alone = model.predict([image], template)
        np.testing.assert_allclose(alone.xy[0], together.xy[number], atol=1e-3)
    png = [tiny_root / "images" / each.file_name for each in group]
    np.testing.assert_allclose(model.predict(png, template).xy, together.xy, atol=0.5)  # another JPEG decoder
    none = model.predict([], template)
    assert (none.xy.shape, none.score.shape, len(none)) == ((0, 3, 2), (0, 3), 0)


def test_more_pictures_than_a_batch_come_in_their_order(model, tiny_root, part, monkeypatch):
    group = part.instances[part.categories[1].id][:7]
    arrays = [pixels(tiny_root, each) for each in group]
    template = ([[0.2, 0.2], [0.8, 0.3]], [])
    wanted = model.predict(arrays, template)
    monkeypatch.setattr(model, "batch_size", 3)
    np.testing.assert_allclose(model.predict(arrays, template).xy, wanted.xy, atol=1e-3)


def test_the_template_decides_where_it_looks(model, tiny_root, part):
    image = pixels(tiny_root, part.instances[part.categories[0].id][3])
    one = model.predict([image], ([[0.1, 0.1], [0.2, 0.9]], [(0, 1)]))
    other = model.predict([image], ([[0.9, 0.8], [0.6, 0.1]], [(0, 1)]))
    assert abs(one.xy - other.xy).max() > 0.1


@pytest.mark.parametrize(
    ("images", "boxes", "line"),
    [
        (
            [np.zeros((8, 8), np.uint8)],
            None,
            "picture 0: a picture is uint8 (H, W, 3), RGB, or a path (not uint8 (8, 8))",
        ),
        ([np.zeros((8, 8, 3))], None, "not float64 (8, 8, 3)"),
        ([np.zeros((8, 8, 3), np.uint8), "none.jpg"], None, "none.jpg: there is no such file"),
        ([np.zeros((8, 8, 3), np.uint8)], [[9, 9, 3, 3]], "picture 0: box 9,9,3,3 has no pixels"),
        ([np.zeros((1, 8, 3), np.uint8)], None, "picture 0: the picture has no pixels"),
        ([np.zeros((8, 8, 3), np.uint8)], [1, 2, 3, 4], "boxes are x, y, width and height for each of the 1 pictures"),
        ([np.zeros((8, 8, 3), np.uint8)], [[1, 2, 3, np.nan]], "finite numbers"),
    ],
)
def test_what_cant_be_used_is_named(model, images, boxes, line):
    with pytest.raises(UserError) as raised:
        model.predict(images, ([[0.5, 0.5]], []), boxes)
    assert line in str(raised.value)


def test_a_checkpoint_s_scores_are_calibrated_by_its_last_validation(untrained, model, tiny_root, part):
    plain = load_best(untrained)
    plain.estimator.calibration = (1.0, 0.0)
    image = pixels(tiny_root, part.instances[part.categories[0].id][3])
    template = ([[0.1, 0.1], [0.2, 0.9]], [(0, 1)])
    raw, found = plain.predict([image], template), model.predict([image], template)
    np.testing.assert_array_equal(raw.xy, found.xy)
    logit = torch.logit(torch.from_numpy(raw.score))
    np.testing.assert_allclose(found.score, torch.sigmoid(0.5 * logit - 1.0), rtol=1e-4)


def test_a_model_that_looks_predicts_what_its_evaluation_does(part, tiny_root, tiny_pack, looking):
    model, category, pack = load_best(looking), part.categories[0], open_pack(tiny_pack)
    group, supports = pack.by_category[category.id], np.array([[0, 1, 2], [0, 1, 2]])
    predictor = ModelPredictor(load_model(looking)[0], pack, model.meta.config.data)
    [(_, wanted)] = predictor.predict_all({category.id: group}, [CategoryPairs(category, supports, np.array([4, 5]))])
    asked = TemplateRequest.of(data=str(tiny_pack), category=category.name, shots=3)
    template = made(asked)
    crops = [(model.crop(pixels(tiny_root, each), each.box), each.box) for each in (group[4], group[5])]
    [poses] = model.predict_crops(iter(crops), template)
    sides = np.array([each.side for each in (group[4], group[5])])[:, None]
    assert (np.linalg.norm(poses.xy - wanted, axis=-1) / sides).max() < 0.02
    bare = Template.of(template.xy, template.graph.edges)
    with pytest.raises(UserError, match=r"model.support.source=both\), and the template has none"):
        list(model.predict_crops(iter(crops), bare))
