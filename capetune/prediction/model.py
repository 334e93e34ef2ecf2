"""A trained model for pictures of one's own: keypoints of a template, in each picture's pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import ArrayLike

from capetune.datasets.episodes.batch import stack_images
from capetune.datasets.mp100.instance import clip_box
from capetune.datasets.mp100.pictures import Unusable
from capetune.datasets.packs.crop import source_to_unit, warp_crop
from capetune.datasets.packs.threads import ordered
from capetune.errors import UserError
from capetune.evaluation.pair_batch import inside, pair_batch, to_source
from capetune.evaluation.support import Shown
from capetune.models.estimator import PoseEstimator
from capetune.models.execution import Way, prepare
from capetune.models.looks import Looks, averaged, read
from capetune.pose import Crop, Instance
from capetune.prediction.pictures import read_picture
from capetune.prediction.template import Template
from capetune.runs.checkpoints import CheckpointMeta
from capetune.runs.registry import chosen_checkpoint
from capetune.training.checkpoint import load_model

Cut = tuple[np.ndarray, np.ndarray]  # a crop as `Model.crop` gives it, and its box
AS_IT_IS = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@dataclass(frozen=True, eq=False)
class Poses:
    """Of N pictures. xy: float64 (N, K, 2), pixels of each picture, x and y. score: float64 (N, K) in (0, 1), the
    chance that the keypoint lies within a tenth of the box's longer side (see `models.generate`). box: float64 (N, 4),
    xywh, in which the object was looked for, clipped to the picture.
    """

    xy: np.ndarray
    score: np.ndarray
    box: np.ndarray

    def __len__(self) -> int:
        return len(self.xy)


class Model:
    """A trained model. estimator: in evaluation mode. meta: what its checkpoint says of it."""

    def __init__(self, estimator: PoseEstimator, meta: CheckpointMeta) -> None:
        self.estimator = estimator
        self.meta = meta
        self.device = torch.device("cpu")
        self._looks: WeakKeyDictionary[Template, Looks] = WeakKeyDictionary()
        size = meta.config.data.size
        self.batch_size = 128 if size <= 128 else 64  # as in evaluation.model

    def to(self, device: torch.device | str) -> Model:
        """Predict there from now on, with the network as it is written: nothing is captured or compiled."""
        self.device = torch.device(device)
        prepare(device)
        self.estimator.to(device).run_as(Way())
        return self

    def predict(
        self,
        images: Sequence[np.ndarray | Path | str],
        template: Template | tuple[ArrayLike, Sequence[Sequence[int]]],
        boxes: ArrayLike | None = None,
    ) -> Poses:
        """Where the template's keypoints lie in each picture.

        images: N pictures, each uint8 (H, W, 3) RGB, or a file. template: a `Template`, or xy, (K, 2) in units of an
        object's box, and edges, pairs of keypoints' numbers from 0; a model that looks at images of supports wants a
        `Template` of a pack. boxes: (N, 4), x, y, width and height of the object in pixels of each picture, clipped to
        it as those of annotations are; None: each picture as a whole. Raises UserError where a picture, a box or the
        template can't be used.
        """
        shown = template if isinstance(template, Template) else Template.of(*template)
        images = list(images)
        given = [None] * len(images) if boxes is None else _boxes(boxes, len(images))
        if not images:
            nothing = np.empty((0, shown.graph.size, 2))
            return Poses(nothing, nothing[..., 0], np.empty((0, 4)))

        def crop(number: int) -> tuple[np.ndarray, np.ndarray]:
            try:
                image = _pixels(images[number])
                box = box_in(image, given[number])
            except Unusable as why:
                raise UserError(f"{_name(images[number], number)}: {said(why)}") from None
            return self.crop(image, box), box

        crops = ordered(crop, range(len(images)), torch.get_num_threads(), self.batch_size)
        parts = list(self.predict_crops(crops, shown))
        return Poses(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("xy", "score", "box")))

    def crop(self, image: np.ndarray, box: np.ndarray) -> np.ndarray:
        """The official crop of a box as the model sees it, uint8 (S, S, 3): drawn as for training and evaluation."""
        return warp_crop(Crop(image, AS_IT_IS), source_to_unit(box), self.meta.config.data.size)

    def predict_crops(self, crops: Iterator[Cut], template: Template) -> Iterator[Poses]:
        """crops: as `crop` gives them, and their boxes. Yields their poses in order, up to `batch_size` at a time."""
        batch: list[Cut] = []
        for each in crops:
            batch.append(each)
            if len(batch) == self.batch_size:
                yield self._predict(batch, template)
                batch = []
        if batch:
            yield self._predict(batch, template)

    def _predict(self, crops: Sequence[Cut], template: Template) -> Poses:
        (poses,) = self.predict_groups([(template, crops)])
        return poses

    def predict_groups(self, groups: Sequence[tuple[Template, Sequence[Cut]]]) -> list[Poses]:
        """Crops of several templates, all in one batch, padded to the most keypoints. Returns each group's poses."""
        asked = []
        for template, crops in groups:
            count, size = len(crops), template.graph.size
            known = np.tile(template.known, (count, 1))
            shown = Shown(np.tile(template.xy, (count, 1, 1)), known, template.graph.adjacency())
            hidden = np.zeros((size, 2)), np.zeros(size, dtype=bool)
            asked.append((shown, [Instance(0, 0, 0, "", (0, 0), box, *hidden) for _, box in crops]))
        images = stack_images([image for _, crops in groups for image, _ in crops])
        looking = self.meta.config.model.support.looks
        looks = [self._looks_of(template, len(crops)) for template, crops in groups if looking]
        batch = replace(pair_batch(asked, looks), images=images)
        prediction = self.estimator.predict(batch.to(self.device))
        xy, score = to_source(prediction.xy, batch), prediction.score.double().cpu().numpy()
        found, begin = [], 0
        for template, crops in groups:
            now, size = slice(begin, begin + len(crops)), template.graph.size
            begin += len(crops)
            found.append(Poses(xy[now, :size], score[now, :size], np.stack([box for _, box in crops])))
        return found

    @torch.inference_mode()
    def _looks_of(self, template: Template, count: int) -> Looks:
        """How the template's supports look, averaged as in evaluation, for so many pictures."""
        template.check_seen_by(self.meta.config.model.support)
        if template not in self._looks:
            size, instances = self.meta.config.data.size, [instance for _, instance in template.supports]
            crops = [warp_crop(crop, source_to_unit(each.box), size) for crop, each in template.supports]
            maps = self.estimator.backbone.features(stack_images(crops).to(self.device))
            places, visible = inside(instances)
            found = read(maps, places.to(self.device)).cpu()
            self._looks[template] = averaged(found.unsqueeze(0), visible.unsqueeze(0))
        known = self._looks[template]
        return Looks(known.mean.expand(count, -1, -1), known.seen.expand(count, -1))


