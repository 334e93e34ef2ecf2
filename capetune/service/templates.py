"""Templates: read from a file, of labelled instances, or of points that a person has placed in a picture."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field

from capetune.datasets.mp100.files import read_file
from capetune.datasets.mp100.findings import counted, noted, said
from capetune.errors import UserError
from capetune.events import Doubted, Listener, ignore
from capetune.pose import Category, Instance
from capetune.prediction.template import Template
from capetune.service.request import Count, Request
from capetune.service.steps import open_data

USUAL = 5  # instances: the most that a template is made of in training, unless data.shots says otherwise
SHRUNK = 0.6  # of the instances' own size


def numbers(value: Any, separators: str, each: int, what: str) -> Any:
    """ "1,2 3,4" as tuples of floats; anything but text is left to pydantic."""
    if not isinstance(value, str):
        return value
    try:
        found = tuple(tuple(float(word) for word in group.split(separators)) for group in value.split())
    except ValueError:
        found = ()
    if not found or any(len(group) != each for group in found):
        raise ValueError(f"wanted is {what}")
    return found


def _points(value: Any) -> Any:
    return numbers(value, ",", 2, 'x,y of each keypoint, such as "120,80 131,95"')


def _edges(value: Any) -> Any:
    return numbers(value, "-", 2, 'pairs of keypoints\' numbers, from 0, such as "0-1 1-2"')


def one_box(value: Any) -> Any:
    """ "x,y,w,h" as four floats."""
    found = numbers(value, ",", 4, "x,y,width,height in pixels, such as 40,20,200,160")
    return found[0] if isinstance(value, str) and len(found) == 1 else found


Number = Annotated[float, Field(allow_inf_nan=False)]
Box = Annotated[tuple[Number, Number, Number, Number], BeforeValidator(one_box)]


class TemplateRequest(Request):
    """One of file, coco, data (with category) and points says what it is made of."""

    file: Path | None = None
    coco: Path | None = None
    data: str | None = None
    category: str | None = None
    shots: Count | None = None
    points: Annotated[tuple[tuple[Number, Number], ...] | None, BeforeValidator(_points)] = None
    edges: Annotated[tuple[tuple[int, int], ...], BeforeValidator(_edges)] = ()
    names: Annotated[tuple[str, ...] | None, BeforeValidator(lambda v: v.split(",") if isinstance(v, str) else v)] = (
        None
    )
    box: Box | None = None


def made(request: TemplateRequest, listener: Listener = ignore) -> Template:
    """Of a pack it has its supports' pixels, for models that look at them. Raises UserError where the request names no
    source or several, or that can't be used."""
    sources = {"file": request.file, "coco": request.coco, "data": request.data, "points": request.points}
    given = [f"--{name}" for name, value in sources.items() if value is not None]
    if len(given) != 1:
        said_of = " and ".join(given) or "none"
        raise UserError(f"a template is made of one of --coco FILE, --data PACK and --points, not of {said_of}")
    if request.points is None and (request.edges or request.names or request.box):
        raise UserError("--edges, --names and --box belong to --points; labelled instances have their own")
    if request.file is not None and (request.category or request.shots):
        raise UserError("--category and --shots choose labelled instances; a template's file has none")
    if request.file is not None:
        return Template.read(request.file)
    if request.points is not None:
        return of_points(request)
    if request.coco is not None:
        return of_labels(request.coco, request.category, request.shots, listener)
    assert request.data is not None
    return of_pack(request.data, request.category, request.shots, listener)


def of_points(request: TemplateRequest) -> Template:
    """The points are pixels of a picture; without a box the smallest one around them stands for the object's."""
    assert request.points is not None
    if request.shots:
        raise UserError("--shots chooses labelled instances; points are one")
    points = np.array(request.points)
    low = points.min(axis=0)
    box = np.array(request.box) if request.box else np.array([*low, *np.ptp(points, axis=0)])
    if not (box[2:] > 0).all():
        raise UserError("the box of the points has no width or no height; give --box x,y,width,height")
    xy = (points - box[:2]) / box[2:]
    words = f"{counted(len(points), 'point')} placed by hand"
    return Template.of(xy, request.edges, request.names, request.category or "", words)


def of_labels(file: Path, category: str | None, shots: int | None, listener: Listener) -> Template:
    """Of an annotation file's instances, the first `shots`, or up to USUAL. Their pictures aren't looked at."""
    reading = read_file(file, 1, "train")
    for line in said(noted(reading.dropped), noted(reading.doubts)):
        listener(Doubted(f"{file.name}: {line}"))
    there = [each for each in reading.part.categories if reading.part.instances[each.id]]
    chosen = pick(there, category, str(file))
    return _mean(chosen, reading.part.instances[chosen.id], shots, file.name, listener)


def of_pack(data: str, category: str | None, shots: int | None, listener: Listener) -> Template:
    """Of a pack's instances of a category, whichever part they are of."""
    pack = open_data(data, listener)
    chosen = pick([each for id, each in pack.categories.items() if id in pack.by_category], category, pack.address)
    template = _mean(chosen, pack.by_category[chosen.id], shots, pack.address, listener)
    instances = pack.by_category[chosen.id][: shots or USUAL]
    return replace(template, supports=tuple((pack.crop(each.id), each) for each in instances))


def pick(categories: Iterable[Category], wanted: str | None, source: str) -> Category:
    """A category by id, name or folder; None: the only one. Raises UserError, naming what is there."""
    there = list(categories)
    if not there:
        raise UserError(f"{source} has no labelled instance to make a template of")
    found = there if wanted is None else [c for c in there if wanted in (str(c.id), c.name, c.folder)]
    if len(found) == 1:
        return found[0]
    names = [f"{c.name} ({c.id})" for c in found or there]
    if found:
        few = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        raise UserError(f"{source} has {few}: say which one with --category, by its id")
    near = difflib.get_close_matches(str(wanted), [c.name for c in there], 1, 0.0)
    nearest = next(c for c in there if c.name == near[0]) if near else there[0]
    raise UserError(f"{source} has no category {wanted!r}; the nearest is {nearest.name!r} ({nearest.id})")


def _mean(
    category: Category, instances: Sequence[Instance], shots: int | None, source: str, listener: Listener
) -> Template:
    chosen = instances[: shots or USUAL]
    if shots is not None and len(chosen) < shots:
        raise UserError(f"{source} has {counted(len(chosen), 'instance')} of {category.name!r}, not {shots}")
    words = f"{counted(len(chosen), 'instance')} of {category.name} in {source}"
    template = Template.of_instances(category.name, category.graph, chosen, words)
    shrunk = template.shrunk(chosen)
    if shrunk < SHRUNK:
        listener(
            Doubted(
                f"the {words} lie in different ways: their mean has {shrunk:.0%} of their size and tells little; "
                f"give --shots 1"
            )
        )
    return template
