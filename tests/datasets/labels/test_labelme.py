"""Files as labelme 5 and X-AnyLabeling save them."""

import json

import pytest

from capetune.datasets.labels.convert import convert
from capetune.errors import UserError


def shape(label, points, kind, group, **more):
    made = {"label": label, "points": points, "group_id": group, "description": "", "shape_type": kind, "flags": {}}
    return {**made, **more}


@pytest.fixture
def pages(truth):
    """By picture; hidden as a flag of labelme's or as X-AnyLabeling's "difficult"."""
    made = {}
    for group, one in enumerate(truth.objects):
        left, top, width, height = one.box
        page = made.setdefault(
            one.picture,
            {
                "version": "5.5.0",
                "flags": {},
                "shapes": [],
                "imagePath": one.picture.split("/")[1],
                "imageData": None,
                "imageHeight": truth.height,
                "imageWidth": truth.width,
            },
        )
        for n, (name, (x, y, v)) in enumerate(zip(truth.names[one.category], one.points, strict=True)):
            unseen = {"difficult": True} if n % 2 else {"flags": {"Occluded": True, "blurred": False}}
            if v:
                page["shapes"].append(shape(name, [[x, y]], "point", group, **(unseen if v == 1 else {})))
        corners = [[left + width, top], [left, top + height]]
        four = [[left, top], [left + width, top], [left + width, top + height], [left, top + height]]
        page["shapes"].append(shape(one.category, four if group % 2 else corners, "rectangle", group))
    return made


@pytest.fixture
def save(pages, pictures):
    """Each beside its picture."""

    def write(**more):
        for picture, page in pages.items():
            (pictures / picture).with_suffix(".json").write_text(json.dumps({**page, **more}))
        return pictures

    return write


def test_a_folder_is_kept_whole_but_for_edges_which_it_hasn_t(save, kept):
    made = kept(save(), edges=False)
    assert (made.format, made.guessed, made.lost, made.absent) == ("labelme", True, {}, ())
    assert made.notes == ("labelme has no order of keypoints: they are as the first object with most of them has them",)


def test_without_groups_a_picture_s_points_are_its_one_object(pages, save, tmp_path):
    for page in pages.values():
        page["shapes"] = [s for s in page["shapes"] if s["shape_type"] == "point" and s["group_id"] < 6]
        for one in page["shapes"]:
            one["group_id"] = None
    made = convert(save(), tmp_path / "out")
    assert dict(made.objects) == {"object": 6}
    assert set(made.skeletons["object"].names) == {"head", "left wing", "right wing", "tail"}
    first = "day one/0.png, day one/1.png, day one/2.png and 3 more"
    assert f"no rectangle with a label: 6 objects called 'object': {first}" in made.notes


def test_pictures_elsewhere_are_found_and_sizes_read_where_the_file_has_none(save, pictures, tmp_path):
    save(imageHeight=None, imageWidth=None, imagePath="..\\old\\4.png")
    for file in pictures.rglob("*.json"):
        (tmp_path / "labels").mkdir(exist_ok=True)
        if file.stem == "4":
            file.rename(tmp_path / "labels/4.json")
    made = convert(tmp_path / "labels", tmp_path / "out", images=pictures)
    tree = json.loads(made.file.read_text())
    assert tree["images"] == [{"id": 1, "file_name": "day one/4.png", "width": 96, "height": 64}]


def test_what_can_t_be_kept_is_counted_and_named(pages, save, tmp_path):
    first, second, third, *_ = (page["shapes"] for page in pages.values())
    first.append(shape("leaf", [[1, 2], [3, 4], [5, 5]], "polygon", None))
    for one in second:
        one["group_id"] = 1
    third.append(shape("sock", [[1, 2]], "point", third[0]["group_id"]))
    third.append(shape("head", [[1, 2]], "point", third[0]["group_id"]))
    third.append(shape("branch", [[1, 2], [9, 9]], "rectangle", 77))
    (save() / "package.json").write_text("{}")
    made = convert(tmp_path / "pictures", tmp_path / "out", "labelme")
    assert made.lost == {
        "json file that isn't of labelme": ("package.json",),
        "polygon: not a point or rectangle": ("day one/0.png",),
        "points with several rectangles in one group": ("day one/1.png",),
        "keypoint that its object has already": ("head at day one/2.png",),
        "object without a labelled keypoint": ("day one/2.png",),
    }
    assert "sock" in made.skeletons["fly"].names


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"points": [[1, 2], [3, 4]]}, "3.json: point 'left wing' has 2 points, not one; save it again"),
        ({"points": [[1]]}, "3.json, shapes[1].points[0]"),
        ({"label": None}, "3.json, shapes[1].label: Input should be a valid string"),
        ({"shape_type": "rectangle", "points": [[1, 2]]}, "3.json: rectangle 'left wing' has 1 points, not 2 or 4"),
    ],
)
def test_a_broken_file_is_one_line_with_its_place(pages, save, tmp_path, change, words):
    page = pages["day one/3.png"]
    page["shapes"] = [one for one in page["shapes"] if one["shape_type"] == "point"]
    page["shapes"][1].update(label="left wing")
    page["shapes"][1].update(change)
    with pytest.raises(UserError) as caught:
        convert(save(), tmp_path / "out")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_picture_without_a_size_that_isn_t_there_is_refused(save, pictures, tmp_path):
    save(imageWidth=None)
    (pictures / "day one/2.png").unlink()
    with pytest.raises(UserError, match=r"2.json has no imageWidth and imageHeight, and day one/2.png isn't below"):
        convert(pictures, tmp_path / "out")
