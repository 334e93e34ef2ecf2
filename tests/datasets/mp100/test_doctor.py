from __future__ import annotations

import os
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from capetune.datasets.mp100.check import check
from capetune.datasets.mp100.doctor import Diagnosis, examine
from capetune.datasets.mp100.findings import noted


def look(downloads, images: Path | None = None, **sources: Path) -> Diagnosis:
    return examine(
        downloads.annotations, images or downloads.folder, {k.replace("_", "-"): v for k, v in sources.items()}
    )


def faults(found: Diagnosis, reason: str) -> dict[str, str]:
    """By file, what there is to say."""
    entry = noted(found.faults).get(reason)
    return {file: entry.details.get(file, "") for file in entry.files} if entry else {}


def test_every_source_is_found_as_its_readme_lays_it_out(downloads):
    found = look(downloads)
    assert found.faults == ()
    assert found.doubts == ()
    assert found.total.elsewhere == len(downloads.images)
    places = {name: str(place) for name, place in found.where.items()}
    assert places["horse_body/000000026602.jpg"].endswith("ap-10k/data/000000026602.jpg")
    assert places["amur_tiger_body/flickr/2/image00002.jpg"].endswith("flickr/2/image00002.jpg")
    assert places["wren_body/Winter_Wren_0141_190152.jpg"].endswith("199.Winter_Wren/Winter_Wren_0141_190152.jpg")
    assert places["sofa/00000002.jpg"].endswith("sofa/images/00000002.jpg")
    assert places["car/1500801200.jpg"].endswith("train/car_craig1/images_jpg/0_12000.jpg")
    assert places["bus/1500801201.jpg"].endswith("test/car_penn1/images_jpg/1_00031.jpg")
    assert places["fly_body/0.jpg"].endswith("fly/annotation_data_release.h5, frame 3")
    assert places["locust_body/1.jpg"].endswith("locust/annotation_data_release.h5, frame 0")


@pytest.mark.parametrize(
    ("gone", "other", "name"),
    [
        ("ap-10k/data/000000026602.jpg", "coco/train2017/000000026602.jpg", "horse_body/000000026602.jpg"),
        ("coco/train2017/000000010069.jpg", "ap-10k/data/000000010069.jpg", "human_body/000000010069.jpg"),
        ("keypoint-5/bed/images/00000002.jpg", "keypoint-5/table/images/00000002.jpg", "bed/00000002.jpg"),
        ("DeepFashion2/train/image/000012.jpg", "DeepFashion2/validation/image/000012.jpg", "sling/000012.jpg"),
        ("OneHand10K/Train/source/1.jpg", "OneHand10K/Test/source/1.jpg", "human_hand/1.jpg"),
        (
            "300w/images/lfpw/trainset/image_0001.png",
            "cow_body/000000000001.jpg",
            "human_face/lfpw/trainset/image_0001.png",
        ),
    ],
)
def test_another_picture_of_the_same_name_and_size_is_never_taken(downloads, gone, other, name):
    downloads.draw(other)
    assert look(downloads).where[name] == downloads.folder / gone
    downloads.remove(gone)
    found = look(downloads)
    assert name not in found.where
    assert list(faults(found, "image missing")) == [name]
    assert found.total.missing == 1


def test_nothing_but_a_name_and_a_size_is_ambiguous_until_the_source_is_named(downloads):
    (downloads.folder / "ap-10k/data").rename(downloads.folder / "animals")
    found = look(downloads)
    assert found.total.ambiguous == 2
    assert "horse_body/000000026602.jpg" in faults(found, "image ambiguous")
    assert found.lacks() == {"AP-10K": 2}
    named = look(downloads, AP_10K=downloads.folder / "animals")
    assert named.faults == ()
    assert named.where["horse_body/000000026602.jpg"] == downloads.folder / "animals/000000026602.jpg"


