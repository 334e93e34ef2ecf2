import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capetune.datasets.labels.convert import convert
from capetune.errors import UserError

SPOT = {"x": 10, "y": 20, "width": 0.4, "keypointlabels": ["head"]}
AREA = {"x": 5, "y": 5, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["fly"]}
SIZED = {"original_width": 96, "original_height": 64, "image_rotation": 0, "from_name": "parts"}
REGIONS = [
    {**SIZED, "id": "k", "parentID": "b", "type": "keypointlabels", "value": SPOT},
    {**SIZED, "id": "k", "type": "choices", "value": {"choices": ["occluded"]}},
    {**SIZED, "id": "b", "type": "rectanglelabels", "value": AREA},
]
SHAPES = [
    {"label": "head", "points": [[10, 20]], "shape_type": "point", "group_id": 1, "flags": {"hidden": True}},
    {"label": "fly", "points": [[5, 5], [50, 50]], "shape_type": "rectangle", "group_id": 1, "flags": {}},
]
SOUND = {
    "coco": {
        "images": [{"id": 1, "file_name": "a.png", "width": 96, "height": 64}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [1, 2, 2, 3, 4, 1], "bbox": [1, 2, 9, 9]}
        ],
        "categories": [{"id": 1, "name": "fly", "keypoints": ["head", "tail"], "skeleton": [[1, 2]]}],
    },
    "labelstudio": [{"data": {"image": "a.png"}, "annotations": [{"result": REGIONS, "was_cancelled": False}]}],
    "labelme": {"shapes": SHAPES, "imagePath": "a.png", "imageHeight": 64, "imageWidth": 96},
}
EMPTY = st.sampled_from([None, [], {}, [None], True])
ODD = st.one_of(EMPTY, st.integers(-3, 200), st.floats(), st.text(max_size=9))


def spots(tree, above=()):
    """The path to each value, and to the tree itself."""
    yield above
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in pairs:
        yield from spots(value, (*above, key))


def spoilt(tree, path, value):
    if not path:
        return value
    made = dict(tree) if isinstance(tree, dict) else list(tree)
    made[path[0]] = spoilt(tree[path[0]], path[1:], value)
    return made


def refused_or_whole(source, out, format):
    """Whatever the file holds, it is refused in a line, or what is written can be read."""
    try:
        made = convert(source, out, format)
    except UserError:
        assert not out.exists()
        return False
    json.loads(made.file.read_text())
    made.file.unlink()
    out.rmdir()
    return True


@pytest.mark.parametrize("format", SOUND)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_in_any_place_of_a_sound_file_is_no_crash(tmp_path, format, data):
    path = data.draw(st.sampled_from(list(spots(SOUND[format]))))
    (tmp_path / "labels.json").write_text(json.dumps(spoilt(SOUND[format], path, data.draw(ODD))))
    refused_or_whole(tmp_path / "labels.json", tmp_path / "out", format)


@pytest.mark.parametrize("format", SOUND)
def test_sound_files_are_taken(tmp_path, format):
    (tmp_path / "labels.json").write_text(json.dumps(SOUND[format]))
    assert refused_or_whole(tmp_path / "labels.json", tmp_path / "out", None)


@pytest.mark.parametrize(
    ("name", "format", "start"),
    [
        ("a.xml", "cvat", '<annotations><image name="a" width="9" height="9">'),
        ("a.csv", "dlc", "scorer,a,a\nbodyparts,b,b\ncoords,x,y\n"),
        ("a.yaml", "yolo", "kpt_shape: [2, 3]\nnames: [a]\n"),
        ("a.slp", "sleap", "\x89HDF"),
    ],
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rest=st.text(max_size=80), begun=st.booleans())
def test_text_of_any_kind_is_no_crash(tmp_path, name, format, start, rest, begun):
    (tmp_path / name).write_text(start * begun + rest, encoding="utf-8", errors="surrogateescape")
    refused_or_whole(tmp_path / name, tmp_path / "out", format)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.xml": "<annotations/>", "b.csv": "scorer,a\n"}, "may be cvat or dlc: say which with --format"),
        ({"a.txt": "1 2 3"}, "is of no format that is known by its looks: say which with --format"),
        ({"a.json": "{"}, "a.json is not JSON"),
    ],
)
def test_what_can_t_be_told_by_its_looks_is_asked_for(tmp_path, files, words):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as caught:
        convert(tmp_path, tmp_path / "out")
    assert words in str(caught.value)
