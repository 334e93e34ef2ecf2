import json

import pytest

from capetune.datasets.packs.reader import open_pack
from capetune.datasets.packs.stats import pack_stats


def test_each_category_in_numbers(gadgets):
    gadgets.change(0, keypoints=[21, 13, 2, 63, 17, 0, 0, 0, 0, 0, 0, 0], num_keypoints=1)
    gadgets.change(1, bbox=[17, 7, 71, 14], area=71 * 14)
    gadgets.write()
    stats = pack_stats(gadgets.pack())
    (row,) = stats.categories
    assert (row.instances, row.pictures, stats.instances, stats.pictures) == (3, 3, 3, 3)
    assert dict(row.seen) == {"0 a": 1, "1 b": pytest.approx(2 / 3), "2 c": pytest.approx(2 / 3), "3 d": 2 / 3}
    assert row.visible.tolist() == [0.25, 1, 1]
    assert dict(row.odd) == {
        "invisible keypoint with coordinates": 1,
        "3 or fewer visible keypoints": 1,
        "box side under 16 px": 1,
        "box longer than 5:1": 1,
    }
    assert row.sides.tolist() == [55, 70, 55]


def test_as_json(tiny_pack):
    tree = json.loads(json.dumps(pack_stats(open_pack(tiny_pack)).to_json()))
    assert (tree["instances"], tree["pictures"], len(tree["categories"])) == (280, 252, 14)
    first = tree["categories"][0]
    assert (first["id"], first["instances"], first["pictures"]) == (87, 20, 18)
    assert set(first["near_duplicates"]) == {
        "pairs",
        "instances_in_one_part",
        "held_out_with_one_in_training",
        "most_alike",
    }
    assert first["box_side"]["min"] <= first["box_side"]["median"] <= first["box_side"]["max"]