def test_a_source_outside_the_images_folder_is_looked_at(downloads, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    found = look(downloads, images, Keypoint_5=downloads.folder / "keypoint-5", CUB_200_2011=downloads.folder)
    assert {name.split("/")[0] for name in found.where} == {"bed", "sofa", "wren_body"}


def test_a_source_has_only_its_own_pictures(downloads, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    found = look(downloads, images, COCO=downloads.folder)
    assert set(found.where) == {"human_body/000000010069.jpg"}


def test_copies_are_one_picture_and_others_are_ambiguous(downloads):
    copy = downloads.folder / "more/animal_dataset_v1_clean_check/alpaca_1.jpg"
    copy.parent.mkdir(parents=True)
    copy.write_bytes((downloads.folder / "animal_dataset_v1_clean_check/alpaca_1.jpg").read_bytes())
    assert look(downloads).faults == ()
    downloads.draw("more/animal_dataset_v1_clean_check/alpaca_1.jpg")
    found = look(downloads)
    assert list(faults(found, "image ambiguous")) == ["alpaca_face/alpaca_1.jpg"]
    assert found.total.ambiguous == 1


def test_the_size_tells_which_of_two_is_meant(downloads):
    downloads.draw("more/animal_dataset_v1_clean_check/alpaca_1.jpg", (32, 24))
    assert look(downloads).where["alpaca_face/alpaca_1.jpg"].parent.parent == downloads.folder


def test_wrong_size_and_broken_files_are_named_with_where_they_lie(downloads):
    hand = downloads.draw("OneHand10K/Train/source/1.jpg", (32, 24))
    alpaca = downloads.folder / "animal_dataset_v1_clean_check/alpaca_1.jpg"
    alpaca.write_bytes(alpaca.read_bytes()[:-40])
    (downloads.folder / "macaquepose_v1/images/022c71451277faa4.jpg").write_bytes(b"no picture")
    found = look(downloads)
    assert faults(found, "image size differs from the annotation's") == {
        "human_hand/1.jpg": f"{hand} 32×24, annotated 64×48"
    }
    assert set(faults(found, "image unreadable")) == {
        *("alpaca_face/alpaca_1.jpg", "macaque_body/022c71451277faa4.jpg")
    }
    assert (found.total.wrong_size, found.total.unreadable) == (1, 2)


def test_a_missing_picture_s_namesake_of_another_size_is_named(downloads):
    (downloads.folder / "ap-10k/data").rename(downloads.folder / "animals")
    small = downloads.draw("animals/000000026602.jpg", (32, 24))
    told = f"{small} has its name, but isn't a picture of its size"
    assert faults(look(downloads), "image missing")["horse_body/000000026602.jpg"] == told


def test_another_spelling_of_a_name_is_the_same(downloads):
    place = downloads.folder / "CUB_200_2011/images/193.Bewick_Wren/Bewick_Wren_0005_184699.jpg"
    place.rename(place.with_name("Bewick_Wren_0005_184699.JPG"))
    assert look(downloads).total.missing == 0


def test_links_as_the_official_guide_makes_them_count_as_in_place(downloads, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for folder in ("horse_body", "fox_body"):
        (images / folder).symlink_to(downloads.folder / "ap-10k/data")
    found = look(downloads, images)
    assert found.total.in_place == 2
    assert found.total.missing == len(downloads.images) - 2


def test_a_car_renamed_by_another_machines_ids_is_found_out(downloads):
    wrong = downloads.draw("car/1500801200.jpg")
    found = look(downloads)
    assert str(found.where["car/1500801200.jpg"]).endswith("car_craig1/images_jpg/0_12000.jpg")
    assert list(noted(found.doubts)) == ["another picture lies under the name"]
    wrong.write_bytes((downloads.folder / "carfusion/train/car_craig1/images_jpg/0_12000.jpg").read_bytes())
    found = look(downloads)
    assert (found.where["car/1500801200.jpg"], found.doubts) == (wrong, ())


def test_cars_without_their_coco_file_are_missing(downloads):
    for part in ("train", "test"):
        downloads.remove(f"carfusion/annotations/car_keypoints_{part}.json")
    assert set(faults(look(downloads), "image missing")) == {"car/1500801200.jpg", "bus/1500801201.jpg"}


def test_names_that_depend_on_a_machine_are_doubtful_where_no_label_file_proves_them(downloads):
    for part in ("train", "test"):
        downloads.remove(f"carfusion/annotations/car_keypoints_{part}.json")
    car = downloads.draw("car/1500801200.jpg")
    found = look(downloads)
    assert found.where["car/1500801200.jpg"] == car
    [(reason, entry)] = noted(found.doubts).items()
    assert reason == "name that other pictures have elsewhere, and no label file that proves it"
    assert entry.files == ("car/1500801200.jpg",)


def test_a_folder_that_can_not_be_looked_into_is_named(downloads, tmp_path, monkeypatch):
    listed = os.scandir

    def closed(place: str) -> object:
        if str(place).endswith("flickr"):
            raise PermissionError(13, "Permission denied", str(place))
        return listed(place)

    monkeypatch.setattr(os, "scandir", closed)
    assert look(downloads).notes == (
        f"{downloads.folder}/AFLW/aflw/data/flickr can't be looked into: Permission denied",
    )


def test_two_cars_with_the_same_labels_are_ambiguous(downloads):
    file = downloads.folder / "carfusion/annotations/car_keypoints_train.json"
    text = file.read_text().replace("0_12000.jpg", "0_12001.jpg")
    file.with_name("car_keypoints_more.json").write_text(text)
    downloads.draw("carfusion/train/car_craig1/images_jpg/0_12001.jpg")
    found = look(downloads)
    assert list(faults(found, "image ambiguous")) == ["car/1500801200.jpg"]


def test_frames_written_out_in_the_files_order_are_found_out(downloads):
    """fly_body/0.jpg is frame 3 here, and someone wrote frame 0 as 0.jpg."""
    h5 = downloads.folder / "DeepPoseKit-Data/datasets/fly/annotation_data_release.h5"
    images = h5.parent / "images"
    images.mkdir()
    with h5py.File(h5) as tree:
        frames = np.asarray(tree["images"])
    for number in range(len(frames)):
        cv2.imwrite(str(images / f"{number}.jpg"), frames[number])
    found = look(downloads)
    assert str(found.where["fly_body/0.jpg"]) == f"{h5}, frame 3"
    told = noted(found.doubts)["another picture lies under the name"]
    assert told.files == ("fly_body/0.jpg", "fly_body/1.jpg", "fly_body/2.jpg", "fly_body/3.jpg")
    cv2.imwrite(str(images / "0.jpg"), frames[3])
    assert look(downloads).where["fly_body/0.jpg"] == images / "0.jpg"


def test_a_copy_of_a_label_file_says_nothing_new(downloads):
    h5 = downloads.folder / "DeepPoseKit-Data/datasets/fly/annotation_data_release.h5"
    (downloads.folder / "backup").mkdir()
    (downloads.folder / "backup" / h5.name).write_bytes(h5.read_bytes())
    assert look(downloads).faults == ()


def test_a_label_file_that_is_none_is_named(downloads):
    (downloads.folder / "carfusion/annotations/car_keypoints_odd.json").write_text("[]")
    (downloads.folder / "DeepPoseKit-Data/annotation_data_odd.h5").write_bytes(b"nothing")
    with h5py.File(downloads.folder / "annotation_data_other.h5", "w") as tree:
        tree["images"] = tree["annotations"] = tree["annotated"] = 1.0
    found = look(downloads)
    assert found.faults == ()
    assert len(found.notes) == 3
    assert all("is not read" in note for note in found.notes)


def test_a_path_out_of_the_folder_is_unfit(downloads):
    downloads.images[0]["file_name"] = "../outside.jpg"
    downloads.write()
    found = look(downloads)
    assert list(faults(found, "path leaves the images folder")) == ["../outside.jpg"]
    assert found.total.unfit == 1


def test_progress_counts_to_the_end(downloads):
    heard = []
    examine(downloads.annotations, downloads.folder, {}, lambda *told: heard.append(told))
    assert {(what, done) for what, done, total in heard if done == total} == {
        ("looking through folders", 1),
        ("looking for images", len(downloads.images)),
        ("reading images", len(downloads.images) - 6),
    }


@pytest.mark.parametrize("name", ["mp100-annotations", "mp100-real-images/annotations"])
def test_its_counts_are_those_of_check(name, real_annotations, real_images, tmp_path):
    annotations = real_annotations.parent / name
    images = real_images / "images" if "real" in name else tmp_path
    checked, found = check(annotations, images), look_at(annotations, images)
    assert found.total.in_place == checked.images.found
    assert found.total.missing == checked.images.missing
    assert {row.id: (row.pictures.in_place, row.pictures.missing) for row in found.categories} == {
        row.category.id: (row.images.found, row.images.missing) for row in checked.categories
    }
    assert sum(entry.instances for entry in noted(found.faults).values()) == sum(
        entry.instances for entry in checked.left_out.values()
    )


def look_at(annotations: Path, images: Path) -> Diagnosis:
    return examine(annotations, images, {})
