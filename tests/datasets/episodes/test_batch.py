from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from capetune.datasets.episodes.augment import Augmentation
from capetune.datasets.episodes.batch import collate, make_item, template_in_crop
from capetune.datasets.episodes.templates import normalise
from capetune.datasets.packs.crop import apply
from capetune.datasets.packs.reader import open_pack
from capetune.datasets.packs.writer import pack as write_pack
from capetune.pose import Category, Crop, Instance, PoseGraph

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]  # of the dots, RGB
POINTS = np.array([[331.0, 262.0], [480.0, 300.0], [390.0, 410.0]])


def instance(xy, visible, box=(10, 20, 40, 30), id=1):
    xy = np.array(xy, dtype=float)
    return Instance(id, 1, 1, "a/1.jpg", (100, 100), np.array(box, dtype=float), xy, np.array(visible))


def category(k, edges=()):
    return Category(1, "a", "a", PoseGraph(tuple(map(str, range(k))), tuple(edges)))


@pytest.fixture(scope="module")
def dots(tmp_path_factory, write_mp100):
    """A pack of one instance whose three keypoints are a red, a green and a blue dot on black."""
    root = tmp_path_factory.mktemp("dots")
    picture = np.zeros((600, 800, 3), np.uint8)
    for (x, y), colour in zip(POINTS.astype(int), COLOURS, strict=True):
        cv2.circle(picture, (int(x), int(y)), 5, colour[::-1], -1)
    (root / "images/a").mkdir(parents=True)
    cv2.imwrite(str(root / "images/a/1.png"), picture)
    note = {"id": 5, "image_id": 1, "category_id": 1, "bbox": [300, 240, 201, 191], "num_keypoints": 3}
    note["keypoints"] = np.column_stack([POINTS, [2, 2, 2]]).ravel().tolist()
    image = {"id": 1, "file_name": "a/1.png", "width": 800, "height": 600}
    names = {"id": 1, "name": "a", "keypoints": ["r", "g", "b"], "skeleton": [[1, 2]]}
    write_mp100(root, [names], [image], [note], {(1, "test"): [1]})
    write_pack(root / "annotations", root / "images", root / "out", size=192)
    return open_pack(root / "out")


@pytest.mark.parametrize("size", [64, 192])
@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(15, 1.15), Augmentation(-15, 0.85)])
def test_keypoints_lie_on_their_pixels_after_pack_crop_and_augmentation(dots, size, augmentation):
    (query,) = dots.instances
    template = np.zeros((3, 2))
    item = make_item(dots.categories[1], query, dots.crop(5, size), template, np.ones(3, bool), size, augmentation)
    batch = collate([item])
    picture = batch.images[0].permute(1, 2, 0).numpy().astype(float)
    for k, colour in enumerate(COLOURS):
        own = np.array(colour) > 0
        weight = np.maximum(picture[..., own].mean(2) - picture[..., ~own].max(2) - 40, 0)  # pure colour alone
        ys, xs = np.mgrid[:size, :size]
        seen = np.array([(weight * xs).sum(), (weight * ys).sum()]) / weight.sum()
        np.testing.assert_allclose(batch.target[0, k].numpy() * size - 0.5, seen, atol=0.5)
    assert batch.visible.all()


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(12, 1.1)])
def test_to_source_takes_the_target_back(dots, augmentation):
    (query,) = dots.instances
    item = make_item(dots.categories[1], query, dots.crop(5), np.zeros((3, 2)), np.ones(3, bool), 64, augmentation)
    np.testing.assert_allclose(apply(item.to_source, item.target), POINTS, atol=1e-9)


def test_the_template_lies_where_the_box_does_and_never_turns(dots):
    (query,) = dots.instances
    own = normalise(query)  # its own pose: without augmentation the template is the target
    known = np.ones(3, bool)
    plain = make_item(dots.categories[1], query, dots.crop(5), own, known, 64)
    turned = make_item(dots.categories[1], query, dots.crop(5), own, known, 64, Augmentation(15, 1.1))
    np.testing.assert_allclose(plain.template, plain.target, atol=1e-12)
    np.testing.assert_array_equal(turned.template, plain.template)
    assert not np.allclose(turned.target, plain.target)


def test_an_unknown_keypoint_of_the_template_is_the_centre_of_the_crop():
    np.testing.assert_allclose(template_in_crop(np.full((1, 2), 0.5), np.array([10.0, 20, 40, 30])), [[0.5, 0.5]])


