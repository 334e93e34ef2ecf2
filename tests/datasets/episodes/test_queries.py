import numpy as np
import torch

from capetune.datasets.episodes.batch import make_item
from capetune.datasets.episodes.queries import encode_queries
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
