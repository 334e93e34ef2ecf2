import json
import pickle
import shutil

import numpy as np
import pytest

from capetune.datasets.mp100.files import find_files, read_part
from capetune.datasets.packs.crop import apply, crop_affine, source_to_unit, warp_crop
from capetune.datasets.packs.reader import PackDamaged, check_readers, open_pack
from capetune.errors import UserError
from capetune.pose import PARTS, SPLITS


@pytest.fixture
def copy(tiny_pack, tmp_path):
    """A pack that may be harmed."""
    return shutil.copytree(tiny_pack, tmp_path / "copy")


def test_every_part_of_every_split_comes_back_as_it_was_read(tiny_root, tiny_pack):
    pack = open_pack(tiny_pack)
    for (split, part), file in find_files(tiny_root / "annotations").items():
        read, packed = read_part(file, split, part), pack.part(split, part)
        assert packed.categories == read.categories
        assert list(packed.instances) == list(read.instances)
        for category, group in read.instances.items():
            assert [i.id for i in packed.instances[category]] == [i.id for i in group]
            for a, b in zip(packed.instances[category], group, strict=True):
                assert (a.image_id, a.category_id, a.file_name) == (b.image_id, b.category_id, b.file_name)
                assert a.image_size == b.image_size
                np.testing.assert_array_equal(a.box, b.box)
                np.testing.assert_array_equal(a.xy, b.xy)
                np.testing.assert_array_equal(a.visible, b.visible)


def test_ids_above_what_a_float_holds_survive(tiny_pack):
    pack = open_pack(tiny_pack)
    large = [i for i in pack.instances if i.id > 2**53]
    assert large
    assert all(i.id // 10**14 == i.category_id and i.image_id // 10**14 == i.category_id for i in large)
    assert len({i.id for i in pack.instances}) == len(pack.instances) == 280


def test_random_access_and_shards_hold_the_same_pixels(tiny_pack):
    import tarfile

    pack = open_pack(tiny_pack)
    names = {}
    for index, shard in enumerate(pack.manifest.shards):
        with tarfile.open(tiny_pack / shard.name) as tar:
            for member in tar.getmembers():
                names[member.name] = index
                if member.name.endswith(".jpg"):
                    row = pack.row(int(member.name[:-4]))
                    data = tar.extractfile(member).read()
                    assert (row.shard, row.length) == (index, len(data))
                    np.testing.assert_array_equal(pack.decode(row, data).image, pack.crop(row.instance.id).image)
                else:
                    assert json.load(tar.extractfile(member))["id"] == int(member.name[:-5])
    assert len(names) == 2 * 280


def test_decoding_for_a_small_input_is_coarser_and_stays_in_place(tmp_path, write_mp100):
    import cv2

    from capetune.datasets.packs.writer import pack as write_pack

    picture = np.zeros((500, 500, 3), np.uint8)
    picture[240:280, 300:340] = 255
    (tmp_path / "images/a").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "images/a/1.jpg"), picture)
    one = {"id": 5, "image_id": 1, "category_id": 1, "keypoints": [319.5, 259.5, 2], "bbox": [50, 50, 401, 401]}
    category = {"id": 1, "name": "a", "keypoints": ["dot"], "skeleton": []}
    image = {"id": 1, "file_name": "a/1.jpg", "width": 500, "height": 500}
    write_mp100(tmp_path, [category], [image], [{**one, "num_keypoints": 1}], {(1, "test"): [1]})
    write_pack(tmp_path / "annotations", tmp_path / "images", tmp_path / "out")
    pack = open_pack(tmp_path / "out")
    whole, coarse = pack.crop(5), pack.crop(5, size=125)
    assert coarse.image.shape[0] == whole.image.shape[0] // 4
    affine = crop_affine(pack.instances[0].box, 125)
    expected = apply(affine, [319.5, 259.5])
    for crop in (whole, coarse):
        drawn = warp_crop(crop, source_to_unit(pack.instances[0].box), 125)[..., 0].astype(float)
        drawn[drawn < 60] = 0
        ys, xs = np.mgrid[:125, :125]
        centre = (drawn * xs).sum() / drawn.sum(), (drawn * ys).sum() / drawn.sum()
        np.testing.assert_allclose(centre, expected, atol=0.15)


def test_a_pack_travels_to_another_process_without_its_rows(tiny_pack):
    pack = open_pack(tiny_pack)
    assert len(pack.rows) == 280
    data = pickle.dumps(pack)
    assert len(data) < 100_000
    assert pickle.loads(data).instances[7].id == pack.instances[7].id


