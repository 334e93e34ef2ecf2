"""Projects as SLEAP writes them: what sleap-io 0.9.5 saved of the same labels was dumped, and is built here by h5py."""

import json
from dataclasses import replace

import cv2
import h5py
import numpy as np
import pytest

from capetune.datasets.labels.convert import convert
from capetune.errors import UserError

FRAMES = [("frame_id", "<u8"), ("video", "<u4"), ("frame_idx", "<u8")]
FRAMES += [("instance_id_start", "<u8"), ("instance_id_end", "<u8")]
INSTANCES = [("instance_id", "<i8"), ("instance_type", "u1"), ("frame_id", "<u8"), ("skeleton", "<u4")]
INSTANCES += [("track", "<i4"), ("from_predicted", "<i8"), ("score", "<f4")]
INSTANCES += [("point_id_start", "<u8"), ("point_id_end", "<u8"), ("tracking_score", "<f4")]
POINTS = [("x", "<f8"), ("y", "<f8"), ("visible", "?"), ("complete", "?")]


def pickled(kind):
    return {"py/reduce": [{"py/type": "sleap.skeleton.EdgeType"}, {"py/tuple": [kind]}]}


def metadata(truth):
    """Nodes of all skeletons together; a symmetry stands before the edges, so that py/id 2 is an edge."""
    nodes = [name for names in truth.names.values() for name in names]
    skeletons = []
    for category, names in truth.names.items():
        ids = [nodes.index(name) for name in names]
        links = [{"key": 0, "source": ids[1], "target": ids[2], "type": pickled(2)}]
        for n, (i, j) in enumerate(truth.edges[category]):
            kind = pickled(1) if n == 0 else {"py/id": 2}
            links.append({"edge_insert_idx": n, "key": 0, "source": ids[i], "target": ids[j], "type": kind})
        graph = {"directed": True, "graph": {"name": category, "num_edges_inserted": len(links) - 1}, "links": links}
        skeletons.append({**graph, "multigraph": True, "nodes": [{"id": id} for id in ids]})
    return {"version": "2.0.0", "skeletons": skeletons, "nodes": [{"name": name, "weight": 1.0} for name in nodes]}


def shown(one):
    """Its points as they are labelled here: a fly's tail that is hidden isn't marked visible, all others are."""
    hidden = [one.category == "fly" and k == 3 for k in range(len(one.points))]
    return [(x, y, 2 if v == 1 and not h else v) for (x, y, v), h in zip(one.points, hidden, strict=True)]


@pytest.fixture
def wanted(truth):
    """SLEAP has no hidden keypoints: one that isn't visible is missing."""
    return [
        replace(
            one, picture=f"{int(one.picture[8]):06}.png", points=[p if p[2] == 2 else (0, 0, 0) for p in shown(one)]
        )
        for one in truth.objects
    ]


@pytest.fixture
def project(truth, pictures, tmp_path):
    """project(backend, …) writes a .slp of one video. index: from a picture's number to the frame's."""

    def write(backend, name="labels.slp", format_id=1.4, shift=0.0, index=lambda n: n, video=0, more=None):
        points, instances, frames = [], [], []
        for n in range(6):
            start = len(instances)
            for one in truth.objects:
                if one.picture != f"day one/{n}.png":
                    continue
                first = len(points)
                for x, y, v in shown(one):
                    points.append((x + shift, y + shift, v == 2, False) if v else (np.nan, np.nan, False, False))
                skeleton = list(truth.names).index(one.category)
                row = (len(instances), 0, n, skeleton, -1, -1, 0, first, len(points), np.nan)
                instances.append(row)
            frames.append((n, video, index(n), start, len(instances)))
        with h5py.File(tmp_path / name, "w") as h5:
            group = h5.create_group("metadata")
            group.attrs["format_id"] = format_id
            group.attrs["json"] = np.bytes_(json.dumps(metadata(truth)))
            h5["videos_json"] = [np.bytes_(json.dumps({"filename": backend.get("filename"), "backend": backend}))]
            for empty in ("tracks_json", "suggestions_json", "sessions_json"):
                h5.create_dataset(empty, (0,), dtype=h5py.string_dtype())
            h5["points"] = np.array(points, dtype=POINTS)
            h5["pred_points"] = np.array([], dtype=[*POINTS, ("score", "<f8")])
            h5["instances"] = np.array(instances, dtype=INSTANCES)
            h5["frames"] = np.array(frames, dtype=FRAMES)
            if more:
                more(h5)
        return tmp_path / name

    return write


