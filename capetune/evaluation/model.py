"""The model as a predictor: an image goes through the backbone once, however many pairs ask about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from capetune.config import DataConfig, LossConfig
from capetune.datasets.batch import template_in_crop
from capetune.datasets.crop import apply, invert, source_to_unit
from capetune.datasets.pack import Pack
from capetune.datasets.queries import encode_queries
from capetune.datasets.templates import mean_template, normalise
from capetune.models.estimator import PoseEstimator
from capetune.models.losses import total_loss
from capetune.pose import Batch, Category, Instance

Gather = Callable[[np.ndarray], list[np.ndarray]]


class ModelPredictor:
    """Predicts the pairs of one category at a time.

    losses: where given, the teacher-forced losses of all predicted pairs are averaged as well (see `mean_losses`).
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
    ) -> None:
        self.model = model.eval()
        self.pack = pack
        self.data = data
        self.device = torch.device(device)
        self.batch_size = batch_size
        self.losses = losses
        self.pairs = 0  # predicted so far, where losses are averaged
        self._sums = dict.fromkeys(("loss", "tokens", "coordinates"), 0.0)

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
        for begin in range(0, len(queries), self.batch_size):
            now = slice(begin, begin + self.batch_size)
            batch = pair_batch(category, instances, supports[now], queries[now]).to(self.device)
            seen = features[torch.as_tensor(row[now], device=self.device)]
            unit = self.model.predict(batch, seen).xy.double().cpu().numpy()
            to_source = batch.to_source.cpu().numpy()
            out[now] = np.einsum("pij,pkj->pki", to_source[:, :, :2], unit) + to_source[:, None, :, 2]
            if self.losses is not None:
                self._add(batch, seen)
        return out

    def mean_losses(self) -> dict[str, float]:
        """Teacher-forced losses over the pairs predicted so far: loss, tokens, coordinates."""
        return {name: value / max(self.pairs, 1) for name, value in self._sums.items()}

    def _features(self, instances: Sequence[Instance]) -> torch.Tensor:
        """(N, width, h, w)."""
        maps = []
        for begin in range(0, len(instances), self.batch_size):
            images, _ = encode_queries(self.pack, instances[begin : begin + self.batch_size], self.data.size)
            maps.append(self.model.backbone(images.to(self.device)))
        return torch.cat(maps)

    def _add(self, batch: Batch, features: torch.Tensor) -> None:
        assert self.losses is not None
        output = self.model(batch, features=features)
        for name, value in total_loss(output.logits, output.points, output.tokens, self.losses).items():
            self._sums[name] += value.item() * len(batch)
        self.pairs += len(batch)


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


def pair_batch(category: Category, instances: Sequence[Instance], supports: np.ndarray, queries: np.ndarray) -> Batch:
    """P pairs as a batch without pixels: images is (P, 3, 0, 0), to go with features that are at hand.

    The template is the mean pose of the supports, placed in the query's box; nothing else of the query enters.
    """
    normal = np.stack([normalise(instance) for instance in instances])
    visible = np.stack([instance.visible for instance in instances])
    template, known = mean_template(normal[supports], visible[supports])
    chosen = [instances[i] for i in queries]
    boxes = np.stack([query.box for query in chosen])
    to_unit = [source_to_unit(box) for box in boxes]
    placed = [template_in_crop(pose, box) for pose, box in zip(template, boxes, strict=True)]
    target = np.stack([apply(affine, query.xy) for affine, query in zip(to_unit, chosen, strict=True)])
    inside = ((target >= 0) & (target <= 1)).all(axis=-1)
    shown = np.stack([query.visible for query in chosen]) & inside
    count = len(queries)
    adjacency = torch.from_numpy(category.graph.adjacency())
    return Batch(
        images=torch.zeros((count, 3, 0, 0), dtype=torch.uint8),
        template=torch.from_numpy(np.stack(placed)).float(),
        template_known=torch.from_numpy(known),
        adjacency=adjacency.expand(count, -1, -1),
        joints=torch.ones((count, category.graph.size), dtype=torch.bool),
        target=torch.from_numpy(np.where(shown[..., None], target, 0.0)).float(),
        visible=torch.from_numpy(shown),
        to_source=torch.from_numpy(np.stack([invert(affine) for affine in to_unit])),
        side=torch.tensor([query.side for query in chosen], dtype=torch.float64),
        ids=torch.tensor([query.id for query in chosen], dtype=torch.int64),
    )
