from __future__ import annotations

import json

import pytest
from PIL import Image

from capetune.datasets.mp100.check import check
from capetune.datasets.mp100.pictures import WRONG_SIZE
from capetune.errors import UserError


def draw(folder, name, size=(100, 80), **options):
    path = folder / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.linear_gradient("L").resize(size).save(path, **options)
    return path


def row(checkup, id):
    return next(row for row in checkup.categories if row.category.id == id)


def test_an_annotation_in_several_files_counts_once(mp100):
    mp100.write(name="mp100_split1_test.json")
    more = [mp100.annotation(), mp100.annotation(12), mp100.annotation(13, iscrowd=1)]
    mp100.write(annotations=more, name="mp100_split2_train.json")
    mp100.write(annotations=more, name="mp100_split3_train.json")
    found = row(check(mp100.folder), 2)
    assert found.instances == 2
    assert found.parts == ((1, "test"), (2, "train"), (3, "train"))
    assert found.quirks == {"3 or fewer visible keypoints": 2, "several annotations in the image": 2}
    assert found.dropped == {"crowd": 1}
    assert found.images is None
    assert found.source == "AP-10K"


def test_images_are_found_missing_or_unreadable(mp100):
    names = ["ok.jpg", "deep/er.png", "gone.jpg", "cut.jpg", "text.jpg", "other_size.jpg", "turned.jpg"]
    images = [mp100.image(n, f"horse_body/{name}") for n, name in enumerate(names)]
    mp100.write(images=images, annotations=[mp100.annotation(n + 10, n) for n in range(len(names))])
    draw(mp100.folder, "horse_body/ok.jpg")
    draw(mp100.folder, "horse_body/deep/er.png")
    cut = draw(mp100.folder, "horse_body/cut.jpg")
    cut.write_bytes(cut.read_bytes()[:-40])
    draw(mp100.folder, "horse_body/text.jpg").write_text("<html>404</html>")
    draw(mp100.folder, "horse_body/other_size.jpg", (100, 90))
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(mp100.folder, "horse_body/turned.jpg", (80, 100), exif=exif)
    calls: list[tuple[int, int]] = []
    checkup = check(mp100.folder, mp100.folder / "images", lambda done, total: calls.append((done, total)))
    assert vars(row(checkup, 2).images) == {"found": 3, "missing": 1, "unreadable": 2, "unfit": 1}
    assert checkup.lost == ("horse_body/gone.jpg",)
    assert checkup.broken == ("horse_body/cut.jpg", "horse_body/text.jpg")
    assert checkup.left_out[WRONG_SIZE].files == ("horse_body/other_size.jpg",)
    assert calls == [(n, 6) for n in range(1, 7)], "what isn't there isn't read"


def test_an_image_of_several_annotations_counts_once(mp100):
    mp100.write(annotations=[mp100.annotation(n) for n in (11, 12, 13)])
    draw(mp100.folder, "horse_body/1.jpg")
    found = row(check(mp100.folder, mp100.folder / "images"), 2)
    assert (found.instances, found.images.found) == (3, 1)


def test_a_category_is_recovered_when_one_image_is_there(mp100):
    mp100.write(
        categories=[mp100.category(), mp100.category(3, "dog_body"), mp100.category(78, "long_sleeved_outwear")],
        images=[mp100.image(1), mp100.image(2, "dog_body/1.jpg")],
        annotations=[mp100.annotation(), mp100.annotation(12, 2, 3)],
    )
    draw(mp100.folder, "horse_body/1.jpg")
    assert check(mp100.folder).recovered == 2
    checkup = check(mp100.folder, mp100.folder / "images")
    assert checkup.recovered == 1
    assert [c.id for c in checkup.empty] == [78]
    why = {entry.id: entry.why for entry in checkup.missing}
    assert len(why) == 99
    assert (why[3], why[78]) == ("no image found", "listed but empty")
    assert why[1] == "not in the annotation files"


def test_a_category_in_two_parts_of_a_split_is_a_leak(mp100):
    mp100.write(name="mp100_split1_test.json")
    mp100.write(name="mp100_split1_train.json")
    mp100.write(name="mp100_split2_train.json")
    assert check(mp100.folder).leaks == ((1, (2,)),)


def test_what_only_the_files_together_show_is_a_quirk(mp100):
    mp100.write(categories=[mp100.category(18, "face"), mp100.category(7, "teapot")], images=[], annotations=[])
    other = [mp100.category(40, "face"), mp100.category(7, "teapot", ("x", "y"))]
    mp100.write(categories=other, images=[], annotations=[], name="mp100_split2_test.json")
    checkup = check(mp100.folder)
    assert "name shared by two categories" in row(checkup, 18).quirks
    assert "name shared by two categories" in row(checkup, 40).quirks
    assert "id of MP-100, name of none of its" in row(checkup, 7).quirks
    assert "category 7 is 'teapot' with 3 keypoints" in checkup.contradictions[0]
    assert not row(checkup, 7).official


def test_synthetic_data_is_never_taken_for_real(mp100):
    mp100.write(info={"capetune": "synthetic"})
    mp100.write(name="mp100_split2_test.json")
    assert check(mp100.folder).to_json()["data"] == "synthetic"


def test_the_json_is_plain(mp100):
    mp100.write()
    document = check(mp100.folder, mp100.folder).to_json()
    assert json.loads(json.dumps(document)) == document
    assert document["totals"]["images"] == {"found": 0, "missing": 1, "unreadable": 0, "unfit": 0}
    assert document["left_out"]["image missing"]["ids"] == [11]


def test_an_images_folder_that_is_absent_is_said(mp100):
    mp100.write()
    with pytest.raises(UserError, match="is not a folder"):
        check(mp100.folder, mp100.folder / "nowhere")


def test_the_real_annotations(real_annotations):
    checkup = check(real_annotations)
    assert (checkup.recovered, len(checkup.categories)) == (50, 50)
    assert sum(r.instances for r in checkup.categories) == 6903, "some val instances are test instances too"
    assert not checkup.leaks
    assert not any(r.dropped for r in checkup.categories)
    assert (checkup.left_out, checkup.doubtful, checkup.contradictions, checkup.unread) == ({}, {}, (), ())
    assert row(checkup, 66).quirks["annotation id equals image id"] == 232
    assert row(checkup, 92).quirks["area is not w·h"] == 232


def test_the_real_cleaned_annotations(real_annotations):
    checkup = check(real_annotations / "cleaned")
    assert [c.name for c in checkup.empty] == ["short_sleeved_dress", "long_sleeved_outwear"]
    assert checkup.recovered == 28
    assert row(checkup, 92).instances == 27


def test_the_real_images(real_images):
    checkup = check(real_images / "annotations", real_images / "images")
    assert vars(checkup.images) == {"found": 223, "missing": 0, "unreadable": 0, "unfit": 0}
    assert sum(r.instances for r in checkup.categories) == 231
    assert (checkup.recovered, sum(not r.official for r in checkup.categories)) == (2, 4)
    assert (checkup.left_out, checkup.doubtful, checkup.contradictions, checkup.unread) == ({}, {}, (), ())
