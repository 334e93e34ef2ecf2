"""The model as a predictor: an image goes through the backbone once, however many pairs ask about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from capetune.config import DataConfig, LossConfig
from capetune.datasets.episodes.batch import template_in_crop
from capetune.datasets.episodes.queries import encode_queries
from capetune.datasets.packs.crop import apply, invert, source_to_unit
from capetune.datasets.packs.reader import Pack
from capetune.evaluation.pck import mpck4, pck_curve
from capetune.evaluation.protocol import CategoryPairs, pair_visible
from capetune.evaluation.support import Shown, Support, own
from capetune.models.backbone import Maps
from capetune.models.estimator import PoseEstimator
from capetune.models.losses import total_loss
from capetune.pose import Batch, Category, Instance

Gather = Callable[[np.ndarray], list[np.ndarray]]


class ModelPredictor:
    """Predicts the pairs of one category at a time.

    losses: where given, all predicted pairs are decoded teacher-forced as well (see `mean_losses`). support: what the
    model is shown of the supports. kept: gives what `Backbone.features` once gave for instances, in place of images.
    """

    name = "model"

    def __init__(
        self,
        model: PoseEstimator,
        pack: Pack,
        data: DataConfig,
        device: torch.device | str = "cpu",
        batch_size: int = 64,
        losses: LossConfig | None = None,
        support: Support = own,
        kept: Callable[[Sequence[Instance]], Maps] | None = None,
    ) -> None:
        self.model = model.eval()
        self.pack = pack
        self.data = data
        self.device = torch.device(device)
        self.batch_size = batch_size
        self.losses = losses
        self.support = support
        self.kept = kept
        self.pairs = 0  # predicted so far
        self.seconds = 0.0  # from images to keypoints, of all these pairs
        self._sums = dict.fromkeys(("loss", "tokens", "coordinates", "forced_mpck4"), 0.0)

    @torch.no_grad()
    def predict(
        self, category: Category, instances: Sequence[Instance], supports: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        """supports: int (P, shots), queries: int (P,), positions in `instances`. Returns float64 (P, K, 2)
        source pixels; P may be 0."""
        if not len(queries):  # a rank beyond the number of pairs
            return np.empty((0, category.graph.size, 2))
        used = np.unique(queries)
        features = self._features([instances[i] for i in used])
        row = np.searchsorted(used, queries)
        out = np.empty((len(queries), category.graph.size, 2))
        template, known, adjacency = self.support(category, instances, supports)
        visible = pair_visible(instances, CategoryPairs(category, supports, queries))
        for begin in range(0, len(queries), self.batch_size):
            now = slice(begin, begin + self.batch_size)
            shown = (template[now], known[now], adjacency)
            batch = pair_batch(shown, [instances[i] for i in queries[now]]).to(self.device)
            chosen = torch.as_tensor(row[now], device=self.device)
            seen = tuple(maps[chosen] for maps in features)
            with self._timed():
                out[now] = to_source(self.model.predict(batch, seen).xy, batch)
            self.pairs += len(batch)
            if self.losses is not None:
                self._add(batch, seen, visible[now], [instances[i].xy for i in queries[now]])
        return out

    def mean_losses(self) -> dict[str, float]:
        """Teacher-forced, over the pairs predicted so far: loss, tokens, coordinates, and forced_mpck4.

        The last is the mPCK4 that the model would have if every keypoint before the one it writes were the true one:
        what it lacks generating is lost to its own mistakes. It is no performance.
        """
        return {name: value / max(self.pairs, 1) for name, value in self._sums.items()}

    @contextmanager
    def _timed(self) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds += time.perf_counter() - begun

    def _features(self, instances: Sequence[Instance]) -> Maps:
        """For each stride (N, width, h, w)."""
        chunks = []
        for begin in range(0, len(instances), self.batch_size):
            now = instances[begin : begin + self.batch_size]
            if self.kept is not None:
                maps = tuple(kept.to(self.device) for kept in self.kept(now))
                chunks.append(self.model.backbone.embed(maps))
                continue
            images, _ = encode_queries(self.pack, now, self.data.size)
            with self._timed():
                chunks.append(self.model.backbone(images.to(self.device)))
        return tuple(torch.cat(maps) for maps in zip(*chunks, strict=True))

    def _add(self, batch: Batch, features: Maps, visible: np.ndarray, truth: list[np.ndarray]) -> None:
        assert self.losses is not None
        output = self.model(batch, features=features)
        losses = total_loss(output.logits, output.points, output.tokens, self.losses)
        forced = to_source(output.forced, batch)
        curve = pck_curve(forced, np.stack(truth), visible, batch.side.cpu().numpy())
        losses["forced_mpck4"] = torch.as_tensor(mpck4(curve).mean())
        for name, value in losses.items():
            self._sums[name] += value.item() * len(batch)


class SharedPredictor:
    """Lets `world` ranks predict every world-th pair each and gives all of them all predictions: each pair once."""

    name = "model"

    def __init__(self, predictor: ModelPredictor, rank: int, world: int, gather: Gather) -> None:
        self.predictor = predictor
        self.rank = rank
        self.world = world
        self.gather = gather

    def predict(
        self, category: Category, instances: Sequence[Instance], supports: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        mine = slice(self.rank, None, self.world)
        shares = self.gather(self.predictor.predict(category, instances, supports[mine], queries[mine]))
        out = np.empty((len(queries), category.graph.size, 2))
        for rank, share in enumerate(shares):
            out[rank :: self.world] = share
        return out


def to_source(xy: torch.Tensor, batch: Batch) -> np.ndarray:
    """xy: (P, K, 2) in [0, 1] of the batch's crops. Returns float64 (P, K, 2) source pixels."""
    affine = batch.to_source.cpu().numpy()
    return np.einsum("pij,pkj->pki", affine[:, :, :2], xy.double().cpu().numpy()) + affine[:, None, :, 2]


def pair_batch(shown: Shown, queries: Sequence[Instance]) -> Batch:
    """P pairs as a batch without pixels: images is (P, 3, 0, 0), to go with features that are at hand.

    The template is placed in the query's box; nothing else of the query enters.
    """
    template, known, adjacency = shown
    to_unit = [source_to_unit(query.box) for query in queries]
    placed = [template_in_crop(pose, query.box) for pose, query in zip(template, queries, strict=True)]
    target = np.stack([apply(affine, query.xy) for affine, query in zip(to_unit, queries, strict=True)])
    inside = ((target >= 0) & (target <= 1)).all(axis=-1)
    visible = np.stack([query.visible for query in queries]) & inside
    count = len(queries)
    return Batch(
        images=torch.zeros((count, 3, 0, 0), dtype=torch.uint8),
        template=torch.from_numpy(np.stack(placed)).float(),
        template_known=torch.from_numpy(known),
        adjacency=torch.from_numpy(adjacency).expand(count, -1, -1),
        joints=torch.ones(known.shape, dtype=torch.bool),
        target=torch.from_numpy(np.where(visible[..., None], target, 0.0)).float(),
        visible=torch.from_numpy(visible),
        to_source=torch.from_numpy(np.stack([invert(affine) for affine in to_unit])),
        side=torch.tensor([query.side for query in queries], dtype=torch.float64),
        ids=torch.tensor([query.id for query in queries], dtype=torch.int64),
    )
