from dataclasses import replace

import numpy as np
import pytest
import torch

from capetune.datasets.episodes.batch import make_item
from capetune.datasets.episodes.queries import encode_queries, query_images
from capetune.datasets.packs.crop import unit_to_source
from capetune.datasets.packs.reader import open_pack


def test_queries_are_official_crops_in_the_order_given(tiny_pack):
    pack = open_pack(tiny_pack)
    wanted = [pack.instances[i] for i in (200, 3, 100)]
    images, to_source = encode_queries(pack, wanted, 96)
    assert (images.shape, images.dtype) == ((3, 3, 96, 96), torch.uint8)
    assert (to_source.shape, to_source.dtype) == ((3, 2, 3), torch.float64)
    for image, affine, query in zip(images, to_source, wanted, strict=True):
        k = len(query.xy)
        none = np.zeros((k, 2)), np.ones(k, bool)
        item = make_item(pack.categories[query.category_id], query, pack.crop(query.id, 96), *none, 96)
        np.testing.assert_array_equal(image.permute(1, 2, 0), item.image)
        np.testing.assert_allclose(affine, unit_to_source(query.box))


@pytest.mark.parametrize(("threads", "ahead"), [(1, 0), (1, 2), (3, 8)])
def test_images_made_ahead_are_the_same(tiny_pack, threads, ahead):
    pack = open_pack(tiny_pack)
    wanted = [pack.instances[i] for i in (200, 3, 100, 7, 8)]
    images, _ = encode_queries(pack, wanted, 96)
    for got, image in zip(query_images(pack, wanted, 96, threads, ahead), images, strict=True):
        np.testing.assert_array_equal(got, image.permute(1, 2, 0))


def test_an_image_made_ahead_that_fails_fails_in_its_place(tiny_pack):
    pack = open_pack(tiny_pack)
    made = query_images(pack, [pack.instances[0], replace(pack.instances[1], id=1)], 96, 2, 4)
    assert next(made).shape == (96, 96, 3)
    with pytest.raises(KeyError):
        next(made)
