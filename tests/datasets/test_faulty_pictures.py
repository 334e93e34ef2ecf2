"""Faults of pictures and their names that users met: what is right, and that `check` and `pack` say the same of it."""

from __future__ import annotations

import struct
import unicodedata
import warnings

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from capetune.errors import UserError

ALL = [11, 12, 13]
ONE = "1 image with 1 instance"


def move(gadgets, to, called):
    gadgets.move(to)
    gadgets.name(called)


@pytest.mark.parametrize(
    ("to", "called"),
    [
        ("gadget/1.png", "gadget\\1.png"),
        ("gadget/1.PNG", "gadget/1.png"),
        ("Gadget/1.png", "gadget/1.png"),
        (unicodedata.normalize("NFD", "gadget/é.png"), unicodedata.normalize("NFC", "gadget/é.png")),
        ("data/1.png", "gadget/1.png"),
        ("gadget/1.png", "..\\..\\media\\gadget\\1.png"),
        ("1.png", "gadget/1.png"),
        ("gadget/deep/er/1.png", "gadget/1.png"),
    ],
)
def test_a_picture_that_lies_there_under_another_name_is_named(gadgets, to, called):
    move(gadgets, to, called)
    said = f"image under another name: {ONE} left out: {called} ({to} is there)"
    assert gadgets.agreed() == ([12, 13], [said], [])


def test_another_picture_of_that_name_is_not_taken_for_it(gadgets):
    gadgets.move("1.bak")
    gadgets.draw("data/1.png", np.zeros((96, 96), np.uint8))
    assert gadgets.agreed() == ([12, 13], [f"image missing: {ONE} left out: gadget/1.png"], [])


def test_of_two_pictures_that_may_be_meant_none_is_named(gadgets):
    gadgets.move("data/1.png")
    gadgets.draw("more/1.png")
    assert gadgets.agreed() == ([12, 13], [f"image missing: {ONE} left out: gadget/1.png"], [])


def test_a_picture_that_an_annotation_names_is_not_offered_for_another(gadgets):
    for n in (0, 1):
        gadgets.name(f"{n}/1.png", n)
    gadgets.move("0/1.png")
    assert gadgets.agreed() == ([11, 13], [f"image missing: {ONE} left out: 1/1.png"], [])


def test_links_to_folders_are_looked_through_once_round(gadgets):
    gadgets.move("store/one.png")
    (gadgets.root / "images/store/round").symlink_to(gadgets.root / "images")
    gadgets.name("gadget/one.png")
    assert gadgets.agreed()[1] == [f"image under another name: {ONE} left out: gadget/one.png (store/one.png is there)"]


def test_a_folder_of_pictures_that_nobody_names_is_told(gadgets):
    for n in (1, 2):
        gadgets.name(f"widget/w{n}.png", n)
    gadgets.draw("widget/cam_1.png")
    gadgets.draw("widget/deep/cam_2.png")
    (gadgets.root / "images/widget/notes.txt").write_text("no picture")
    there = "widget holds 2 pictures that no annotation names, widget/cam_1.png for one"
    assert gadgets.agreed() == (
        [11],
        ["image missing: 2 images with 2 instances left out: widget/w1.png, widget/w2.png"],
        [f"doubtful: file names don't fit: 1 category: 101 ({there})"],
    )


def test_where_one_is_there_the_others_of_its_folder_are_simply_missing(gadgets):
    gadgets.move("gadget/other.png")
    assert gadgets.agreed() == ([12, 13], [f"image missing: {ONE} left out: gadget/1.png"], [])


def test_a_known_trap_of_the_source_is_said(gadgets):
    gadgets.categories[0].update(id=32, name="car")
    for n in range(3):
        gadgets.change(n, category_id=32)
        gadgets.name(f"car/{n}.png", n)
    gadgets.draw("car/cam_1.png")
    gadgets.write()
    with pytest.raises(UserError, match="CarFusion's have to be called as the image's id"):
        gadgets.pack()


@pytest.mark.parametrize(
    ("spoil", "cure"),
    [
        (lambda g: g.move("gadget/1.PNG"), "image under another name: gadget/1.PNG is there; file_name and the name"),
        (lambda g: g.move("x.png"), "file names don't fit: gadget holds 2 pictures .* gadget/2.png for one; file_name"),
    ],
)
def test_where_none_is_there_the_cure_fits(gadgets, spoil, cure):
    spoil(gadgets)
    del gadgets.images[1:], gadgets.annotations[1:]
    gadgets.write()
    with pytest.raises(UserError, match=rf"none of the 1 images is there, .*gadget/1.png for one: {cure}"):
        gadgets.pack()


def test_nothing_outside_the_folder_is_read(gadgets):
    gadgets.name("../images/gadget/1.png")
    gadgets.name(str(gadgets.root / "images/gadget/2.png"), 1)
    kept, [left_out], _ = gadgets.agreed()
    assert kept == [13]
    assert left_out.startswith("path leaves the images folder: 2 images with 2 instances left out: ../images/")
    assert gadgets.check().categories[0].category.folder == "gadget"


@pytest.mark.parametrize("name", ["gadget", "", "a\0b.png", "x" * 300 + ".png"])
def test_a_name_that_is_no_file_is_left_out(gadgets, name):
    gadgets.name(name)
    kept, [left_out], _ = gadgets.agreed()
    assert kept == [12, 13]
    assert left_out.startswith("image ")


@pytest.mark.parametrize("name", ["a b.png", "[left].png", "1..2.png", "歯車.png", ".dot.png", "a#b.png", "%20.png"])
def test_odd_names_are_names(gadgets, name):
    move(gadgets, f"gadget/{name}", f"gadget/{name}")
    assert gadgets.agreed() == (ALL, [], [])


