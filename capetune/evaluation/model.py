"""The model as a predictor: full batches across categories, and an image through the backbone once."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from capetune.config import DataConfig, LossConfig
from capetune.datasets.episodes.batch import stack_images
from capetune.datasets.episodes.queries import query_images
from capetune.datasets.packs.reader import Pack
from capetune.evaluation.calibration import NEAR
from capetune.evaluation.order import Assembly, Slice, runs, slices
from capetune.evaluation.pair_batch import inside, pair_batch, to_source
from capetune.evaluation.pck import mpck4, pck_curve
from capetune.evaluation.protocol import CategoryPairs, pair_visible
from capetune.evaluation.support import LookedAt, Shown, Support, own
from capetune.models.backbone import Maps
from capetune.models.captured import Captured
from capetune.models.estimator import Answer, PoseEstimator
from capetune.models.execution import padded_size
from capetune.models.looks import Looks, averaged, read
from capetune.pose import Batch, Instance, filled


class ModelPredictor:
    """Predicts pairs of all categories together, `batch_size` at a time; None: `pairs_at_once`.

    losses: where given, all predicted pairs are decoded teacher-forced as well (see `mean_losses`). support: what the
    model is shown of the supports. kept: gives what `Backbone.features` once gave for instances, in place of images.
    However many pairs there are, the maps of at most batch_size images are held. `scores` has for each entry that
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
        whole = Assembly(pairs)
        self.scores = whole.scores
        yield from whole.empty()
        for rows, points in self.decoded(instances, pairs, slices(pairs, self.batch_size)):
            yield from whole.take(rows, points)

    def decoded(
        self, instances: Mapping[int, Sequence[Instance]], pairs: Sequence[CategoryPairs], parts: Sequence[Slice]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Some of the `slices` of the pairs, of `batch_size`. Yields, in their order, a batch's rows, int64 (n, 2), and
        float64 (n, K, 3): x, y in source pixels and score. What a slice gives doesn't depend on the others."""
        asked: dict[int, _Asked] = {}
        last = {entry: part for part in parts for entry, _ in runs(part.rows)}
        shown = [[self._query(instances, pairs, *part.rows[pair]) for pair in part.first] for part in parts]
        with closing(self._maps(shown)) as chunks:
            for part, maps in zip(parts, chunks, strict=True):
                for now in np.array_split(np.arange(len(part.rows)), math.ceil(len(part.rows) / self.batch_size)):
                    rows, groups = part.rows[now], []
                    for entry, place in runs(rows):
                        if entry not in asked:
                            asked[entry] = self._ask(pairs[entry], instances[pairs[entry].category.id])
                        groups.append(asked[entry].of(rows[place, 1]))
                    image = torch.as_tensor(part.image[now], device=maps[0].device)
                    predicted, score = self._decode(groups, tuple(seen[image] for seen in maps))
                    yield rows, np.concatenate([predicted, score[..., None]], axis=-1)
                asked = {entry: each for entry, each in asked.items() if last[entry] is not part}

    def _query(
        self, instances: Mapping[int, Sequence[Instance]], pairs: Sequence[CategoryPairs], entry: int, row: int
    ) -> Instance:
        return instances[pairs[entry].category.id][pairs[entry].queries[row]]

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
        shown = self.support(drawn.category, instances, drawn.supports)
        at = shown.looked_at if self.model.config.support.looks else None
        visible = pair_visible(instances, drawn)
        return _Asked(shown, at, self._look(at) if at else None, visible, [instances[query] for query in drawn.queries])

    def _look(self, at: LookedAt) -> Looks:
        """How each of its instances looks that is a support, at its K' keypoints: as `Looks`, a row an instance; rows
        of others are empty."""
        which = np.unique(at.supports)
        chosen = [at.instances[each] for each in which]
        (places, visible), found = inside(chosen), []
        begins = range(0, len(chosen), self.batch_size)
        with closing(self._features([chosen[i : i + self.batch_size] for i in begins])) as chunks:
            for begin, maps in zip(begins, chunks, strict=True):
                now = places[begin : begin + self.batch_size].to(self.device)
                found.append(read(maps, now).cpu())
        looks, seen = torch.cat(found), visible.new_zeros(len(at.instances), visible.shape[1])
        mean = looks.new_zeros(len(at.instances), *looks.shape[1:])
        mean[which], seen[which] = looks, visible
        return Looks(mean, seen)

    def _maps(self, parts: Sequence[Sequence[Instance]]) -> Generator[Maps]:
        """For each part those of its images, in their order: for each stride (n, width, h, w), n up to batch_size."""
        with closing(self._features(parts)) as chunks:
            for features in chunks:
                with self._timed(), torch.inference_mode():
                    maps = self.model.backbone.embed(features)
                yield maps

    def _features(self, parts: Sequence[Sequence[Instance]]) -> Generator[Maps]:
        """For each part what `Backbone.features` gives for its images."""
        backbone, size = self.model.backbone, self.batch_size
        if self.kept is not None:
            for part in parts:
                yield tuple(maps.to(self.device) for maps in self.kept(part))
            return
        every = itertools.chain.from_iterable(parts)
        images = query_images(self.pack, every, self.data.size, torch.get_num_threads(), size)
        with closing(images):
            for part in parts:
                some = list(itertools.islice(images, len(part)))
                stacked = stack_images(some)
                if self.model.way.shaped:
                    stacked = filled(stacked, size)
                with self._timed(), torch.inference_mode():
                    maps = tuple(seen[: len(some)] for seen in backbone.features(stacked.to(self.device)))
                yield maps

    @torch.inference_mode()
    def _decode(self, asked: Sequence[_Asked], features: Maps) -> tuple[np.ndarray, np.ndarray]:
        """P pairs of one or several categories. Returns float64 (P, K, 2) source pixels, K the largest there is, and
        their scores, float (P, K)."""
        looks = [seen for part in asked for seen in part.seen()]
        asking = pair_batch([(part.shown, part.queries) for part in asked], looks)
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
    """Pairs of a category: what is shown of their supports, whose images those are and how these look, where the model
    looks at any, which keypoints count, bool (P, K), and the queries."""

    shown: Shown
    at: LookedAt | None
    looks: Looks | None
    visible: np.ndarray
    queries: Sequence[Instance]

    def of(self, rows: np.ndarray) -> _Asked:
        template, known, adjacency, *_ = self.shown
        at = self.at and replace(self.at, supports=self.at.supports[rows], order=self.at.order[rows])
        chosen = [self.queries[row] for row in rows]
        return _Asked(Shown(template[rows], known[rows], adjacency), at, self.looks, self.visible[rows], chosen)

    def seen(self) -> list[Looks]:
        """How each pair's supports look, averaged, in the order that is shown; empty for a model that doesn't look."""
        if self.at is None or self.looks is None:
            return []
        place = self.at.supports[:, :, None], self.at.order[:, None]
        return [averaged(self.looks.mean[place], self.looks.seen[place])]
