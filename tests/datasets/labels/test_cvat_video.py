"""Files as CVAT's dumper writes them for tracks: docs.cvat.ai, "XML annotation format"."""

from dataclasses import replace

import cv2
import pytest

from capetune.datasets.labels.convert import convert
from capetune.datasets.labels.cvat_video import BETWEEN
from capetune.errors import UserError

from .test_cvat import label


def shapes(one, names, frame, keyframe=1, gone=False):
    """The skeleton of a frame and its box."""
    points = "".join(
        f'<points label="{name}" outside="{int(gone or v == 0)}" occluded="{int(v == 1)}" keyframe="{keyframe}" '
        f'points="{x if v else 5:.2f},{y if v else 5:.2f}"></points>'
        for name, (x, y, v) in zip(names, one.points, strict=True)
    )
    left, top, width, height = one.box
    box = (
        f'<box frame="{frame}" outside="{int(gone)}" occluded="0" keyframe="{keyframe}" xtl="{left:.2f}" '
        f'ytl="{top:.2f}" xbr="{left + width:.2f}" ybr="{top + height:.2f}" z_order="0"></box>'
    )
    return f'<skeleton frame="{frame}" keyframe="{keyframe}" z_order="0">{points}</skeleton>', box


@pytest.fixture
def export(truth, pictures):
    """export(of): a video's annotations.xml, in which the n-th picture is frame of(n). After the last keyframe each
    object goes on for a frame, drawn by CVAT, and then is gone."""

    def write(of=lambda n: n, change=lambda text: text):
        tracks = []
        for group, (category, names) in enumerate(truth.names.items(), start=1):
            mine = [one for one in truth.objects if one.category == category]
            made = [shapes(one, names, of(n)) for n, one in enumerate(mine)]
            made += [shapes(mine[-1], names, of(6), 0), shapes(mine[-1], names, of(7), gone=True)]
            skeletons, boxes = zip(*made, strict=True)
            for id, kind, rows in ((2 * group, category, skeletons), (2 * group + 1, "area", boxes)):
                head = f'<track id="{id}" label="{kind}" source="manual" group_id="{group}">'
                tracks.append(f"{head}{''.join(rows)}</track>")
        labels = "".join(label(category, truth.names[category], truth.edges[category]) for category in truth.names)
        size = f"<original_size><width>{truth.width}</width><height>{truth.height}</height></original_size>"
        text = (
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>\n<meta><task><id>4</id>'
            f"<mode>interpolation</mode><labels>{labels}</labels>{size}</task><source>day.avi</source></meta>\n"
            f"{''.join(tracks)}</annotations>\n"
        )
        (pictures / "annotations.xml").write_text(change(text), encoding="utf-8")
        return pictures / "annotations.xml"

    return write


def test_keyframes_are_kept_whole_with_pictures_named_by_frame(export, kept):
    made = kept(export())
    assert (made.format, made.absent, made.shared) == ("cvat", (), ())
    assert made.lost == {BETWEEN: ("frame 6", "frame 6")}


def test_frames_are_cut_from_the_video(export, kept, pictures, truth, tmp_path):
    films = tmp_path / "films"
    films.mkdir()
    film = cv2.VideoWriter(str(films / "day.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (truth.width, truth.height))
    wanted = []
    for n in range(12):
        film.write(cv2.imread(str(pictures / f"day one/{n // 2}.png")))
        if n % 2 == 0:
            mine = [one for one in truth.objects if one.picture == f"day one/{n // 2}.png"]
            wanted += [replace(one, picture=f"{n:06}.png") for one in mine]
    film.release()
    made = kept(export(of=lambda n: 2 * n), images=films, wanted=wanted)
    assert made.absent == ()
    for n in range(6):
        cut = cv2.imread(str(made.images / f"day.avi/{2 * n:06}.png"))
        assert abs(cut.astype(int) - cv2.imread(str(pictures / f"day one/{n}.png"))).mean() < 12


def test_a_frame_without_a_picture_is_named(export, pictures, tmp_path):
    file = export()
    (pictures / "day one/3.png").unlink()
    assert convert(file, tmp_path / "out").absent == ("000003.png",)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("original_size", "size", "has tracks of 0 videos with a size; export each task by itself"),
        ('frame="0"', 'frame="first"', "frame is 'first', no number"),
        ('frame="0"', 'frame="nan"', "frame is 'nan', no number"),
        ("<width>96", "<width>wide", "width is 'wide', no number"),
        ('points="10.25,19.50"', 'points="10.25"', "keypoint 'head' has points='10.25', not one x,y"),
    ],
)
def test_a_broken_file_is_one_line_with_its_place_and_nothing_is_written(export, tmp_path, old, new, words):
    with pytest.raises(UserError) as caught:
        convert(export(change=lambda text: text.replace(old, new)), tmp_path / "out", "cvat")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("out*"))


def test_without_video_and_frames_the_cure_is_a_command(export, pictures, tmp_path):
    file = export()
    (tmp_path / "empty").mkdir()
    cure = r"neither its video 'day.avi' nor its frames .*; cut it with `ffmpeg -i day.avi -start_number 0 frames/%06d"
    with pytest.raises(UserError, match=cure):
        convert(file, tmp_path / "out", images=tmp_path / "empty")
    (pictures / "day.avi").write_bytes(b"no video")
    with pytest.raises(UserError, match=r"day\.avi can't be read as a video; cut it with `ffmpeg"):
        convert(file, tmp_path / "out")


def test_two_pictures_of_one_number_are_not_guessed_between(export, pictures, tmp_path):
    file = export()
    (pictures / "other").mkdir()
    (pictures / "other/frame_0003.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"day one/3\.png and other/frame_0003\.png may both be frame 3"):
        convert(file, tmp_path / "out")