def test_a_file_that_is_annotated_with_two_sizes_is_used_with_the_right_one(gadgets):
    gadgets.images[1].update(file_name="gadget/1.png", width=64, height=96)
    said = f"image size differs from the annotation's: {ONE} left out: gadget/1.png (96×64, annotated 64×96)"
    kept, left_out, _ = gadgets.agreed()
    assert (kept, left_out) == ([11, 13], [said])


@pytest.mark.parametrize("lost", [2, 40, 400])
def test_a_picture_that_is_cut_is_unreadable(gadgets, lost):
    path = gadgets.draw("gadget/1.jpg")
    path.write_bytes(path.read_bytes()[:-lost])
    gadgets.name("gadget/1.jpg")
    assert gadgets.agreed() == ([12, 13], [f"image unreadable: {ONE} left out: gadget/1.jpg"], [])


def test_what_is_too_large_is_not_called_broken(gadgets, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2_000_000)  # twice as many are refused
    gadgets.draw("gadget/1.png", np.zeros((2100, 2000), np.uint8))
    gadgets.images[0].update(width=2000, height=2100)
    said = f"image too large: {ONE} left out: gadget/1.png (annotated 2000×2100; more than 4 megapixels aren't read)"
    assert gadgets.agreed() == ([12, 13], [said], [])
    assert vars(gadgets.check().images) == {"found": 2, "missing": 0, "unreadable": 0, "unfit": 1}


def test_no_warning_of_a_library_gets_out(gadgets, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)  # each has 6144: Pillow would warn
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gadgets.agreed() == (ALL, [], [])


def grey(gadgets, id=11):
    return gadgets.opened().crop(id).image.astype(float)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_taken_by_the_upper_8_and_named(gadgets, suffix):
    eight = np.asarray(Image.open(gadgets.root / "images/gadget/1.png"))
    gadgets.draw(f"gadget/1.{suffix}", eight.astype(np.uint16) * 256 + 77)
    gadgets.name(f"gadget/1.{suffix}")
    said = f"doubtful: 16-bit picture: taken by the upper 8 bits: {ONE}: gadget/1.{suffix}"
    assert gadgets.agreed() == (ALL, [], [said])
    np.testing.assert_allclose(grey(gadgets), grey(gadgets, 12), atol=4)


def test_16_bits_that_are_turned_too(gadgets):
    upright = np.asarray(Image.open(gadgets.root / "images/gadget/1.png"))
    gadgets.draw("gadget/1.png", np.rot90(upright).astype(np.uint16) * 256, orientation=6)
    assert gadgets.agreed()[0] == ALL
    np.testing.assert_allclose(grey(gadgets), grey(gadgets, 12), atol=4)


@pytest.mark.parametrize(("kind", "mode"), [(np.float32, "F"), (np.int32, "I")])
def test_pixels_that_have_no_8_bits_are_left_out(gadgets, kind, mode):
    gadgets.draw("gadget/1.tif", np.full((64, 96), 500, kind))
    gadgets.name("gadget/1.tif")
    said = f"image of pixels that have no 8-bit colours: {ONE} left out: gadget/1.tif (mode {mode})"
    assert gadgets.agreed() == ([12, 13], [said], [])


def test_four_inks_are_shown_as_colours(gadgets):
    gadgets.draw("gadget/1.jpg", mode="CMYK")
    gadgets.name("gadget/1.jpg")
    assert gadgets.agreed() == (ALL, [], [])
    np.testing.assert_allclose(grey(gadgets), grey(gadgets, 12), atol=6)


TURNED = "doubtful: turned by its EXIF tag; the size can't tell which way it was annotated: 1 image with 1 instance"


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_a_turn_that_the_size_cannot_tell_is_named(gadgets, orientation):
    gadgets.draw("gadget/1.png", orientation=orientation)
    assert gadgets.agreed() == (ALL, [], [f"{TURNED}: gadget/1.png"])


def test_a_square_turned_by_its_tag_is_named(gadgets):
    gadgets.draw("gadget/1.png", np.zeros((96, 96), np.uint8), orientation=6)
    gadgets.images[0].update(height=96)
    assert gadgets.agreed() == (ALL, [], [f"{TURNED}: gadget/1.png"])


@pytest.mark.parametrize("shape", [(64, 96), (96, 64)])
def test_a_turn_that_the_size_tells_is_no_doubt_to_anyone(gadgets, shape):
    gadgets.draw("gadget/1.png", np.zeros(shape, np.uint8), orientation=6)
    assert gadgets.agreed() == (ALL, [], [])


def test_a_broken_exif_block_spoils_no_picture(gadgets):
    picture = Image.open(gadgets.root / "images/gadget/1.png")
    picture.save(gadgets.root / "images/gadget/1.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    gadgets.name("gadget/1.jpg")
    odd = Image.Exif()
    odd[0x0112], odd[0x010E], odd[0x011A] = 6, "x" * 50, IFDRational(1, 0)  # turned; a text; a resolution over zero
    turned = Image.fromarray(np.rot90(np.asarray(picture)))
    path = gadgets.root / "images/gadget/2.jpg"
    block = bytearray(odd.tobytes())
    count = block.index(struct.pack(">HH", 0x010E, 2)) + 4
    block[count : count + 4] = struct.pack(">I", 9999)  # signs of the text, far past its end
    turned.save(path, exif=bytes(block))
    gadgets.name("gadget/2.jpg", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gadgets.agreed() == (ALL, [], [])
    np.testing.assert_allclose(grey(gadgets), grey(gadgets, 13), atol=6)
    np.testing.assert_allclose(grey(gadgets, 12), grey(gadgets, 13), atol=6)