@pytest.fixture
def listed():
    """Frames that are pictures, by their paths on the labeller's machine."""
    names = [f"D:\\labels\\day one\\{n}.png" for n in range(6)]
    return {"type": "ImageVideo", "filename": names[0], "filenames": names, "shape": [6, 64, 96, 3]}


def same_pixels(made, pictures, frame=lambda n: n, tolerance=0):
    for n in range(6):
        (path,) = made.images.rglob(f"{frame(n):06}.png")
        difference = cv2.absdiff(cv2.imread(str(path)), cv2.imread(str(pictures / f"day one/{n}.png")))
        assert difference.mean() <= tolerance


def test_frames_that_are_pictures_are_copied_and_their_labels_kept(project, listed, kept, pictures, wanted, tmp_path):
    made = kept(project(listed), pictures, wanted=wanted, boxes=False)
    assert (made.format, made.guessed, made.absent) == ("sleap", True, ())
    assert made.images == tmp_path / "made/images"
    same_pixels(made, pictures)
    assert made.lost == {
        "keypoint not marked visible": tuple(f"tail at labels.slp, video 0, frame {n}" for n in (0, 3, 5))
    }


@pytest.mark.parametrize(("format_id", "order"), [(1.4, "RGB"), (1.3, None)])
def test_a_package_has_its_pictures_in_it(project, kept, pictures, wanted, format_id, order):
    """Before 1.4 SLEAP wrote RGB pixels by cv2, which takes them for BGR. The group's number is the video's."""

    def embed(h5):
        images = [cv2.imread(str(pictures / f"day one/{n}.png")) for n in range(6)]
        encoded = [
            cv2.imencode(".png", image if order else image[..., ::-1])[1].ravel().view(np.int8) for image in images
        ]
        rows = np.zeros((6, max(map(len, encoded))), np.int8)
        for row, data in zip(rows, encoded, strict=True):
            row[: len(data)] = data
        h5["video3/video"] = rows
        h5["video3/video"].attrs.update({"format": "png", **({"channel_order": order} if order else {})})
        h5["video3/frame_numbers"] = [n for n in range(6)]

    backend = {"type": "HDF5Video", "filename": ".", "dataset": "video3/video", "input_format": "channels_last"}
    file = project(backend, "labels.pkg.slp", format_id, video=3, more=embed)
    same_pixels(kept(file, wanted=wanted, boxes=False), pictures)


def test_videos_of_one_name_in_several_projects_stay_apart(project, listed, pictures, tmp_path):
    for name in ("a.slp", "b.slp", "c.slp"):
        project(listed, name)
    made = convert(tmp_path, tmp_path / "out", "sleap", pictures)
    assert sorted(path.name for path in made.images.iterdir()) == ["day one", "day one-1", "day one-2"]
    assert made.pictures == 18


