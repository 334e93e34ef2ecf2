"""Inputs out of public bug reports, where they are at hand: what check and pack print. `-n 0 -s` shows the table."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.datasets.mp100.check import check
from capetune.datasets.packs.reader import open_pack
from capetune.errors import UserError

CASES = Path(__file__).parents[2] / ".." / "shared" / "cases"
ID = "1010000000000000"  # of annotation 1, without its last digit
DIFFERS = f"{ID}1 differs between mp100_split1_train.json and mp100_split2_test.json, as do 2 more: ids must differ"
TWO = f"(image {ID}1: gadget_body/g1.jpg and gadget_body/g2.jpg)"
ONE = "1 annotation left out: "
WITH = "1 image with 1 instance"

# How many instances are kept, None where the data is refused; what is said, by both.
RIGHT: dict[str, tuple[int | None, list[str]]] = {
    "00-control": (3, []),
    "01-ids-all-zero": (1, ["id occurs twice: 2 annotations left out: 0 (gadget_body/g2.jpg, gadget_body/g3.jpg)"]),
    "02-image-id-twice": (1, [f"image id of several pictures: 2 annotations left out: {ID}1 {TWO}, {ID}2 {TWO}"]),
    "03-exif": (
        4,
        [
            "doubtful: turned by its EXIF tag; the size can't tell which way it was annotated: "
            f"{WITH}: gadget_body/g3.jpg"
        ],
    ),
    "04-png-16-bit": (3, [f"doubtful: 16-bit picture: taken by the upper 8 bits: {WITH}: gadget_body/g1.png"]),
    "05-cmyk": (3, []),
    "06-root-category-without-keypoints": (
        3,
        ["doubtful: category without keypoints: skipped: 1 category: 0 (gadgets)"],
    ),
    "07-backslash": (
        1,
        [
            "image under another name: 2 images with 2 instances left out: ..\\..\\media\\gadget_body\\g2.jpg "
            "(gadget_body/g2.jpg is there), gadget_body\\g1.jpg (gadget_body/g1.jpg is there)"
        ],
    ),
    "08-string-ids": (None, [f"'id' of images[0] is \"{ID}1\"; each image needs an id of its own, an integer"]),
    "09-empty-track": (2, [f"box empty after clipping: {ONE}{ID}2"]),
    "10-num-keypoints": (
        2,
        [
            f"num_keypoints is 0, yet keypoints are visible: {ONE}{ID}1 (4 are visible)",
            f"doubtful: num_keypoints is not the number of visible keypoints: 1 annotation: {ID}2 "
            "(says 4, 2 are visible)",
        ],
    ),
    "11-fractional-visibility": (
        3,
        [
            f"doubtful: num_keypoints is not the number of visible keypoints: 1 annotation: {ID}1 "
            "(says 4, 3 are visible)"
        ],
    ),
    "12-nan": (3, []),
    "13-cut-jpg": (1, ["image unreadable: 2 images with 2 instances left out: gadget_body/g1.jpg, gadget_body/g2.jpg"]),
    "14-huge-image": (
        2,
        [
            f"image too large: {WITH} left out: gadget_body/g1.png "
            "(annotated 14000×14000; more than 178 megapixels aren't read)"
        ],
    ),
    "15-ids-per-file": (None, [f"annotation {DIFFERS} between files that mean different annotations"]),
    "16-category-not-listed": (2, [f"category not listed: {ONE}{ID}2 (category 102)"]),
    "17-fewer-keypoints": (2, [f"number of keypoints differs from the category's: {ONE}{ID}2 (3 for 4)"]),
    "18-other-file-names": (
        None,
        ["gadget_body holds 3 pictures that no annotation names, gadget_body/cam_1_0001.jpg for one"],
    ),
    "19-file-twice": (
        4,
        [
            "doubtful: picture under several image ids: 1 image with 2 instances: gadget_body/g1.jpg "
            f"(images {ID}1 and {ID}9)"
        ],
    ),
    "20-latin-1": (None, ["is not JSON in UTF-8 ('utf-8' codec can't decode byte 0xe9"]),
    "21-ids-from-0": (3, []),
    "22-no-image-size": (None, ["'width' of images[0] is missing; each image needs its width and height in pixels"]),
    "23-size-swapped": (
        1,
        [
            "image size differs from the annotation's: 2 images with 2 instances left out: gadget_body/g1.jpg "
            "(96×64, annotated 64×96), gadget_body/g2.jpg (96×64, annotated 64×96)"
        ],
    ),
    "24-origin-visible": (3, [f"doubtful: visible keypoint at (0, 0): 2 annotations: {ID}1, {ID}2"]),
    "25-area-missing-or-0": (2, [f"area not positive: {ONE}{ID}2"]),
    "26-absolute-path": (
        1,
        [
            "path leaves the images folder: 2 images with 2 instances left out: ../images/gadget_body/g2.jpg, "
            "/mnt/old-disk/gadget_body/g1.jpg"
        ],
    ),
    "27-skeleton-odd": (3, []),
    "28-no-annotation-id": (None, ["'id' of annotations[1] is missing; each annotation needs an id of its own"]),
    "29-upper-case-extension": (None, ["gadget_body/g1.JPG is there"]),
    "30-all-unlabelled": (3, []),
    "32-broken-exif": (3, []),
    "34-image-not-listed": (2, [f"image not listed: {ONE}{ID}2 (image {ID[:-1]}77)"]),
    "35-negative-unlabelled": (2, [f"keypoints are not triples of finite numbers: {ONE}{ID}2"]),
    "36-exif-zero-rational": (3, []),
    "38-100-megapixels": (3, []),
    "39-json-cut": (None, ["is not JSON (Unterminated string", "export or download it again"]),
    "40-keypoint-order-differs": (
        None,
        [
            "keypoint 'a' of category 101, 'gadget_body', is number 1 in mp100_split1_train.json and number 3 in "
            "mp100_split2_test.json: bring names and coordinates into one order"
        ],
    ),
    "41-renamed-annotation-files": (
        3,
        [
            "4 json files of other names, not read: mp100_cross_gadget_body_train.json, mp100_split1_test (1).json, "
            "mp100_split1_train_updated.json and 1 more"
        ],
    ),
    "42-keypoint-names-twice": (3, []),
    "43-one-annotation-per-keypoint": (None, ["no annotation has 'keypoints'; each object needs one annotation"]),
    "44-bom": (3, []),
    "45-bracketed-names": (6, []),
    "46-odd-file-names": (4, []),
}


def there() -> Path:
    if not CASES.is_dir():
        pytest.skip("no ../shared/cases beside this checkout")
    return CASES


def said(verb: str, *arguments: object) -> tuple[str, list[str]]:
    """What a command prints, and of that the lines about the data: warnings, or the one error."""
    result = CliRunner().invoke(app, ["data", verb, *map(str, arguments)])
    if isinstance(result.exception, UserError):
        return f"error: {result.exception}", [str(result.exception)]
    assert result.exit_code == 0, result.output
    own = [line.removeprefix("warning: ") for line in result.output.splitlines() if line[:1] not in "┏┃┡│└ "]
    return result.output, own


@pytest.mark.parametrize("name", RIGHT)
def test_what_check_and_pack_say_of_a_case_is_right(name: str, tmp_path: Path) -> None:
    kept, wanted = RIGHT[name]
    folders = ("--annotations", there() / name / "annotations", "--images", there() / name / "images")
    shown, checked = said("check", *folders)
    printed, packed = said("pack", *folders, "--out", tmp_path / "out")
    print(f"\n## {name}")
    for verb, lines in (("check", checked), ("pack", packed)):
        print(*(f"{verb:5} {line.replace(f'{CASES}/', '').replace(f'{tmp_path}/', '')}" for line in lines), sep="\n")
    for line in wanted:
        assert any(line in own for own in checked)
        assert any(line in own for own in packed)
    if kept is None:
        assert printed.startswith("error: ")
        assert shown.startswith("error: ") or "a pack is refused" in shown or "images: 0 found" in shown
        return
    assert packed[1:] == wanted
    assert checked[-len(wanted) or len(checked) :] == wanted
    assert len(open_pack(tmp_path / "out").instances) == kept


def test_every_case_has_its_right_outcome() -> None:
    assert {folder.name for folder in there().iterdir() if folder.is_dir()} == set(RIGHT)


@pytest.mark.parametrize(
    ("name", "quirk"),
    [
        ("12-nan", "unlabelled keypoint without coordinates"),
        ("27-skeleton-odd", "3 edges dropped: not between the numbers of two keypoints"),
        ("30-all-unlabelled", "no visible keypoint"),
        ("35-negative-unlabelled", "invisible keypoint with coordinates"),
        ("42-keypoint-names-twice", "keypoint name occurs twice"),
    ],
)
def test_what_is_harmless_is_counted_in_the_table_only(name: str, quirk: str) -> None:
    assert quirk in check(there() / name / "annotations").categories[0].quirks
