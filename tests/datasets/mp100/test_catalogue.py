from __future__ import annotations

from capetune.datasets.mp100.catalogue import MP100, Coverage, coverage, source


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


def test_a_part_of_mp100_says_how_much_it_is_and_what_is_missing():
    gone = {entry.id for entry in MP100.values() if entry.source in ("DeepFashion2", "OneHand10K")}
    found = coverage((entry.id, entry.name) for entry in MP100.values() if entry.id not in gone)
    assert found.line == "86 of 100 categories of MP-100; missing: DeepFashion2 (all 13), OneHand10K (hand)"
    assert (found.to_json()["there"], found.to_json()["of"]) == (86, 100)
    assert {entry["id"] for entry in found.to_json()["missing"]} == gone
    assert Coverage.of_json(found.to_json()) == found


def test_of_a_source_that_is_there_in_part_the_first_names_are_said():
    found = coverage((entry.id, entry.folder) for entry in MP100.values() if entry.id not in (2, 3, 5, 6, 40))
    assert found.line.endswith("missing: AP-10K (horse_body, dog_body, panda_body and 1 more), 300W (face)")
    assert coverage((entry.id, entry.name) for entry in MP100.values()).line == "100 of 100 categories of MP-100"


def test_an_id_of_mp100_with_another_name_is_not_its_category():
    assert len(coverage([(2, "teapot"), (101, "horse_body"), (3, "dog_body")]).missing) == 99
