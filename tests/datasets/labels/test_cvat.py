"""Files as CVAT's dumper writes them: docs.cvat.ai, "XML annotation format"."""

from xml.sax.saxutils import escape, quoteattr

import pytest

from capetune.datasets.labels.convert import convert
from capetune.errors import UserError


def label(category, names, edges):
    """A skeleton's label and those of its parts. In the drawing edges stand before nodes, in any order."""
    lines = "".join(
        f'<line x1="1.5" y1="2" x2="3" y2="4" stroke="black" data-type="edge" data-node-from="{j + 1}" '
        f'stroke-width="0.5" data-node-to="{i + 1}"></line>'
        for i, j in edges
    )
    nodes = [
        f'<circle r="1.5" stroke="black" fill="#b3b3b3" cx="25.1" cy="22.6" stroke-width="0.1" '
        f'data-type="element node" data-element-id="{n}" data-node-id="{n}" data-label-name={quoteattr(name)}></circle>'
        for n, name in enumerate(names, start=1)
    ]
    svg = escape(lines + "".join(reversed(nodes)))
    parts = "".join(
        f"<label><name>{escape(name)}</name><color>#33ddff</color><type>points</type><attributes></attributes>"
        f"<parent>{category}</parent></label>"
        for name in reversed(names)
    )
    return (
        f"<label><name>{category}</name><color>#fa3253</color><type>skeleton</type><attributes></attributes>"
        f"<svg>{svg}</svg></label>{parts}"
    )


def skeleton(one, names, group):
    points = [
        f'<points label={quoteattr(name)} source="manual" outside="{int(v == 0)}" occluded="{int(v == 1)}" '
        f'points="{x if v else 5:.2f},{y if v else 5:.2f}"></points>'
        for name, (x, y, v) in zip(names, one.points, strict=True)
    ]
    left, top, width, height = one.box
    return (
        f'<box label="area" source="manual" occluded="0" xtl="{left:.2f}" ytl="{top:.2f}" xbr="{left + width:.2f}" '
        f'ybr="{top + height:.2f}" z_order="0" group_id="{group}"></box>'
        f'<skeleton label="{one.category}" source="manual" z_order="0" group_id="{group}">'
        + "".join(reversed(points))
        + "</skeleton>"
    )


@pytest.fixture
def export(truth, pictures):
    """A task's annotations.xml beside its pictures, with whatever else stands in an image."""

    def write(name="annotations.xml", more="", meta="task", change=lambda text: text):
        images = {}
        for group, one in enumerate(truth.objects, start=1):
            images.setdefault(one.picture, []).append(skeleton(one, truth.names[one.category], group))
        labels = "".join(label(category, truth.names[category], truth.edges[category]) for category in truth.names)
        rows = "".join(
            f'<image id="{n}" name="{picture}" width="{truth.width}" height="{truth.height}">'
            f"{''.join(rows)}{more}</image>"
            for n, (picture, rows) in enumerate(images.items())
        )
        text = (
            f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>\n<meta><{meta}><id>4</id>'
            f"<labels>{labels}</labels></{meta}></meta>\n{rows}</annotations>\n"
        )
        (pictures / name).write_text(change(text), encoding="utf-8")
        return pictures / name

    return write


def test_a_task_is_kept_whole(export, kept):
    made = kept(export())
    assert (made.format, made.guessed, made.lost, made.absent, made.notes) == ("cvat", True, {}, (), ())
    assert made.shared == ()


def test_a_project_s_labels_are_read_too_and_pictures_are_found_below_its_images(export, kept, pictures):
    """A project's export has images/SUBSET/NAME."""
    (pictures / "images/Train").mkdir(parents=True)
    (pictures / "day one").rename(pictures / "images/Train/day one")
    assert kept(export(meta="project").parent, format="cvat").absent == ()


def test_what_is_no_skeleton_is_counted_and_named(export, kept):
    more = (
        '<polygon label="leaf" points="1.00,2.00;3.00,4.00;5.00,1.00" occluded="0"></polygon><tag label="good"></tag>'
    )
    made = kept(export(more=more))
    named = tuple(f"day one/{n}.png" for n in range(6))
    assert made.lost == {"polygon that belongs to no skeleton": named, "tag that belongs to no skeleton": named}


def test_two_tasks_of_a_project_that_each_have_a_picture_of_that_name_are_doubtful(export, tmp_path):
    file = export(meta="project", change=lambda text: text.replace("day one/1.png", "day one/0.png"))
    assert convert(file, tmp_path / "out").shared == ("day one/0.png",)


def test_pictures_that_are_not_there_are_named(export, pictures, tmp_path):
    file = export()
    (pictures / "day one/3.png").unlink()
    assert convert(file, tmp_path / "out").absent == ("day one/3.png",)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("</annotations>", "", "annotations.xml is not XML (no element found: line"),
        ("annotations>", "tasks>", "holds <tasks>); export as CVAT for images"),
        ("<image ", '<track id="0" label="fly"></track><image ', "has tracks of 0 videos with a size; export"),
        ('width="96"', 'width="wide"', "image 'day one/0.png': width is 'wide', no number"),
        ('points="10.25,19.50"', 'points="10.25"', "keypoint 'head' has points='10.25', not one x,y"),
        ('data-node-to="1"', 'data-node-to="7"', "label 'fly': an edge ends at node 7, which isn't"),
        ("data-label-name=\"tail\"", "data-label-name=\"tails\"", "its drawing and its parts name other keypoints"),
        ('height="64"', 'height="0"', "picture day one/0.png is 96×0 pixels"),
    ],
)  # fmt: skip
def test_a_broken_file_is_one_line_with_its_place_and_nothing_is_written(export, tmp_path, old, new, words):
    from xml.sax.saxutils import escape as escaped

    file = export(change=lambda text: text.replace(old, new).replace(escaped(old), escaped(new)))
    with pytest.raises(UserError) as caught:
        convert(file, tmp_path / "out", "cvat")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("out*"))


def test_a_file_without_objects_says_what_it_holds(export, tmp_path):
    file = export(change=lambda text: text.replace("<skeleton", "<other").replace("</skeleton", "</other"))
    with pytest.raises(UserError, match=r"holds no object with keypoints \(box that belongs to no skeleton ×12"):
        convert(file, tmp_path / "out")
