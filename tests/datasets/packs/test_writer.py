import json
import shutil
import tarfile
from collections import Counter

import cv2
import numpy as np
import pytest
from PIL import Image

from capetune.datasets.mp100.pictures import MISSING, OUTSIDE, UNREADABLE, WRONG_SIZE
from capetune.datasets.packs import writer as shards
from capetune.datasets.packs.reader import open_pack
from capetune.datasets.packs.writer import pack
from capetune.errors import UserError


@pytest.fixture
def root(tiny_root, tmp_path):
    """A tiny data set that may be harmed."""
    return shutil.copytree(tiny_root, tmp_path / "root")


def make(root, out, **options):
    return pack(root / "annotations", root / "images", out, **options)


def test_one_pack_serves_five_splits_and_stores_nothing_twice(tiny_pack):
    manifest = open_pack(tiny_pack).manifest
    members = Counter()
    for shard in manifest.shards:
        with tarfile.open(tiny_pack / shard.name) as tar:
            members.update(tar.getnames())
    assert set(members.values()) == {1}
    assert len(members) == 2 * manifest.instances == 560
    used = [len(entry.instances) for parts in manifest.splits.values() for entry in parts.values()]
    assert sum(used) == 5 * 280


def test_progress_is_heard_image_by_image(root, tmp_path):
    (root / "images/tiny90_body/004.jpg").write_bytes(b"")
    heard = []
    make(root, tmp_path / "out", progress=lambda done, total: heard.append((done, total)))
    assert heard == [(done, 252) for done in range(253)]


def test_shards_differ_by_one_sample_at_most_and_mix_categories(tiny_pack):
    opened = open_pack(tiny_pack)
    sizes = [shard.samples for shard in opened.manifest.shards]
    assert len(sizes) == 8
    assert max(sizes) - min(sizes) <= 1
    for index in range(8):
        assert len({row.instance.category_id for row in opened.rows if row.shard == index}) >= 10


def test_checksums_and_sizes_are_those_of_the_files(tiny_pack):
    from capetune.datasets.packs.manifest import file_sha256

    for shard in open_pack(tiny_pack).manifest.shards:
        assert (tiny_pack / shard.name).stat().st_size == shard.bytes
        assert file_sha256(tiny_pack / shard.name) == shard.sha256


def test_the_same_input_gives_the_same_bytes(tiny_root, tiny_pack, tmp_path):
    make(tiny_root, tmp_path / "again", shards=8, size=128)
    for file in tiny_pack.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes(), file.name


def test_an_image_is_decoded_once_whatever_hangs_on_it(tiny_root, tmp_path, monkeypatch):
    from capetune.datasets.packs import cutting

    seen = Counter()
    real = cutting.read_image
    monkeypatch.setattr(cutting, "read_image", lambda file, *rest: seen.update([file]) or real(file, *rest))
    assert make(tiny_root, tmp_path / "out").images == len(seen) == 14 * 18
    assert set(seen.values()) == {1}


def test_missing_and_broken_images_are_counted_and_named(root, tmp_path):
    (root / "images/tiny90_body/000.jpg").unlink()  # two instances
    (root / "images/tiny91_body/005.jpg").write_bytes(b"no picture")
    cut = root / "images/tiny92_body/005.jpg"
    cut.write_bytes(cut.read_bytes()[:-300])
    Image.new("RGB", (50, 60)).save(root / "images/tiny93_body/005.jpg")
    manifest = make(root, tmp_path / "out")
    found = {reason: (entry.files, entry.instances) for reason, entry in manifest.left_out.items()}
    assert found == {
        MISSING: (("tiny90_body/000.jpg",), 2),
        UNREADABLE: (("tiny91_body/005.jpg", "tiny92_body/005.jpg"), 2),
        WRONG_SIZE: (("tiny93_body/005.jpg",), 1),
    }
    opened = open_pack(tmp_path / "out")
    assert len(opened.rows) == manifest.instances == 275
    tested = [opened.part(split, "test") for split in range(1, 6)]  # which name every category once, all together
    assert sum(part.left_out for part in tested) == 5
    names = {instance.file_name for instance in opened.instances}
    assert not names & {file for entry in manifest.left_out.values() for file in entry.files}
    assert sum(len(entry.instances) for parts in manifest.splits.values() for entry in parts.values()) == 5 * 275


def test_a_category_without_images_is_kept_empty_and_reported(root, tmp_path):
    shutil.rmtree(root / "images/tiny88_body")
    manifest = make(root, tmp_path / "out")
    opened = open_pack(tmp_path / "out")
    assert manifest.missing == (88,)
    assert [c.id for c in opened.missing(1, "test")] == [88]
    part = opened.part(1, "test")
    assert [c.id for c in part.categories] == [87, 88]
    assert len(part.instances[87]) == 20
    assert part.instances[88] == ()


@pytest.mark.parametrize("harm", ["missing", "broken"])
def test_strict_refuses_in_one_line_and_leaves_nothing(root, tmp_path, harm):
    victim = root / "images/tiny90_body/003.jpg"
    victim.unlink() if harm == "missing" else victim.write_bytes(b"")
    with pytest.raises(UserError, match=r"tiny90_body/003.jpg.*without --strict") as error:
        make(root, tmp_path / "packs" / "out", strict=True)
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "packs").glob("*"))


