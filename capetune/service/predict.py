"""Predict: a template's keypoints in pictures of one's own, written as files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator

from capetune.datasets.mp100.pictures import Unusable
from capetune.datasets.packs.threads import ordered
from capetune.errors import UserError
from capetune.events import Doubted, Listener, PictureLeftOut, Progress, StepBegan, ignore
from capetune.prediction.boxes import read_boxes
from capetune.prediction.drawing import encode_png, overlay
from capetune.prediction.files import Pose, as_coco, as_csv, as_json
from capetune.prediction.pictures import Picture, find_pictures, opened, read_picture
from capetune.prediction.template import Template
from capetune.prediction.video import is_video, promised
from capetune.runs.checkpoints import read_meta
from capetune.service.chosen import UNCALIBRATED, checkpoint_of
from capetune.service.request import Count, Request, Where
from capetune.service.steps import housed
from capetune.service.templates import Box, TemplateRequest, made
from capetune.storage.scratch import named
from capetune.storage.whole import whole, write_aside

if TYPE_CHECKING:
    from capetune.prediction.model import Model

AHEAD = 16  # pictures in memory
SURE = 0.5  # a keypoint of a lower score is drawn as a ring


class PredictRequest(Request):
    verb: Literal["predict"] = "predict"
    images: Annotated[tuple[Path, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str | Path) else v)]
    out: Path
    template: Path | None = None
    support: Path | None = None
    category: str | None = None
    data: str | None = None
    shots: Count | None = None
    box: Box | None = None
    boxes: Path | None = None
    checkpoint: Where | None = None
    draw: bool = False


@dataclass(frozen=True)
class PredictResult:
    """poses: in the order of the pictures. left_out: picture, or picture and box, → why. out: the folder of files."""

    out: Path
    checkpoint: str
    epoch: int
    template: Template = field(repr=False)
    pictures: int
    poses: tuple[Pose, ...] = field(repr=False)
    left_out: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        facts = {"out": str(self.out), "checkpoint": self.checkpoint, "epoch": self.epoch, "pictures": self.pictures}
        return {**facts, "poses": len(self.poses), "left_out": dict(self.left_out)}


def run(request: PredictRequest, listener: Listener = ignore) -> PredictResult:
    """Predict, and write poses.json, poses.csv, coco.json and, with `draw`, a picture each into the folder `out`, which
    appears whole. A picture that can't be used is told, and is in the result; the others go on.

    Raises UserError for what the caller can cure, and where no picture can be used.
    """
    if request.box is not None and request.boxes is not None:
        raise UserError("--box is one for all pictures, --boxes has each picture's: leave out one of the two")
    if request.out.is_file() or (request.out.is_dir() and any(request.out.iterdir())):
        raise UserError(f"{request.out} is there already; give --out a folder that is new or empty")
    with housed(request, listener) as (request, listener), ExitStack() as copies:
        return _run(request, listener, copies)


def _run(request: PredictRequest, listener: Listener, copies: ExitStack) -> PredictResult:
    pictures = find_pictures(request.images)
    for video in filter(is_video, request.images):
        there, said = sum(picture.file == video for picture in pictures), promised(video)
        if there < said:
            listener(Doubted(f"{video}: only the first {there} of the {said} frames that it says to have can be read"))
    boxes = _boxes(request, pictures, listener)
    checkpoint = checkpoint_of(request.checkpoint, request.runs_folder, listener, copies)
    meta = read_meta(checkpoint)
    template = _template(request, meta.data["pack"], listener)
    template.check_seen_by(meta.config.model.support)

    # torch takes seconds to import: not before what can be refused without it.
    from capetune.models.execution import usual_device
    from capetune.prediction.model import load_best
    from capetune.training.checkpoint import weights_hash

    model = load_best(checkpoint).to(usual_device())
    if not meta.calibrated:
        listener(Doubted(UNCALIBRATED))
    listener(StepBegan("prediction", f"{len(pictures)} picture{'s' * (len(pictures) > 1)}"))
    work = _Work(model, boxes, listener, len(pictures))
    poses = work.predict(pictures, template)
    if work.far:
        far = f"{len(work.far)} of {len(poses)} boxes reach far beyond their picture, {work.far[0]} for one"
        listener(Doubted(f"{far}: only what lies in it was looked at; are they in pixels of these pictures?"))
    if not poses:
        first, why = next(iter(work.left_out.items()))
        raise UserError(f"none of the {len(pictures)} pictures can be used; {first}: {why}")
    name = named(str(checkpoint))
    facts = {"checkpoint": name, "epoch": meta.epoch, "weights_hash": weights_hash(checkpoint)}
    with whole(request.out) as folder:
        write_aside(folder / "poses.json", as_json(poses, template, facts | {"left_out": work.left_out}))
        write_aside(folder / "poses.csv", as_csv(poses, template.graph))
        write_aside(folder / "coco.json", as_coco(poses, template))
        if request.draw:
            _draw(folder / "drawn", pictures, poses, template, listener)
    return PredictResult(request.out, name, meta.epoch, template, len(pictures), tuple(poses), work.left_out)


def _template(request: PredictRequest, trained_on: str, listener: Listener) -> Template:
    """One of --template, --support and --category; the last one's pack is what the model was trained on, where none is
    given."""
    if request.template is not None:
        if request.support or request.data:
            raise UserError("--template has all that is needed; leave out --support and --data")
        asked = TemplateRequest.of(file=request.template, category=request.category, shots=request.shots)
    elif request.support is not None:
        if request.data:
            raise UserError("--support and --data both have labelled instances; leave out one of the two")
        asked = TemplateRequest.of(coco=request.support, category=request.category, shots=request.shots)
    elif request.category is not None or request.data is not None:
        data = request.data or trained_on
        asked = TemplateRequest.of(data=data, category=request.category, shots=request.shots)
    else:
        raise UserError(
            "what is to be found? Give --template FILE, --support FILE of labelled instances, or --category NAME"
        )
    return made(asked, listener)


def _boxes(
    request: PredictRequest, pictures: Sequence[Picture], listener: Listener
) -> Mapping[str, Sequence[np.ndarray | None]]:
    """Each picture's boxes by its name; None stands for the whole picture."""
    if request.boxes is None:
        box = None if request.box is None else np.array(request.box)
        return {picture.name: [box] for picture in pictures}
    found, others = read_boxes(request.boxes, pictures)
    if others:
        listener(Doubted(f"{others} boxes of {request.boxes} are of pictures that weren't asked for"))
    return found


