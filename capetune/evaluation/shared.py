"""One evaluation by several processes: each image is decoded by one of them, and all know all predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from capetune.evaluation.model import ModelPredictor
from capetune.evaluation.order import decoding_order
from capetune.evaluation.protocol import CategoryPairs
from capetune.pose import Instance

Gather = Callable[[np.ndarray], list[np.ndarray]]


class SharedPredictor:
    """Deals the images to `world` ranks, with all pairs that ask about them, and gives every rank all predictions.

    gather: gives every rank each rank's array, float64 (n,), in the order of ranks; n differs. It is called once.
    """

    name = "model"

    def __init__(self, predictor: ModelPredictor, rank: int, world: int, gather: Gather) -> None:
        self.predictor = predictor
        self.rank = rank
        self.world = world
        self.gather = gather

    def predict_all(
        self, instances: Mapping[int, Sequence[Instance]], pairs: Sequence[CategoryPairs]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """As `Predictor` has it, after all ranks are done."""
        owner = dealt(pairs, self.world)
        mine = [
            replace(drawn, supports=drawn.supports[of == self.rank], queries=drawn.queries[of == self.rank])
            for drawn, of in zip(pairs, owner, strict=True)
        ]
        found = dict(self.predictor.predict_all(instances, mine))
        shares = self.gather(np.concatenate([found[entry].ravel() for entry in range(len(pairs))]))
        taken = [0] * self.world
        for entry, (drawn, of) in enumerate(zip(pairs, owner, strict=True)):
            out = np.empty((len(drawn.queries), drawn.category.graph.size, 2))
            for rank, share in enumerate(shares):
                here = of == rank
                count = int(here.sum()) * 2 * drawn.category.graph.size
                out[here] = share[taken[rank] : taken[rank] + count].reshape(-1, *out.shape[1:])
                taken[rank] += count
            yield entry, out


def dealt(pairs: Sequence[CategoryPairs], world: int) -> list[np.ndarray]:
    """For each entry of `pairs` the rank of each pair, int64 (P,): images go round the ranks in the order of decoding,
    so that all ranks get as many images of as many keypoints."""
    order, image = decoding_order(pairs)
    begins = np.cumsum([0, *(len(drawn.queries) for drawn in pairs)])
    owner = np.empty(begins[-1], dtype=np.int64)
    owner[begins[order[:, 0]] + order[:, 1]] = image % world
    return np.split(owner, begins[1:-1])