def test_frames_of_a_video_are_taken_out_of_it_exactly(project, truth, pictures, tmp_path):
    """Every second frame is labelled; the others are black."""
    (tmp_path / "films").mkdir()
    film = cv2.VideoWriter(
        str(tmp_path / "films/day.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (truth.width, truth.height)
    )
    for n in range(6):
        film.write(cv2.imread(str(pictures / f"day one/{n}.png")))
        film.write(np.zeros((truth.height, truth.width, 3), np.uint8))
    film.release()
    file = project({"type": "MediaVideo", "filename": "/data/films/day.avi"}, index=lambda n: 2 * n)
    made = convert(file, tmp_path / "out", images=tmp_path / "films")
    assert made.pictures == 6
    same_pixels(made, pictures, lambda n: 2 * n, tolerance=8)
    assert (made.images / "day/000010.png").is_file()


def test_pixels_corners_of_old_files_become_centres(project, listed, kept, pictures, wanted):
    kept(project(listed, format_id=1.0, shift=0.5), pictures, wanted=wanted, boxes=False)


def test_what_is_predicted_and_frames_without_a_picture_are_lost_and_named(project, listed, pictures, tmp_path):
    file = project(listed)
    with h5py.File(file, "r+") as h5:
        h5["instances"][0] = np.array([(0, 1, 0, 0, -1, -1, 0.5, 0, 4, np.nan)], dtype=INSTANCES)[0]
    (pictures / "day one/2.png").unlink()
    (pictures / "day one/3.png").write_bytes(b"no picture")
    made = convert(file, tmp_path / "out", images=pictures)
    assert made.lost == {
        "keypoint not marked visible": ("tail at labels.slp, video 0, frame 5",),
        "predicted instance": ("labels.slp, video 0, frame 0",),
        "frame without a picture, with its labels": ("labels.slp, video 0, frame 2",),
        "frame whose picture can't be read, with its labels": ("labels.slp, video 0, frame 3",),
    }


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda h5: h5.__delitem__("points"), "isn't a project of SLEAP's that is known"),
        (lambda h5: h5["metadata"].attrs.__delitem__("json"), "isn't a project of SLEAP's that is known"),
        (lambda h5: h5["metadata"].attrs.update(json="{}"), "labels.slp, metadata, nodes: Field required"),
        (lambda h5: h5["frames"].__setitem__(0, (0, 7, 0, 0, 2)), "a frame is of video 7, of 1"),
        (lambda h5: h5["instances"].__setitem__(0, (0, 0, 0, 1, -1, -1, 0, 0, 4, 0)), "4 points for 3 keypoints of"),
    ],
)
def test_a_broken_file_is_one_line_with_its_place_and_nothing_is_written(
    project, listed, pictures, tmp_path, spoil, words
):
    file = project(listed)
    with h5py.File(file, "r+") as h5:
        spoil(h5)
    with pytest.raises(UserError) as caught:
        convert(file, tmp_path / "out", images=pictures)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("out*"))


def test_damaged_bytes_are_told(project, listed, pictures, tmp_path):
    """Real files are compressed, so that what is damaged can't be read."""
    file = project(listed)
    with h5py.File(file, "r+") as h5:
        points = h5["points"][:]
        del h5["points"]
        h5.create_dataset("points", data=points, compression="gzip", chunks=True)
        place = h5["points"].id.get_chunk_info(0).byte_offset
    with file.open("r+b") as stream:
        stream.seek(place)
        stream.write(b"damaged bytes")
    with pytest.raises(UserError, match=r"labels.slp is damaged at points .*; copy or save it again"):
        convert(file, tmp_path / "out", images=pictures)


def test_a_video_that_is_not_there_or_no_video_names_the_cure(project, tmp_path):
    file = project({"type": "MediaVideo", "filename": "/data/day.mp4"})
    with pytest.raises(UserError, match=r"its video /data/day.mp4 isn't below .*; give --images, its folder"):
        convert(file, tmp_path / "out")
    (tmp_path / "day.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match=r"day.mp4 can't be read as a video; save a package"):
        convert(file, tmp_path / "out")
    (tmp_path / "b.slp").write_bytes(b"no project")
    with pytest.raises(UserError, match=r"b.slp can't be read as HDF5"):
        convert(tmp_path / "b.slp", tmp_path / "out")
