"""Tasks as Label Studio's export "JSON" has them, and its labelling interface beside."""

import json

import pytest

from capetune.datasets.labels.convert import convert
from capetune.errors import UserError

INTERFACE = """
<View>
  <Image name="image" value="$image"/>
  <KeyPointLabels name="fly-parts" toName="image">{}</KeyPointLabels>
  <KeyPointLabels name="beetle-parts" toName="image">{}</KeyPointLabels>
  <RectangleLabels name="box" toName="image"><Label value="fly"/><Label value="beetle"/></RectangleLabels>
  <Choices name="seen" toName="image" perRegion="true"><Choice value="Occluded"/></Choices>
</View>
"""


def region(truth, kind, id, value, control, parent=None):
    made = {
        "original_width": truth.width,
        "original_height": truth.height,
        "image_rotation": 0,
        "value": value,
        "id": id,
        "from_name": control,
        "to_name": "image",
        "type": kind,
        "origin": "manual",
    }
    return {**made, "parentID": parent} if parent else made


def regions(truth, one, id):
    """Its keypoints before its box, from the last to the first, each in percent."""
    across, down = 100 / truth.width, 100 / truth.height
    left, top, width, height = one.box
    made = []
    for k, (name, (x, y, v)) in enumerate(zip(truth.names[one.category], one.points, strict=True)):
        value = {"x": x * across, "y": y * down, "width": 0.4, "keypointlabels": [name]}
        if v:
            made.insert(0, region(truth, "keypointlabels", f"{id}-{k}", value, f"{one.category}-parts", id))
        if v == 1:
            value = {"x": x * across, "y": y * down, "width": 0.4, "choices": ["Occluded"]}
            made.append(region(truth, "choices", f"{id}-{k}", value, "seen"))
    box = {"x": left * across, "y": top * down, "width": width * across, "height": height * down, "rotation": 0}
    return [*made, region(truth, "rectanglelabels", id, {**box, "rectanglelabels": [one.category]}, "box")]


@pytest.fixture
def tasks(truth):
    """One a picture, as an upload, in Label Studio's local storage or in a bucket."""
    made = {}
    for n, one in enumerate(truth.objects):
        file = one.picture.split("/")[1]
        path = [f"/data/upload/3/1a2b3c4d-{file}", "/data/local-files/?d=labels/day%20one/" + file, f"s3://b/{file}"]
        task = made.setdefault(one.picture, {"id": n, "data": {"image": path[n % 3], "note": "a"}, "predictions": []})
        annotation = {"id": n, "was_cancelled": False, "ground_truth": False, "result": []}
        task.setdefault("annotations", [annotation])[0]["result"] += regions(truth, one, f"r{n}")
    return list(made.values())


@pytest.fixture
def export(truth, tasks, tmp_path):
    def write(interface=True):
        folder = tmp_path / "project"
        folder.mkdir(exist_ok=True)
        (folder / "project-1-at-2026-11-30.json").write_text(json.dumps(tasks))
        if interface:
            labels = [
                "".join(f'<Label value="{name}" model_index="{k}"/>' for k, name in reversed(list(enumerate(names))))
                for names in truth.names.values()
            ]
            (folder / "interface.xml").write_text(INTERFACE.format(*labels))
        return folder / "project-1-at-2026-11-30.json"

    return write


def test_a_project_is_kept_whole_but_for_edges_which_it_hasn_t(export, kept, pictures):
    made = kept(export(), pictures, edges=False)
    assert (made.format, made.guessed, made.lost, made.absent, made.notes) == ("labelstudio", True, {}, (), ())


def test_without_its_interface_keypoints_are_as_they_appear_and_it_is_said(export, kept, truth, pictures, tmp_path):
    made = convert(export(interface=False), tmp_path / "out", images=pictures)
    assert {name: set(s.names) for name, s in made.skeletons.items()} == {n: set(k) for n, k in truth.names.items()}
    assert made.notes == (
        "no labelling interface (an XML file) beside the export: keypoints are in the order of the first object that "
        "has most of them",
    )


def test_without_pictures_names_are_those_of_label_studio_s_own_coco_export(export, tmp_path):
    assert "1a2b3c4d-0.png" in convert(export(), tmp_path / "out").absent


def test_keypoints_under_no_box_are_the_one_object_of_the_picture(tasks, export, pictures, tmp_path):
    for task in tasks:
        result = task["annotations"][0]["result"]
        result[:] = [r for r in result if r["type"] != "rectanglelabels" and r["from_name"] != "beetle-parts"]
    made = convert(export(), tmp_path / "out", images=pictures)
    assert (dict(made.objects), made.skeletons["object"].names) == (
        {"object": 6},
        ("head", "left wing", "right wing", "tail"),
    )


def test_what_can_t_be_kept_is_counted_and_named(tasks, export, pictures, tmp_path):
    first, second, third, fourth = (task["annotations"][0]["result"] for task in tasks[:4])
    next(r for r in first if r["type"] == "keypointlabels").pop("parentID")
    first.append({"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"})
    next(r for r in second if r["type"] == "rectanglelabels")["value"]["rotation"] = 12.5
    for one in third:
        one["image_rotation"] = 90
    tasks[3]["annotations"].append({"result": fourth, "was_cancelled": False, "ground_truth": True})
    tasks[4]["annotations"][0]["was_cancelled"] = True
    made = convert(export(), tmp_path / "out", images=pictures)
    assert {what: len(places) for what, places in made.lost.items()} == {
        "keypoint under none of several boxes": 1,
        "relation: not a keypoint or box": 1,
        "box that is turned": 1,
        "picture turned in Label Studio, with its labels": 1,
        "second annotation of a task": 1,
    }
    assert sum(made.objects.values()) == 8


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda tasks: tasks[1].pop("data"), ", [1].data: Field required"),
        (lambda tasks: tasks[1].pop("annotations"), ", [1].annotations: Field required"),
        (lambda tasks: tasks[2]["data"].clear(), ", [2].data has 0 paths of pictures, not one"),
        (lambda tasks: tasks[0]["annotations"][0]["result"][0]["value"].pop("x"), "region r0-3, x: Field required"),
        (lambda tasks: tasks[0]["annotations"][0]["result"][0].update(original_width="w"), "result[0].original_width"),
    ],
)
def test_a_broken_file_is_one_line_with_its_place(tasks, export, tmp_path, spoil, words):
    spoil(tasks)
    with pytest.raises(UserError) as caught:
        convert(export(), tmp_path / "out", "labelstudio")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
