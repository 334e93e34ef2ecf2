"""CVAT's own export of a video's tracks, "CVAT for video 1.1": shapes by frame, without names of pictures.

Source of the format: docs.cvat.ai, XML annotation format.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from xml.etree import ElementTree

import cv2

from capetune.datasets.labels.cvat_shapes import number, read_box, read_points
from capetune.datasets.labels.films import filmed
from capetune.datasets.labels.labels import Box, Labels
from capetune.datasets.labels.pictures import Pictures
from capetune.errors import UserError

Element = ElementTree.Element
Key = tuple[str, int]  # a group and a frame
BETWEEN = "object between keyframes, which CVAT drew: not a label"


def read_tracks(root: Element, labels: Labels, pictures: Pictures, file: Path, images: Path) -> None:
    """The skeletons of the keyframes, each with the box of its group at that frame. A keypoint that is `outside` is
    unlabelled; where all are, the object has left. images: where pictures go that are cut from the video.

    Raises UserError where neither the video nor pictures of its frames are there.
    """
    task = _task(root, file)
    size = int(number(task, "width", str(file))), int(number(task, "height", str(file)))
    tracks = root.findall("track")
    boxes = _boxes(tracks, str(file))
    found: dict[int, list[tuple[str, list[tuple[str, float, float, float]], Box | None]]] = {}
    for track in tracks:
        group = track.get("group_id", "0")
        for shape in track:
            frame = int(number(shape.attrib, "frame", f"{file}, track {track.get('id')}"))
            place = f"{file}, track {track.get('id')}, frame {frame}"
            if shape.tag != "skeleton":
                if (group, frame) not in boxes and shape.get("outside") != "1":
                    labels.lose(f"{shape.tag} that belongs to no skeleton", f"frame {frame}")
                continue
            points = read_points(shape, place)
            if shape.get("outside") == "1" or not any(v for *_, v in points):
                continue
            if not any(part.get("keyframe") == "1" for part in (shape, *shape.iterfind("points"))):
                labels.lose(BETWEEN, f"frame {frame}")
                continue
            if shape.find(".//attribute") is not None:
                labels.lose("attributes of an object", f"frame {frame}")
            found.setdefault(frame, []).append((track.get("label") or "", points, boxes.get((group, frame))))
    if not found:
        return
    names = _names(root, found, pictures, file, images)
    for frame, objects in sorted(found.items()):
        labels.picture(names[frame], size, f"{file}, frame {frame}")
        for category, points, box in objects:
            labels.add(category, names[frame], points, box, f"frame {frame}")


def _task(root: Element, file: Path) -> dict[str, str]:
    sizes = root.findall("meta//original_size")
    if len(sizes) != 1:
        raise UserError(f"{file} has tracks of {len(sizes)} videos with a size; export each task by itself")
    return {side.tag: side.text or "" for side in sizes[0]}


def _boxes(tracks: list[Element], place: str) -> dict[Key, Box]:
    """The boxes of the tracks that are in a group with a skeleton's."""
    groups = {track.get("group_id", "0") for track in tracks if track.find("skeleton") is not None} - {"0"}
    return {
        (track.get("group_id", "0"), int(number(box.attrib, "frame", place))): read_box(box, place)
        for track in tracks
        if track.get("group_id", "0") in groups
        for box in track.iterfind("box")
        if box.get("outside") != "1"
    }


def _names(root: Element, frames: Collection[int], pictures: Pictures, file: Path, images: Path) -> dict[int, str]:
    """The picture of each frame: cut from the video where that is there, else the one whose name ends in the frame's
    number."""
    source = root.findtext("meta/source") or root.findtext("meta//source") or ""
    film = pictures.name(source)
    cure = f"cut it with `ffmpeg -i {source or 'VIDEO'} -start_number 0 frames/%06d.png` and give --images frames"
    if pictures.has(film):
        folder = images / film
        folder.mkdir(parents=True, exist_ok=True)
        for index, image in filmed(pictures.folder / film, frames, cure):
            if not cv2.imwrite(str(folder / f"{index:06}.png"), image):
                raise OSError(f"{folder}/{index:06}.png can't be written")
        return {frame: f"{film}/{frame:06}.png" for frame in frames}
    there: dict[int, str] = {}
    for name in pictures.listed:
        digits = re.search(r"(\d+)$", Path(name).stem)
        if digits and int(digits[1]) in frames and there.setdefault(int(digits[1]), name) != name:
            raise UserError(
                f"{file}: {there[int(digits[1])]} and {name} may both be frame {int(digits[1])}; give --images the "
                "folder of this video's frames alone"
            )
    if not there:
        raise UserError(f"{file}: neither its video {source!r} nor its frames are below {pictures.folder}; {cure}")
    return {frame: there.get(frame, f"{frame:06}.png") for frame in frames}
