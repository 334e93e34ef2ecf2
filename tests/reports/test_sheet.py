import cv2
import numpy as np
import pytest

from capetune.datasets.packs.crop import apply, crop_affine
from capetune.datasets.packs.reader import open_pack
from capetune.errors import UserError
from capetune.prediction.drawing import keypoint_colours
from capetune.reports import sheet


@pytest.fixture(scope="module")
def pack(tiny_pack):
    return open_pack(tiny_pack)


def test_instances_come_from_the_categories_in_turn(pack):
    chosen = sheet.choose(pack, 30)
    counts = np.unique([i.category_id for i in chosen], return_counts=True)[1]
    assert len(counts) == 14
    assert set(counts) == {2, 3}


def test_a_category_by_id_name_or_folder(pack):
    for word in ("91", "tiny91", "tiny91_body"):
        category = sheet.find_category(pack, word)
        assert category.id == 91
    assert {i.category_id for i in sheet.choose(pack, 100, category)} == {91}
    assert len(sheet.choose(pack, 100, category)) == 20


def test_an_unknown_category_names_the_nearest(pack):
    with pytest.raises(UserError, match=r"has no category 'tinny91_bdy'; the nearest is 'tiny91' \(91\)"):
        sheet.find_category(pack, "tinny91_bdy")
    with pytest.raises(UserError, match="the nearest is"):
        sheet.find_category(pack, "zzz")


def test_a_name_of_two_categories_asks_for_the_id(pack, tiny_pack):
    from dataclasses import replace

    other = open_pack(tiny_pack)
    other.categories[91] = replace(other.categories[91], name="tiny92")
    with pytest.raises(UserError, match=r"'tiny92' is 91 \(tiny91_body\) and 92 \(tiny92_body\): give the id"):
        sheet.find_category(other, "tiny92")


def test_only_instances_of_the_part(pack):
    assert {i.category_id for i in sheet.choose(pack, 50, split=1, part="test")} == {87, 88}
    with pytest.raises(UserError, match=r"holds no image of category 'tiny91' \(91\) in split 1 test"):
        sheet.choose(pack, 50, pack.categories[91], split=1, part="test")


def test_colours_are_all_different():
    for count in (1, 8, 17, 68, 100):
        assert len(np.unique(keypoint_colours(count), axis=0)) == count


def test_visible_keypoints_are_drawn_where_they_are_and_invisible_ones_are_not(pack):
    query = next(i for i in pack.instances if not i.visible.all() and i.visible.sum() >= 3)
    colours = keypoint_colours(len(query.visible)).astype(int)
    places = apply(crop_affine(query.box, sheet.TILE), query.xy)
    plain, shown = query.visible.copy(), []
    for k in range(len(plain)):
        query.visible[:] = np.arange(len(plain)) == k
        tile = sheet.draw_tile(pack, query)
        x, y = np.round(places[k]).astype(int)
        shown.append(np.abs(tile[y, x] - colours[k]).max() < 12)
        query.visible[:] = False
        assert not np.array_equal(tile, sheet.draw_tile(pack, query))
    query.visible[:] = plain
    assert all(shown)


def test_a_sheet_has_room_for_all_and_is_saved_in_true_colours(pack, tmp_path):
    picture = sheet.draw_sheet(pack, sheet.choose(pack, 7))
    assert picture.shape == (2 * (256 + 22 + 4) + 4, 4 * (256 + 4) + 4, 3)
    sheet.save(picture, tmp_path / "new" / "sheet.png")
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "new" / "sheet.png"))[..., ::-1], picture)


def test_a_picture_that_can_not_be_written(pack, tmp_path):
    picture = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(UserError, match=r"call it something.png"):
        sheet.save(picture, tmp_path / "sheet.xyz")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't write"):
        sheet.save(picture, tmp_path / "file" / "sheet.png")
