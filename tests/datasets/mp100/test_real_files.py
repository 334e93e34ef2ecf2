"""MP-100's own annotation files, where they are at hand."""

from __future__ import annotations

import gzip
import json

import pytest

from capetune.datasets.mp100.files import read_file, read_folder


@pytest.mark.parametrize(
    ("name", "split", "part", "total", "sizes"),
    [
        ("mp100_split1_test.json", 1, "test", 2000, {100}),
        ("mp100_split3_test.json", 3, "test", 2000, {100}),
        ("mp100_split1_val.json", 1, "val", 2000, {140, 145, 148, 197, 212, 231, 232}),
        ("mp100_split3_val.json", 3, "val", 2000, {150, 164, 197, 203, 214, 215}),
        ("cleaned/mp100_split1_test.json.gz", 1, "test", 1800, {0, 100}),
        ("cleaned/mp100_split1_val.json.gz", 1, "val", 1795, {27, 140, 145, 148, 197, 212, 231, 232}),
    ],
)
def test_the_real_files_give_the_official_instances_in_the_official_order(
    real_annotations, name, split, part, total, sizes
):
    path = real_annotations / name
    reading = read_file(path, split, part)
    assert len(reading.part) == total
    assert {len(group) for group in reading.part.instances.values()} == sizes
    raw = json.loads(gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes())
    by_image: dict = {}
    for annotation in raw["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    order = [(a["category_id"], a["id"]) for image in raw["images"] for a in by_image.get(image["id"], [])]
    for category in reading.part.categories:
        group = reading.part.instances[category.id]
        assert [i.id for i in group] == [id for c, id in order if c == category.id]
        assert all(i.visible.shape == (category.graph.size,) for i in group)


def test_the_real_skeletons_are_known_ones(real_annotations):
    categories = {c.id: c for r in read_folder(real_annotations).values() for c in r.part.categories}
    assert categories[72].folder == "human_body"
    assert (11, 13) in categories[72].graph.edges, "left hip to left knee of a person"
    assert categories[14].folder == "woodpecker_body"
    assert categories[10].graph.edges == ()


def test_the_real_mini_data_set_reads_whole(real_images):
    readings = read_folder(real_images / "annotations")
    assert len(readings) == 15
    ids = {i.id for r in readings.values() for group in r.part.instances.values() for i in group}
    assert len(ids) == 231
    assert not any(reading.dropped for reading in readings.values())
