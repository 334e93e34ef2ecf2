from __future__ import annotations

from capetune.datasets.mp100.catalogue import MP100, source


def test_the_catalogue_counts_are_those_of_the_paper():
    counts: dict[str, int] = {}
    for entry in MP100.values():
        counts[entry.source] = counts.get(entry.source, 0) + 1
    assert sorted(MP100) == list(range(1, 101))
    assert counts == {
        **{"COCO": 1, "300W": 1, "AFLW": 1, "OneHand10K": 1, "DeepFashion2": 13, "AP-10K": 34, "MacaquePose": 1},
        **{"DeepPoseKit": 2, "CUB-200-2011": 8, "CarFusion": 3, "AnimalWeb": 30, "Keypoint-5": 5},
    }
    assert sum(entry.name != entry.folder for entry in MP100.values()) == 15
    assert len({entry.folder for entry in MP100.values()}) == 100


def test_the_source_needs_id_and_name_to_agree():
    assert source(18, "face") == "AFLW"
    assert source(40, "face") == "300W"
    assert source(72, "human_body") == "COCO"
    assert source(72, "teapot") == "other"
    assert source(101, "openfield_mouse_body") == "other"
