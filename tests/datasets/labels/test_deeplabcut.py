"""Projects as DeepLabCut writes them: pandas' to_csv of columns of three or four levels, and config.yaml."""

import shutil

import pytest

from capetune.datasets.labels.convert import convert
from capetune.errors import UserError

CONFIG = """
Task: fly
scorer: Ann
date: Nov30
multianimalproject: {several}
identity:

project_path: C:\\labels\\fly-Ann
video_sets:
  C:\\labels\\videos\\day one.avi:
    crop: 0, 96, 0, 64
bodyparts: {bodyparts}
multianimalbodyparts: {several_bodyparts}
uniquebodyparts: {unique}
start: 0
stop: 1
skeleton:
- - head
  - left wing
- - right wing
  - head
- - head
  - tail
skeleton_color: black
"""


@pytest.fixture
def flies(truth):
    return [one for one in truth.objects if one.category == "fly"]


@pytest.fixture
def project(truth, pictures, tmp_path):
    """A project of one animal, its columns in another order than config.yaml's."""
    root = tmp_path / "fly-Ann-2026-11-30"
    shutil.copytree(pictures / "day one", root / "labeled-data/day one")
    names = truth.names["fly"]
    (root / "config.yaml").write_text(
        CONFIG.format(several="false", bodyparts=str(names), several_bodyparts="[]", unique="[]")
    )
    return root


@pytest.fixture
def write(flies, truth, project):
    names = truth.names["fly"]

    def make(split_path=True, change=lambda text: text):
        between = "," if split_path else "/"
        skipped = ",," if split_path else ""
        order = list(reversed(range(len(names))))
        rows = [
            f"scorer{skipped}" + ",Ann" * 2 * len(names),
            f"bodyparts{skipped}," + ",".join(names[k] for k in order for _ in "xy"),
            f"coords{skipped}" + ",x,y" * len(names),
        ]
        for one in flies:
            values = [f"{one.points[k][axis]}" if one.points[k][2] else "" for k in order for axis in (0, 1)]
            rows.append(between.join(["labeled-data", *one.picture.split("/")]) + "," + ",".join(values))
        path = project / "labeled-data/day one/CollectedData_Ann.csv"
        path.write_text(change("\n".join(rows) + "\n"))
        return path

    return make


@pytest.mark.parametrize("split_path", [True, False])
def test_a_project_is_kept_whole_but_for_what_is_hidden_and_boxes_which_it_hasn_t(
    write, project, kept, flies, truth, split_path
):
    write(split_path)
    names = {"fly": truth.names["fly"]}
    made = kept(project, wanted=flies, names=names, hidden=False, boxes=False)
    assert (made.format, made.guessed, made.lost, made.absent, made.notes) == ("dlc", True, {}, (), ())


def test_one_csv_has_its_project_s_names_and_skeleton(write, project, kept, flies, truth):
    names = {"fly": truth.names["fly"]}
    assert kept(write(), project, wanted=flies, names=names, hidden=False, boxes=False).lost == {}


def test_a_csv_alone_says_what_it_lacks(write, project, tmp_path):
    write()
    (project / "config.yaml").unlink()
    made = convert(project, tmp_path / "out")
    assert made.notes == ("no config.yaml, so no skeleton; the category is called 'object'",)
    assert made.skeletons["object"].names == ("tail", "right wing", "left wing", "head")


def test_several_animals_are_objects_of_one_category_and_unique_parts_are_another(project, tmp_path):
    config = CONFIG.format(
        several="true", bodyparts="MULTI!", several_bodyparts="[head, tail, left wing]", unique="[corner]"
    )
    (project / "config.yaml").write_text(config)
    (project / "labeled-data/day one/CollectedData_Ann.csv").write_text(
        "scorer,,,Ann,Ann,Ann,Ann,Ann,Ann,Ann,Ann\n"
        "individuals,,,a,a,a,a,b,b,single,single\n"
        "bodyparts,,,head,head,tail,tail,head,head,corner,corner\n"
        "coords,,,x,y,x,y,x,y,x,y\n"
        "labeled-data,day one,0.png,1.5,2.5,3,4,,,7,8\n"
        "labeled-data,day one,1.png,,,,,5,6,,\n"
        "labeled-data,day one,2.png,1,,3,4,5,6,,\n"
        "labeled-data,day one,9.png,1,2,3,4,5,6,,\n"
    )
    made = convert(project, tmp_path / "out")
    assert dict(made.objects) == {"fly": 4, "fly single": 1}
    assert made.skeletons["fly"].names == ("head", "tail", "left wing")
    assert made.skeletons["fly"].edges == ((0, 1), (0, 2))
    assert made.lost == {
        "edge that isn't between two bodyparts": ("right wing and head",),
        "keypoint without coordinates": ("head at labeled-data/day one/2.png, a",),
        "picture that isn't there or can't be read, with its labels": ("labeled-data/day one/9.png",),
    }


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("coords", "cords", "has no rows scorer, bodyparts, coords at its top; give a CollectedData csv"),
        (",x,y", ",x,y,likelihood", "holds what a model predicted, with likelihoods; give a CollectedData csv"),
        ("coords,,,x,y", "coords,,,x", "its header rows aren't equally long"),
        ("10.25", "ten", "line 4: x of 'head' is 'ten', no number"),
        ("10.25", "10.25,1", "line 4: 12 columns, not 11"),
    ],
)
def test_a_broken_file_is_one_line_with_its_place(write, tmp_path, old, new, words):
    file = write(change=lambda text: text.replace(old, new, 1 if old == "10.25" else -1))
    with pytest.raises(UserError) as caught:
        convert(file, tmp_path / "out", "dlc", file.parents[2])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_of_two_people_and_h5_files_are_refused_with_what_to_give(write, project, tmp_path):
    file = write()
    shutil.copy(file, file.with_name("CollectedData_Bob.csv"))
    with pytest.raises(UserError, match="holds the labels of several scorers; give one csv at a time"):
        convert(project, tmp_path / "out")
    file.with_suffix(".h5").write_bytes(b"\x89HDF")
    with pytest.raises(UserError, match=r"give CollectedData_Ann\.csv beside it, which has the same labels"):
        convert(file.with_suffix(".h5"), tmp_path / "out", "dlc")
