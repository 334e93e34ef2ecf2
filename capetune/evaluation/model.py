"""The model as a predictor: full batches across categories, and an image through the backbone once."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from capetune.config import DataConfig, LossConfig
from capetune.datasets.episodes.batch import stack_images
from capetune.datasets.episodes.queries import query_images
from capetune.datasets.packs.reader import Pack
from capetune.evaluation.calibration import NEAR
from capetune.evaluation.order import Window, decoding_order
from capetune.evaluation.pair_batch import pair_batch, to_source
from capetune.evaluation.pck import mpck4, pck_curve
from capetune.evaluation.protocol import CategoryPairs, pair_visible
from capetune.evaluation.support import Shown, Support, own
from capetune.models.backbone import Maps
from capetune.models.captured import Captured
from capetune.models.estimator import Answer, PoseEstimator
from capetune.models.execution import padded_size
from capetune.pose import Batch, Instance, filled


class ModelPredictor:
    """Predicts pairs of all categories together, `batch_size` at a time; None: what suits the size of the crops.

    losses: where given, all predicted pairs are decoded teacher-forced as well (see `mean_losses`). support: what the
    model is shown of the supports. kept: gives what `Backbone.features` once gave for instances, in place of images.
    However many pairs there are, the maps of less than 2 · batch_size images are held. `scores` has for each entry that
    `predict_all` has yielded the keypoints' scores, float (P, K) in (0, 1). With `losses`, `judged` has the score of
    every keypoint that counts, and whether it lies near the truth.
    """

    name = "model"

    def __init__(
        self,
        model: PoseEstimator,
        pack: Pack,
        data: DataConfig,
        device: torch.device | str = "cpu",
        batch_size: int | None = None,
        losses: LossConfig | None = None,
        support: Support = own,
        kept: Callable[[Sequence[Instance]], Maps] | None = None,
    ) -> None:
        self.model = model
        self.pack = pack
        self.data = data
        self.device = torch.device(device)
        self.batch_size = batch_size or pairs_at_once(data.size)
        self.losses = losses
        self.support = support
        self.kept = kept
        answer = partial(answered, model, losses)  # not a method: graphs go with the predictor, at once
        self._answer = Captured(answer) if model.way.captured else answer
        self.begin()

    def begin(self) -> ModelPredictor:
        """Count anew, of a model that may have been trained on meanwhile. Returns the predictor."""
        self.model.eval()
        self.pairs = 0  # predicted so far
        self.scores: list[np.ndarray] = []
        self.seconds = 0.0  # from images to keypoints, of all these pairs
        self._judged: list[np.ndarray] = []
        self._sums = dict.fromkeys(("loss", "tokens", "coordinates", "forced_mpck4"), 0.0)
        return self

    def predict_all(
        self, instances: Mapping[int, Sequence[Instance]], pairs: Sequence[CategoryPairs]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """As `Predictor` has it; those of few keypoints come first. An entry of `pairs` may be empty, P = 0."""
        found = [np.empty((len(drawn.queries), drawn.category.graph.size, 2)) for drawn in pairs]
        self.scores = [np.empty(xy.shape[:2]) for xy in found]
        left = [len(xy) for xy in found]
        yield from ((entry, xy) for entry, xy in enumerate(found) if not len(xy))
        order, image = decoding_order(pairs)
        if not len(order):
            return
        first = np.unique(image, return_index=True)[1]
        queries = [instances[pairs[e].category.id][pairs[e].queries[row]] for e, row in order[first]]
        asked: dict[int, _Asked] = {}
        with closing(self._maps(queries)) as chunks:
            window = Window(chunks)
            for now in np.array_split(np.arange(len(order)), math.ceil(len(order) / self.batch_size)):
                groups = []
                for entry, rows in _runs(order[now]):
                    if entry not in asked:
                        asked[entry] = self._ask(pairs[entry], instances[pairs[entry].category.id])
                    groups.append((entry, rows))
                predicted, score = self._decode(
                    [asked[entry].at(rows) for entry, rows in groups], window.maps(image[now])
                )
                begin = 0
                for entry, rows in groups:
                    end = begin + len(rows)
                    found[entry][rows] = predicted[begin:end, : found[entry].shape[1]]
                    self.scores[entry][rows] = score[begin:end, : found[entry].shape[1]]
                    begin = end
                    left[entry] -= len(rows)
                    if not left[entry]:
                        del asked[entry]
                        yield entry, found[entry]

    def mean_losses(self) -> dict[str, float]:
        """Teacher-forced, means over the pairs predicted so far: loss, tokens, coordinates, and forced_mpck4.

        The last is the mPCK4 that the model would have if every keypoint before the one it writes were the true one:
        what it lacks generating is lost to its own mistakes. It is no performance.
        """
        return {name: value / max(self.pairs, 1) for name, value in self._sums.items()}

    @property
    def judged(self) -> np.ndarray:
        """float64 (2, n), of what was predicted so far: scores, and 1 where it is nearer than `calibration.NEAR`."""
        return np.concatenate([np.empty((2, 0)), *self._judged], axis=1)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds += time.perf_counter() - begun

    def _ask(self, drawn: CategoryPairs, instances: Sequence[Instance]) -> _Asked:
        template, known, adjacency = self.support(drawn.category, instances, drawn.supports)
        visible = pair_visible(instances, drawn)
        return _Asked((template, known, adjacency), visible, [instances[query] for query in drawn.queries])

    def _maps(self, instances: Sequence[Instance]) -> Generator[Maps]:
        """Those of the instances' images, in their order: for each stride (n, width, h, w), n up to batch_size."""
        backbone, size = self.model.backbone, self.batch_size
        if self.kept is not None:
            for begin in range(0, len(instances), size):
                kept = tuple(maps.to(self.device) for maps in self.kept(instances[begin : begin + size]))
                with torch.inference_mode():
                    maps = backbone.embed(kept)
                yield maps
            return
        images = query_images(self.pack, instances, self.data.size, torch.get_num_threads(), size)
        with closing(images):
            while some := list(itertools.islice(images, size)):
                stacked = stack_images(some)
                if self.model.way.shaped:
                    stacked = filled(stacked, size)
                with self._timed(), torch.inference_mode():
                    maps = tuple(seen[: len(some)] for seen in backbone(stacked.to(self.device)))
                yield maps

    @torch.inference_mode()
    def _decode(self, asked: Sequence[_Asked], features: Maps) -> tuple[np.ndarray, np.ndarray]:
        """P pairs of one or several categories. Returns float64 (P, K, 2) source pixels, K the largest there is, and
        their scores, float (P, K)."""
        asking = pair_batch([(part.shown, part.queries) for part in asked])
        count, batch = len(asking), asking.to(self.device)
        if self.model.way.shaped:
            batch = batch.padded(self.batch_size, padded_size(asking.joints.shape[1]))
            features = tuple(filled(maps, self.batch_size) for maps in features)
        with self._timed():
            prediction, losses, forced = self._answer([*batch.tensors(), *features])
            predicted = to_source(prediction.xy[:count], asking)
            score = prediction.score[:count].double().cpu().numpy()
        self.pairs += count
        if forced is not None:
            for name, value in losses.items():
                self._sums[name] += value[:count].double().sum().item()
            points, begin = to_source(forced[:count], asking), 0
            for part in asked:
                end = begin + len(part.queries)
                truth = np.stack([query.xy for query in part.queries])
                side = np.array([query.side for query in part.queries])
                k, seen = truth.shape[1], part.visible
                curve = pck_curve(points[begin:end, :k], truth, seen, side)
                self._sums["forced_mpck4"] += float(mpck4(curve).sum())
                away = np.linalg.norm(predicted[begin:end, :k] - truth, axis=-1) / side[:, None]
                self._judged.append(np.stack([score[begin:end, :k][seen], away[seen] < NEAR]))
                begin = end
        return predicted, score