def test_keypoints_outside_the_crop_or_invisible_are_not_targets():
    query = instance([[30, 35], [500, 35], [30, 35], [0, 0]], [True, True, False, True])
    crop = Crop(np.zeros((100, 100, 3), np.uint8), np.eye(2, 3))
    item = make_item(category(4), query, crop, np.zeros((4, 2)), np.ones(4, bool), 32)
    assert item.visible.tolist() == [True, False, False, False]  # the crop is (5, 10) to (55, 60)
    assert item.target.tolist() == [[0.5, 0.5], [0, 0], [0, 0], [0, 0]]


def test_collate_pads_to_the_largest_k_with_zero_and_false():
    crop = Crop(np.full((100, 100, 3), 9, np.uint8), np.eye(2, 3))
    small = instance([[30, 35], [20, 30]], [True, True], id=2**60 + 1)
    large = instance([[30, 35]] * 5, [True] * 5, id=2**60 + 3)
    items = [
        make_item(category(len(q.xy), [(0, 1)]), q, crop, np.full((len(q.xy), 2), 0.3), np.ones(len(q.xy), bool), 32)
        for q in (small, large)
    ]
    batch = collate(items)
    assert len(batch) == 2
    assert (batch.images.shape, batch.images.dtype) == ((2, 3, 32, 32), torch.uint8)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.joints.tolist() == [[True, True, False, False, False], [True] * 5]
    assert batch.ids.tolist() == [2**60 + 1, 2**60 + 3]
    assert batch.side.tolist() == [40, 40]
    for name in ("template", "target", "template_known", "visible"):
        assert not getattr(batch, name)[0, 2:].any(), name
    assert batch.adjacency.shape == (2, 5, 5)
    assert batch.adjacency.sum(dim=(1, 2)).tolist() == [2, 2]
    types = {name: getattr(batch, name).dtype for name in ("template", "target", "to_source", "side", "ids")}
    assert types == {
        "template": torch.float32,
        "target": torch.float32,
        "to_source": torch.float64,
        "side": torch.float64,
        "ids": torch.int64,
    }


def test_a_mirrored_query_exchanges_left_and_right_and_their_visibility():
    names = ("left eye", "right eye", "nose")
    box = np.array([10.0, 20, 60, 60])
    xy = np.array([[60.0, 30], [20, 34], [40, 60]])  # seen from the front, its left eye is on the right
    query = Instance(1, 1, 1, "a.jpg", (100, 100), box, xy, np.array([True, False, True]))
    kind = Category(1, "face", "face", PoseGraph(names, ((0, 2), (1, 2))))
    crop = Crop(np.zeros((100, 100, 3), np.uint8), np.array([[1.0, 0, 0], [0, 1, 0]]))
    own, known = normalise(query), np.array([True, True, True])
    plain = make_item(kind, query, crop, own, known, 64)
    flipped = make_item(kind, query, crop, own, known, 64, Augmentation(flip=True))
    np.testing.assert_allclose(flipped.target[1], [1 - plain.target[0, 0], plain.target[0, 1]])
    np.testing.assert_allclose(flipped.target[2], [1 - plain.target[2, 0], plain.target[2, 1]])
    np.testing.assert_array_equal(flipped.visible, [False, True, True])
    np.testing.assert_array_equal(flipped.template, plain.template)  # the supports aren't mirrored
    np.testing.assert_allclose(apply(flipped.to_source, flipped.target[1]), xy[0], atol=1e-9)


def test_a_mirrored_picture_is_the_plain_one_mirrored(dots):
    (query,) = dots.instances
    crop, graph = dots.crop(5), PoseGraph(("left", "right", "nose"), ())
    kind, none = replace(dots.categories[1], graph=graph), (np.zeros((3, 2)), np.ones(3, bool))
    plain = make_item(kind, query, crop, *none, 64)
    flipped = make_item(kind, query, crop, *none, 64, Augmentation(flip=True))
    difference = np.abs(flipped.image[:, ::-1].astype(int) - plain.image.astype(int))
    assert difference.max() <= 2  # cv2 interpolates in steps of 1/32 pixel


def test_a_mirror_whose_names_do_not_tell_is_refused(dots):
    (query,) = dots.instances
    with pytest.raises(ValueError, match="don't tell"):
        make_item(
            dots.categories[1], query, dots.crop(5), np.zeros((3, 2)), np.ones(3, bool), 64, Augmentation(flip=True)
        )