def load_best(folder: Path) -> Model:
    """Of a checkpoint's folder, or of a run's, whose best it is then. Raises UserError where there is none."""
    return Model(*load_model(chosen_checkpoint(folder)))


def box_in(image: np.ndarray, box: np.ndarray | None) -> np.ndarray:
    """A box, xywh in pixels, clipped to a picture (H, W, 3) as those of annotations are, float64 (4,); None: all of it.
    Raises `Unusable` where nothing is left of it."""
    height, width = image.shape[:2]
    clipped = clip_box((0, 0, width, height) if box is None else box.tolist(), width, height)
    if clipped[2] <= 0 or clipped[3] <= 0:
        what = "the picture" if box is None else f"box {','.join(f'{v:g}' for v in box)}"
        raise Unusable(f"{what} has no pixels to look at", f"the picture has {width}×{height}")
    return np.array(clipped, dtype=np.float64)


def said(why: Unusable) -> str:
    return f"{why.reason} ({why.detail})" if why.detail else why.reason


def _boxes(boxes: ArrayLike, count: int) -> list[np.ndarray]:
    try:
        array = np.array(boxes, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != (count, 4) or not np.isfinite(array).all():
        raise UserError(f"boxes are x, y, width and height for each of the {count} pictures, finite numbers")
    return list(array)


def _pixels(image: Any) -> np.ndarray:
    if isinstance(image, Path | str):
        return read_picture(Path(image))
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        what = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise Unusable("a picture is uint8 (H, W, 3), RGB, or a path", f"not {what}")
    return image


def _name(image: Any, number: int) -> str:
    return str(image) if isinstance(image, Path | str) else f"picture {number}"
