"""From a question to crops, from crops to poses, and from poses to an answer: without HTTP, and without Ray."""

from __future__ import annotations

import base64
import binascii
import difflib
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from capetune.datasets.mp100.pictures import Unusable
from capetune.errors import UserError
from capetune.prediction.files import Pose, as_json
from capetune.prediction.model import Cut, Model, Poses, box_in, said
from capetune.prediction.pictures import read_picture
from capetune.prediction.template import Template
from capetune.serving.wire import KEYPOINTS, OBJECTS, PIXELS, PictureAsked, Question

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # others of Pillow's call programs


class TooLarge(UserError):
    """What is asked for goes beyond a limit."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A question's crops. of: of each crop its picture's name and (width, height), and the box's number in it."""

    template: Template
    crops: Sequence[Cut]
    of: Sequence[tuple[str, tuple[int, int], int]]


def prepare(question: Question, templates: Mapping[str, Template], model: Model) -> Prepared:
    """Decode the pictures and cut the boxes. templates: by category's id. Raises UserError, in one line, where
    something of the question can't be used, TooLarge where it is too large."""
    template = _template(question, templates)
    objects = sum(len(picture.boxes or [0]) for picture in question.pictures)
    if objects > OBJECTS:
        raise TooLarge(f"{objects} boxes are asked for at once; ask for up to {OBJECTS}")
    names = [picture.name or str(number) for number, picture in enumerate(question.pictures)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"two pictures are named {twice!r}; give each a name of its own")
    crops: list[Cut] = []
    of = []
    for name, picture in zip(names, question.pictures, strict=True):
        try:
            image = decoded(picture)
            for number, box in enumerate(picture.boxes or [None]):
                clipped = box_in(image, None if box is None else np.array(box))
                crops.append((model.crop(image, clipped), clipped))
                of.append((name, (image.shape[1], image.shape[0]), number))
        except Unusable as why:
            raise UserError(f"picture {name}: {said(why)}") from None
        except TooLarge as why:
            raise TooLarge(f"picture {name}: {why}") from None
    return Prepared(template, crops, of)


def predicted(model: Model, asked: Sequence[Prepared]) -> list[Poses]:
    """The poses of several questions, as many at once as the model takes."""
    found: list[Poses] = []
    groups: list[tuple[Template, Sequence[Cut]]] = []
    for each in asked:
        if sum(len(crops) for _, crops in groups) + len(each.crops) > model.batch_size:
            found += model.predict_groups(groups)
            groups = []
        groups.append((each.template, each.crops))
    return found + model.predict_groups(groups)


def answer(asked: Prepared, poses: Poses, facts: Mapping[str, Any]) -> str:
    """JSON as `capetune predict` writes it. facts: of the checkpoint."""
    rows = zip(asked.of, poses.box, poses.xy, poses.score, strict=True)
    described = [Pose(name, size, number, box, xy, score) for (name, size, number), box, xy, score in rows]
    return as_json(described, asked.template, facts)


def decoded(picture: PictureAsked) -> np.ndarray:
    """uint8 (H, W, 3) RGB, the right way up. Raises Unusable, and TooLarge before a large picture is decoded."""
    try:
        data = base64.b64decode(picture.data, validate=True)
    except (binascii.Error, ValueError):
        raise Unusable("its data is no base64") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of large pictures
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
        except Image.DecompressionBombError:
            raise TooLarge(f"it has more than {PIXELS} pixels, the most that are taken") from None
        except Exception:  # as in read_picture
            raise Unusable("image unreadable") from None
    if width * height > PIXELS:
        raise TooLarge(f"it has {width}×{height} pixels; up to {PIXELS} are taken")
    return read_picture(io.BytesIO(data))


def _template(question: Question, templates: Mapping[str, Template]) -> Template:
    if (question.template is None) == (question.category is None):
        raise UserError("what is to be found? give one of category and template")
    if question.template is not None:
        count = len(question.template["names"])
        if count > KEYPOINTS:
            raise TooLarge(f"the template has {count} keypoints; up to {KEYPOINTS} are taken")
        return Template.of_tree(question.template)
    return chosen(str(question.category), templates)


def chosen(category: str, templates: Mapping[str, Template]) -> Template:
    """By id or by name. Raises UserError where there is none, or several have the name."""
    found = [template for id, template in templates.items() if category in (id, template.category)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"several categories are named {category!r}; give an id")
    near = difflib.get_close_matches(category, [template.category for template in templates.values()], 1, 0.0)
    hint = f"; the nearest is {near[0]!r}" if near else ": this model's pack isn't at hand; give a template"
    raise UserError(f"there is no category {category!r}{hint}")
