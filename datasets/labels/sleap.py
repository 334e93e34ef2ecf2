"""SLEAP's projects (.slp) and packages (.pkg.slp): HDF5 files of frames, instances and points.

Source of the format: sleap-io, whose reader this follows in the parts that labels need (formats 1.0 to 1.x).
"""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import count
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pydantic import BaseModel

from capetune.datasets.labels.labels import VISIBLE, Labels
from capetune.datasets.labels.pictures import Pictures
from capetune.datasets.labels.reading import files, fitting
from capetune.datasets.labels.sleap_frames import Video, extract, table
from capetune.errors import UserError

USER = 0  # an instance that a person labelled; others are predicted
EDGE = 1  # a link that is an edge; 2 joins two that are symmetric
PIXEL_CENTRES = 1.1  # the format from which on 0 is a pixel's centre, as everywhere here; before, its corner


class Link(BaseModel):
    """type: pickled; the first of a kind has its number, later ones name the first by its place."""

    source: int
    target: int
    type: dict[str, Any]


class Node(BaseModel):
    id: int


class Graph(BaseModel):
    graph: dict[str, Any]
    links: list[Link]
    nodes: list[Node]


class Name(BaseModel):
    name: str


class Metadata(BaseModel):
    nodes: list[Name]
    skeletons: list[dict[str, Any]]


def read_sleap(source: Path, pictures: Pictures, out: Path) -> Labels:
    """A file, or a folder of them. The pictures of labelled frames are written into the new folder `out`, from which
    their names start: out of the package, out of a video (found below `pictures`' folder where it isn't at its path),
    or copied.

    Predicted instances are lost. A keypoint that isn't marked visible is unlabelled, as SLEAP takes it, whatever its
    coordinates. Raises UserError where a file isn't of that format.
    """
    labels = Labels()
    for file in files(source, "*.slp"):
        try:
            h5 = h5py.File(file)
        except OSError as error:
            raise UserError(f"{file} can't be read as HDF5 ({error}); save it again") from None
        try:
            with h5:
                _read(h5, file, labels, pictures, out)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise UserError(f"{file} isn't a project of SLEAP's that is known ({error}); save it with 1.3") from None
    return labels


def _read(h5: h5py.File, file: Path, labels: Labels, pictures: Pictures, out: Path) -> None:
    metadata = fitting(Metadata, json.loads(_text(h5["metadata"].attrs["json"])), f"{file}, metadata")
    skeletons = [_declare(skeleton, metadata, labels, file) for skeleton in metadata.skeletons]
    videos = [
        fitting(Video, json.loads(_text(text)), f"{file}, video {number}")
        for number, text in enumerate(table(h5, "videos_json", file))
    ]
    shift = 0.5 if h5["metadata"].attrs["format_id"] < PIXEL_CENTRES else 0.0
    points, instances, listed = (table(h5, name, file) for name in ("points", "instances", "frames"))
    places = _places(listed, videos)
    frames: dict[int, dict[int, list[Any]]] = defaultdict(dict)
    for frame in listed:
        place = f"{file.name}, video {frame['video']}, frame {frame['frame_idx']}"
        rows = instances[int(frame["instance_id_start"]) : int(frame["instance_id_end"])]
        mine = [row for row in rows if row["instance_type"] == USER]
        for _ in range(len(rows) - len(mine)):
            labels.lose("predicted instance", place)
        if mine:
            frames[places[int(frame["video"])]][int(frame["frame_idx"])] = mine
    for number, labelled in sorted(frames.items()):
        found = extract(videos[number], h5, file, sorted(labelled), _folder(out, videos[number]), pictures)
        for index, mine in sorted(labelled.items()):
            place = f"{file.name}, video {number}, frame {index}"
            if index not in found:
                labels.lose("frame without a picture, with its labels", place)
                continue
            _read_frame(found[index], mine, points, skeletons, shift, labels, out, place)


def _declare(tree: dict[str, Any], metadata: Metadata, labels: Labels, file: Path) -> tuple[str, list[str]]:
    """Its name and those of its keypoints."""
    graph = fitting(Graph, tree.get("nx_graph", tree), f"{file}, skeleton")
    nodes = [node.id for node in graph.nodes]
    names = [metadata.nodes[id].name for id in nodes]
    kinds: list[int] = []
    edges = []
    for link in graph.links:
        if "py/reduce" in link.type:
            kinds.append(link.type["py/reduce"][1]["py/tuple"][0])
            kind = kinds[-1]
        else:
            number = int(link.type["py/id"])
            kind = kinds[number - 1] if number <= len(kinds) else number
        if kind == EDGE:
            edges.append((nodes.index(link.source), nodes.index(link.target)))
    name = str(graph.graph.get("name") or "skeleton")
    labels.declare(name, names, edges, str(file))
    return name, names


def _read_frame(
    picture: Path,
    rows: list[Any],
    points: np.ndarray,
    skeletons: list[tuple[str, list[str]]],
    shift: float,
    labels: Labels,
    out: Path,
    place: str,
) -> None:
    written = Pictures(out)
    name = written.of(picture)
    size = written.size(name)
    if size is None:
        labels.lose("frame whose picture can't be read, with its labels", place)
        return
    labels.picture(name, size, place)
    for row in rows:
        category, names = skeletons[int(row["skeleton"])]
        mine = points[int(row["point_id_start"]) : int(row["point_id_end"])]
        if len(mine) != len(names):
            raise UserError(f"{place}: {len(mine)} points for {len(names)} keypoints of {category!r}; save it again")
        placed = [(n, p) for n, p in zip(names, mine, strict=True) if np.isfinite(p["x"]) and np.isfinite(p["y"])]
        for keypoint, point in placed:
            if not point["visible"]:
                labels.lose("keypoint not marked visible", f"{keypoint} at {place}")
        seen = [(n, float(p["x"]) - shift, float(p["y"]) - shift, VISIBLE) for n, p in placed if p["visible"]]
        labels.add(category, name, seen, place=place)


def _places(frames: np.ndarray, videos: list[Video]) -> dict[int, int]:
    """By the number that frames call a video by, its place: the number itself where all are used, else, in packages,
    that of the video's group (as sleap-io reads it)."""
    numbers = {int(number) for number in frames["video"]}
    groups = {video.group: place for place, video in enumerate(videos) if video.group is not None}
    if numbers == set(range(len(videos))):
        groups = {}
    found = {number: groups.get(number, number) for number in numbers}
    if strange := [number for number, place in found.items() if place >= len(videos)]:
        raise IndexError(f"a frame is of video {strange[0]}, of {len(videos)}")
    return found


def _folder(out: Path, video: Video) -> Path:
    """One for each video, called as it is."""
    names = (video.stem if n == 0 else f"{video.stem}-{n}" for n in count())
    return next(out / name for name in names if not (out / name).exists())


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.tobytes()
    return value.decode() if isinstance(value, bytes) else str(value)
