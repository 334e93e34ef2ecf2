import numpy as np

from capetune.datasets.packs.worst import worst_first
from capetune.pose import Instance


def instance(id, xy, visible=(True, True, True, True), box=(10.0, 10.0, 40.0, 30.0)):
    box = np.array(box, dtype=float)
    xy = np.array(xy, dtype=float)
    return Instance(id, id, 1, f"{id}.png", (96, 64), box, xy, np.array(visible))


INSIDE = [(12, 12), (20, 20), (30, 30), (49, 39)]


def notes(instances, kind):
    return [(one.id, note) for one, note in worst_first(instances, kind)]


def test_boxes_come_by_how_far_keypoints_lie_outside_then_by_size():
    far = instance(1, [(12, 12), (20, 20), (30, 30), (90, 39)])
    near = instance(2, [(12, 12), (20, 20), (5, 30), (12, 45)])
    hidden = instance(3, [(12, 12), (20, 20), (30, 30), (90, 39)], visible=[True, True, True, False])
    edge = instance(4, [(12, 12), (20, 20), (30, 30), (51, 41)])
    small, smaller = (instance(id, [(12, 12)] * 4, box=(10, 10, *size)) for id, size in ((5, (40, 15)), (6, (9, 30))))
    found = notes([hidden, smaller, near, edge, small, far], "boxes")
    assert found == [(1, "1 keypoint outside"), (2, "2 keypoints outside"), (6, "box 9×30"), (5, "box 40×15")]


def test_odd_ones_come_by_how_much_is_odd():
    one = instance(1, [(12, 12), (20, 20), (0, 0), (0, 0)], visible=[True, True, False, False])
    two = instance(2, [(12, 12), (99, 20), (5, 5), (0, 0)], visible=[True, True, False, False])
    assert notes([one, instance(3, INSIDE), two], "odd") == [
        (2, "keypoint outside the image, invisible keypoint with coordinates, 3 or fewer visible keypoints"),
        (1, "3 or fewer visible keypoints"),
    ]


def test_fewest_visible_come_first_and_none_is_left_out():
    half = instance(1, INSIDE, visible=[True, False, True, False])
    none = instance(2, INSIDE, visible=[False] * 4)
    assert notes([instance(3, INSIDE), half, none], "visible") == [(2, "0 of 4"), (1, "2 of 4"), (3, "4 of 4")]
    assert notes([none], "boxes") == []