def pairs_at_once(size: int) -> int:
    """Pairs a batch, of crops of `size` pixels. One of 128 costs a tenth less than one of 64; the maps of large crops
    would fill the memory."""
    return 128 if size <= 128 else 64


def answered(model: PoseEstimator, losses: LossConfig | None, tensors: Sequence[torch.Tensor]) -> Answer:
    """`PoseEstimator.answer`. tensors: those of a batch, and the maps of its images."""
    fields = len(tensors) - len(model.backbone.project)
    return model.answer(Batch(*tensors[:fields]), tuple(tensors[fields:]), losses)


@dataclass(frozen=True, eq=False)
class _Asked:
    """Pairs of a category: what is shown of their supports, which keypoints count, bool (P, K), and the queries."""

    shown: Shown
    visible: np.ndarray
    queries: Sequence[Instance]

    def at(self, rows: np.ndarray) -> _Asked:
        template, known, adjacency = self.shown
        chosen = [self.queries[row] for row in rows]
        return _Asked((template[rows], known[rows], adjacency), self.visible[rows], chosen)


def _runs(order: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """order: int (B, 2), entries and rows. Yields each entry and its rows; those of an entry stand together."""
    starts = np.flatnonzero(np.diff(order[:, 0], prepend=-1))
    for run in np.split(order, starts[1:]):
        yield int(run[0, 0]), run[:, 1]
