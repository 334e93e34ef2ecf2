"""CVAT's own exports: an XML file, of images or a video's tracks; its skeletons are drawn as SVG among the labels.

Source of the format: docs.cvat.ai, XML annotation format.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from capetune.datasets.labels.cvat_shapes import number, read_box, read_points
from capetune.datasets.labels.cvat_video import read_tracks
from capetune.datasets.labels.labels import Labels
from capetune.datasets.labels.pictures import Pictures
from capetune.datasets.labels.reading import files, read_xml
from capetune.errors import UserError

Element = ElementTree.Element


def read_cvat(source: Path, pictures: Pictures, images: Path) -> Labels:
    """A file, or a folder of them. An element that is `outside` is unlabelled, `occluded` is hidden; a box of the
    skeleton's group is its box. Raises UserError where a file isn't of that format."""
    labels = Labels()
    for file in files(source, "*.xml"):
        root = read_xml(file)
        if root.tag != "annotations":
            raise UserError(f"{file} is no XML file of CVAT's (it holds <{root.tag}>); export as CVAT for images 1.1")
        for label in root.iterfind("meta//label"):
            if label.findtext("type") == "skeleton":
                _declare(label, root, labels, file)
        for image in root.iterfind("image"):
            _read_image(image, labels, pictures, file)
        if root.find("track") is not None:
            read_tracks(root, labels, pictures, file, images)
    return labels


def _declare(label: Element, root: Element, labels: Labels, file: Path) -> None:
    """A skeleton's keypoints are in the order of its drawing's nodes; its parts' labels name them too."""
    category = label.findtext("name") or ""
    try:
        drawing = ElementTree.fromstring(f"<svg>{label.findtext('svg') or ''}</svg>")
        nodes = {
            int(node.attrib["data-node-id"]): node.attrib["data-label-name"]
            for node in drawing.iter("circle")
            if "data-label-name" in node.attrib
        }
        ends = [(int(line.attrib["data-node-from"]), int(line.attrib["data-node-to"])) for line in drawing.iter("line")]
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise UserError(f"{file}, label {category!r}: its drawing is no skeleton ({error!r}); export again") from None
    parts = [
        part.findtext("name") or "" for part in root.iterfind("meta//label") if part.findtext("parent") == category
    ]
    nodes = nodes or dict(enumerate(parts))
    if parts and sorted(parts) != sorted(nodes.values()):
        raise UserError(f"{file}, label {category!r}: its drawing and its parts name other keypoints; export again")
    places = {node: place for place, node in enumerate(sorted(nodes))}
    if strange := [end for pair in ends for end in pair if end not in places]:
        raise UserError(f"{file}, label {category!r}: an edge ends at node {strange[0]}, which isn't; export again")
    edges = [(places[i], places[j]) for i, j in ends]
    labels.declare(category, [nodes[node] for node in sorted(nodes)], edges, str(file))


def _read_image(image: Element, labels: Labels, pictures: Pictures, file: Path) -> None:
    place = f"{file}, image {image.get('name')!r}"
    name = pictures.name(image.get("name") or "")
    width, height = (int(number(image.attrib, side, place)) for side in ("width", "height"))
    labels.picture(name, (width, height), place)
    skeletons = image.findall("skeleton")
    boxes: dict[str, Element] = {}
    groups = {skeleton.get("group_id", "0") for skeleton in skeletons} - {"0"}
    for shape in image:
        group = shape.get("group_id", "0")
        if shape.tag == "box" and group in groups and group not in boxes:
            boxes[group] = shape
        elif shape.tag != "skeleton":
            labels.lose(f"{shape.tag} that belongs to no skeleton", name)
    for skeleton in skeletons:
        points = read_points(skeleton, place)
        if skeleton.find(".//attribute") is not None:
            labels.lose("attributes of an object", name)
        box = boxes.pop(skeleton.get("group_id", "0"), None)
        labels.add(skeleton.get("label") or "", name, points, read_box(box, place) if box is not None else None)