def test_strict_packs_what_is_whole(tiny_root, tmp_path):
    assert make(tiny_root, tmp_path / "out", strict=True).left_out == {}


def test_an_interrupted_pack_is_no_pack(tiny_root, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(shards, "_write_index", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make(tiny_root, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_pack_is_no_pack(tiny_root, tmp_path, monkeypatch):
    """As after SIGKILL: nothing is cleaned up, yet `out` isn't there and what is left has no manifest."""
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    monkeypatch.setattr(shards, "_write_index", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        make(tiny_root, tmp_path / "out")
    (left,) = tmp_path.iterdir()
    assert left.name.startswith("out.partial-")
    with pytest.raises(UserError, match="not a capetune pack"):
        open_pack(left)


def test_nothing_is_overwritten(tiny_root, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="exists already"):
        make(tiny_root, tmp_path / "out")


def test_a_wrong_images_folder_names_the_first_path_and_the_right_folder(tiny_root, tmp_path):
    with pytest.raises(UserError, match=r"none of the 252 images is there, .*/000.jpg for one: did you mean --images"):
        pack(tiny_root / "annotations", tiny_root, tmp_path / "out")
    with pytest.raises(UserError, match="give the folder above the image folders"):
        pack(tiny_root / "annotations", tmp_path, tmp_path / "out")
    with pytest.raises(UserError, match="is not a folder"):
        pack(tiny_root / "annotations", tmp_path / "nowhere", tmp_path / "out")


def test_only_broken_images_are_nothing_to_pack(root, tmp_path):
    for file in (root / "images").rglob("*.*"):
        file.write_bytes(b"")
    with pytest.raises(UserError, match="not one image can be packed"):
        make(root, tmp_path / "out")


@pytest.mark.parametrize("count", [0, 513])
def test_senseless_numbers_of_shards(tiny_root, tmp_path, count):
    with pytest.raises(UserError, match="--shards must be between 1 and 512"):
        make(tiny_root, tmp_path / "out", shards=count)


def test_never_more_shards_than_instances(root, tmp_path):
    for folder in sorted((root / "images").iterdir())[1:]:
        shutil.rmtree(folder)
    manifest = make(root, tmp_path / "out", shards=100)
    assert len(manifest.shards) == manifest.instances == 20
    assert len(open_pack(tmp_path / "out").manifest.shards) == 20


def test_paths_that_leave_the_folder_are_not_followed(root, tmp_path):
    file = root / "annotations/mp100_split1_test.json"
    tree = json.loads(file.read_text())
    for other in (root / "annotations").iterdir():
        if other != file:
            other.unlink()
    tree["images"][0]["file_name"] = "../images/tiny87_body/000.jpg"
    file.write_text(json.dumps(tree))
    assert make(root, tmp_path / "out").left_out[OUTSIDE].instances == 2


def test_the_same_id_with_another_meaning_is_refused(root, tmp_path):
    file = root / "annotations/mp100_split2_val.json"
    tree = json.loads(file.read_text())
    tree["annotations"][0]["bbox"][0] += 1
    file.write_text(json.dumps(tree))
    id = tree["annotations"][0]["id"]
    with pytest.raises(UserError, match=rf"annotation {id} differs between .* and mp100_split2_val.json"):
        make(root, tmp_path / "out")


def test_a_synthetic_data_set_makes_a_synthetic_pack(root, tmp_path):
    for file in (root / "annotations").iterdir():
        file.write_text(json.dumps({**json.loads(file.read_text()), "info": {"capetune": "synthetic"}}))
    assert make(root, tmp_path / "out").synthetic
    assert open_pack(tmp_path / "out").part(1, "test").synthetic


def _one(tmp_path, write_mp100, width, height, box, points, save):
    """A data set of one image with one instance; `save(path)` writes the image."""
    keypoints = [v for x, y in points for v in (x, y, 2)]
    category = {"id": 1, "name": "a", "keypoints": [str(i) for i in range(len(points))], "skeleton": []}
    note = {"id": 7, "image_id": 1, "category_id": 1, "keypoints": keypoints, "num_keypoints": len(points), "bbox": box}
    image = {"id": 1, "file_name": "deep/er/1.jpg", "width": width, "height": height}
    write_mp100(tmp_path, [category], [image], [note], {(1, "test"): [1]})
    (tmp_path / "images/deep/er").mkdir(parents=True)
    save(tmp_path / "images/deep/er/1.jpg")


def _bright(crop):
    """Source coordinates of the bright blob in a crop."""
    from capetune.datasets.packs.crop import apply

    light = np.maximum(crop.image.astype(float).mean(axis=2) - 45, 0)  # the ground is darker, codec noise included
    ys, xs = np.mgrid[: light.shape[0], : light.shape[1]]
    return apply(crop.to_source, [(light * xs).sum() / light.sum(), (light * ys).sum() / light.sum()])


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_orientation_is_followed_as_the_annotation_was(tmp_path, write_mp100, orientation):
    upright = np.full((300, 200, 3), 20, np.uint8)
    upright[60:71, 150:161] = 255  # centre (155, 65)
    turns = {1: 0, 3: 2, 6: 1, 8: 3}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.rot90(upright, turns))

    _one(tmp_path, write_mp100, 200, 300, [20, 20, 161, 201], [(155, 65)], lambda p: stored.save(p, exif=exif))
    assert make(tmp_path, tmp_path / "out").left_out == {}
    np.testing.assert_allclose(_bright(open_pack(tmp_path / "out").crop(7)), [155, 65], atol=0.3)


def test_exif_is_ignored_where_only_the_stored_picture_has_the_annotated_size(tmp_path, write_mp100):
    picture = np.full((300, 200, 3), 20, np.uint8)
    picture[60:71, 150:161] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(picture)
    _one(tmp_path, write_mp100, 200, 300, [20, 20, 161, 201], [(155, 65)], lambda p: image.save(p, exif=exif))
    make(tmp_path, tmp_path / "out")
    np.testing.assert_allclose(_bright(open_pack(tmp_path / "out").crop(7)), [155, 65], atol=0.3)


@pytest.mark.parametrize("size", [64, 100, 512])
def test_large_images_are_stored_small_and_in_place(tmp_path, write_mp100, size):
    """The official crop gets `size` pixels, whatever the source has: 1500 px here; decoding is reduced on the way."""
    picture = np.full((1801, 2403, 3), 30, np.uint8)
    picture[700:761, 900:961] = 255  # centre (930, 730)
    _one(tmp_path, write_mp100, 2403, 1801, [400, 300, 1201, 901], [(930, 730)], lambda p: cv2.imwrite(str(p), picture))
    make(tmp_path, tmp_path / "out", size=size)
    crop = open_pack(tmp_path / "out").crop(7)
    np.testing.assert_allclose(_bright(crop), [930, 730], atol=1.5)
    assert crop.image.shape[0] <= 1.77 / 1.25 * size + 2
    assert 1500 / crop.to_source[0, 0] == pytest.approx(size, rel=0.02)


def test_small_objects_are_not_enlarged_and_keep_room_for_augmentation(tmp_path, write_mp100):
    picture = np.full((400, 400, 3), 30, np.uint8)
    _one(tmp_path, write_mp100, 400, 400, [150, 180, 101, 41], [(155, 195)], lambda p: cv2.imwrite(str(p), picture))
    make(tmp_path, tmp_path / "out")
    crop = open_pack(tmp_path / "out").crop(7)
    assert crop.to_source[:, :2].tolist() == [[1, 0], [0, 1]]
    assert crop.to_source[:, 2].tolist() == [200 - 89, 200 - 89]  # 100 px × 1.76 / 2 = 88.03 around (200, 200)
    assert crop.image.shape[:2] == (179, 179)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA"])
def test_any_kind_of_picture_becomes_rgb(tmp_path, write_mp100, mode):
    picture = Image.fromarray(np.full((90, 90), 153, np.uint8)).convert("RGB").convert(mode)
    _one(tmp_path, write_mp100, 90, 90, [20, 20, 41, 41], [(30, 30)], lambda p: picture.save(p, format="png"))
    make(tmp_path, tmp_path / "out")
    image = open_pack(tmp_path / "out").crop(7).image
    assert image.ndim == 3
    np.testing.assert_allclose(image.astype(float), 153, atol=3)  # a colour of the palette


def test_colours_are_those_of_the_source(tmp_path, write_mp100):
    picture = np.zeros((90, 90, 3), np.uint8)
    picture[:] = (200, 40, 90)
    _one(tmp_path, write_mp100, 90, 90, [20, 20, 41, 41], [(30, 30)], lambda p: Image.fromarray(picture).save(p))
    make(tmp_path, tmp_path / "out")
    np.testing.assert_allclose(open_pack(tmp_path / "out").crop(7).image.reshape(-1, 3).mean(0), [200, 40, 90], atol=5)


def test_real_images_all_find_their_way(real_images, tmp_path):
    manifest = make(real_images, tmp_path / "out", size=128)
    assert (manifest.instances, manifest.images, manifest.left_out, manifest.missing) == (231, 223, {}, ())


def test_whoever_cuts_the_bytes_are_the_same_and_a_picture_that_is_not_seen_there_is_refused(tiny_root, tmp_path):
    def elsewhere(job, tasks):
        return (job(task) for task in tasks)

    def changed(job, tasks):
        return (job((picture, file, length + (picture.name == name))) for picture, file, length in tasks)

    name = "tiny87_body/005.jpg"
    folders = tiny_root / "annotations", tiny_root / "images"
    for out, spread in (("one", None), ("two", elsewhere)):
        pack(*folders, tmp_path / out, shards=4, size=64, spread=spread)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    with pytest.raises(
        UserError, match=rf"machine .* doesn't see {tiny_root}/images/{name} as this one does: give --im"
    ):
        pack(*folders, tmp_path / "three", size=64, spread=changed)
    assert not (tmp_path / "three").exists()