def test_any_folder_is_not_a_pack(tmp_path):
    with pytest.raises(UserError, match=r"is not a capetune pack \(no manifest.json\); make a pack with `capetune"):
        open_pack(tmp_path)


def test_a_truncated_shard_is_named(copy):
    shard = copy / "shard-00003.tar"
    shard.write_bytes(shard.read_bytes()[:-512])
    with pytest.raises(UserError, match=r"shard-00003.tar has \d+ bytes, not \d+"):
        open_pack(copy)


@pytest.mark.parametrize("name", ["shard-00001.tar", "instances.jsonl"])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        open_pack(copy)


def _edit(copy, **changes):
    file = copy / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_newer_schema_asks_for_an_update(copy):
    _edit(copy, schema_version=99)
    with pytest.raises(UserError, match="pack schema 99, this capetune reads 1: update"):
        open_pack(copy)


@pytest.mark.parametrize("changes", [{"shards": 3}, {"schema_version": None}, {"surprise": 1}])
def test_a_damaged_manifest_is_said_in_one_line(copy, changes):
    _edit(copy, **changes)
    with pytest.raises(UserError, match="make the pack again") as error:
        open_pack(copy)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_manifest(tmp_path):
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(UserError, match="not a capetune manifest"):
        open_pack(tmp_path)


def test_a_shard_outside_the_folder_is_refused(copy):
    shards = json.loads((copy / "manifest.json").read_text())["shards"]
    _edit(copy, shards=[{**shards[0], "name": "../evil.tar"}])
    with pytest.raises(UserError, match="outside its folder"):
        open_pack(copy)


def test_damaged_pixels_are_named(copy):
    pack = open_pack(copy)
    row = pack.rows[10]
    with (copy / pack.manifest.shards[row.shard].name).open("r+b") as stream:
        stream.seek(row.offset)
        stream.write(b"\0" * row.length)
    with pytest.raises(PackDamaged, match=f"shard-{row.shard:05d}.tar is damaged at instance {row.instance.id}"):
        pack.crop(row.instance.id)


def test_a_part_that_was_not_packed_is_said(copy):
    splits = json.loads((copy / "manifest.json").read_text())["splits"]
    del splits["2"]["val"]
    _edit(copy, splits=splits)
    with pytest.raises(UserError, match="has no split 2 val"):
        open_pack(copy).part(2, "val")


def test_nothing_is_missing_from_a_whole_pack(tiny_pack):
    pack = open_pack(tiny_pack)
    assert all(pack.missing(split, part) == () for split in SPLITS for part in PARTS)
    assert not pack.synthetic


def test_rows_of_a_data_set_of_full_size_are_read_fast(tiny_pack):
    import time

    lines = (tiny_pack / "instances.jsonl").read_text().splitlines()
    pack = open_pack(tiny_pack)
    pack._index = "\n".join((lines * 80)[:20_000]).encode()
    start = time.perf_counter()
    assert len(pack.rows) == 20_000
    assert time.perf_counter() - start < 4  # 0.4 s where nothing else runs


def test_a_fingerprint_changes_with_the_annotations(tiny_pack, copy):
    assert open_pack(copy).fingerprint == open_pack(tiny_pack).fingerprint
    lines = (copy / "instances.jsonl").read_text()
    (copy / "instances.jsonl").write_text(lines.replace('"visible": [1', '"visible": [0', 1))
    assert open_pack(copy).fingerprint != open_pack(tiny_pack).fingerprint


def test_fewer_shards_than_readers_is_said(tiny_pack):
    pack = open_pack(tiny_pack)
    with pytest.raises(
        UserError,
        match=r"8 shards can't feed 12 readers \(3 training workers × 4 loader processes\): repack with --shards 12",
    ):
        check_readers(pack, 3, 4)
    check_readers(pack, 4, 2)
    check_readers(pack, 8, 0)


def test_a_pack_that_names_only_the_images_it_leaves_out_is_read_as_before(tiny_pack, tmp_path):
    folder = shutil.copytree(tiny_pack, tmp_path / "old")
    tree = json.loads((folder / "manifest.json").read_text())
    tree["left_out"] = {"image missing": {"files": ["a/1.jpg"], "instances": 2}}
    (folder / "manifest.json").write_text(json.dumps(tree))
    entry = open_pack(folder).manifest.left_out["image missing"]
    assert (entry.files, entry.instances, entry.ids) == (("a/1.jpg",), 2, ())