@dataclass
class _Work:
    """left_out: what couldn't be used so far, and why. far: boxes of which less than half lies in their picture."""

    model: Model
    boxes: Mapping[str, Sequence[np.ndarray | None]]
    listener: Listener
    total: int
    left_out: dict[str, str] = field(default_factory=dict)
    far: list[str] = field(default_factory=list)
    asked: list[tuple[Picture, tuple[int, int], int]] = field(default_factory=list)
    done: int = 0

    def predict(self, pictures: Sequence[Picture], template: Template) -> list[Pose]:
        poses: list[Pose] = []
        for part in self.model.predict_crops(self._crops(pictures), template):
            for box, xy, score in zip(part.box, part.xy, part.score, strict=True):
                picture, size, number = self.asked[len(poses)]
                poses.append(Pose(picture.name, size, number, box, xy, score))
            self.listener(Progress("prediction", self.done, self.total))
        return poses

    def _crops(self, pictures: Sequence[Picture]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        import torch

        cut = ordered(self._cut, opened(pictures), torch.get_num_threads(), AHEAD)
        for picture, crops in zip(pictures, cut, strict=True):
            self.done += 1
            several = len(crops) > 1
            for number, crop in enumerate(crops):
                if isinstance(crop, Unusable):
                    self._leave_out(f"{picture.name}, box {number}" if several else picture.name, crop)
                else:
                    image, box, size = crop
                    asked = self.boxes[picture.name][number]
                    if asked is not None and box[2:].prod() < asked[2:].prod() / 2:
                        self.far.append(f"{picture.name} ({asked[2]:g}×{asked[3]:g} in {size[0]}×{size[1]} pixels)")
                    self.asked.append((picture, size, number))
                    yield image, box

    def _cut(
        self, seen: tuple[Picture, np.ndarray | None]
    ) -> list[tuple[np.ndarray, np.ndarray, tuple[int, int]] | Unusable]:
        """Its boxes' crops, each with the box and the picture's size; or what is wrong with the picture or a box."""
        from capetune.prediction.model import box_in

        picture, pixels = seen
        boxes = self.boxes.get(picture.name, [])
        if not boxes:
            return [Unusable("it has no box in the file of boxes")]
        found: list[tuple[np.ndarray, np.ndarray, tuple[int, int]] | Unusable] = []
        try:
            image = read_picture(picture.file) if pixels is None else pixels
        except Unusable as why:
            return [why]
        for asked in boxes:
            try:
                box = box_in(image, asked)
                found.append((self.model.crop(image, box), box, (image.shape[1], image.shape[0])))
            except Unusable as why:
                found.append(why)
        return found

    def _leave_out(self, what: str, why: Unusable) -> None:
        self.left_out[what] = f"{why.reason} ({why.detail})" if why.detail else why.reason
        self.listener(PictureLeftOut(what, self.left_out[what]))


def _draw(
    folder: Path, pictures: Sequence[Picture], poses: Sequence[Pose], template: Template, listener: Listener
) -> None:
    """A PNG of each picture with its poses. They are read again: all of them wouldn't fit into the memory."""
    folder.mkdir()
    groups: dict[str, list[Pose]] = {}
    for pose in poses:
        groups.setdefault(pose.picture, []).append(pose)
    chosen = [picture for picture in pictures if picture.name in groups]

    def draw(numbered: tuple[int, tuple[Picture, np.ndarray | None]]) -> None:
        number, (picture, pixels) = numbered
        image = overlay(
            read_picture(picture.file) if pixels is None else pixels,
            [(pose.box, pose.xy, pose.score >= SURE) for pose in groups[picture.name]],
            template.graph,
        )
        write_aside(folder / f"{number:04d}-{picture.file.stem}.png", encode_png(image))

    for done, _ in enumerate(ordered(draw, enumerate(opened(chosen), 1), 2, 2), 1):
        listener(Progress("prediction", done, len(chosen), "drawing"))
