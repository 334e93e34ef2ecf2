"""One evaluation by several workers of a cluster: each image is looked at by one of them, with all its pairs."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from capetune.cluster.crew import Crew
from capetune.datasets.packs.reader import Pack, open_pack
from capetune.errors import UserError
from capetune.evaluation.model import ModelPredictor, pairs_at_once
from capetune.evaluation.order import Assembly, slices
from capetune.evaluation.protocol import CategoryPairs
from capetune.evaluation.support import supports
from capetune.events import Doubted, Listener
from capetune.pose import Instance, Part
from capetune.runs.checkpoints import CheckpointMeta
from capetune.training.checkpoint import model_of, read_weights
from capetune.tuning.preflight import Plan


@dataclass(frozen=True, eq=False)
class _Work:
    """What every worker must know. pack: its address. support: a name of `supports`. size: of a batch."""

    meta: CheckpointMeta
    weights: bytes
    pack: str
    fingerprint: str
    split: int
    part: str
    support: str
    size: int
    pairs: tuple[CategoryPairs, ...]


class SpreadPredictor:
    """A checkpoint's model, whose slices a crew of `scorers` predicts: what a `ModelPredictor` of it gives, to the last
    digit where threads and machines are alike. `scores`, and `size`, a batch's, as there."""

    name = "model"

    def __init__(
        self,
        crew: Crew,
        checkpoint: Path,
        meta: CheckpointMeta,
        pack: Pack,
        part: Part,
        support: str = "own",
        size: int | None = None,
    ) -> None:
        self.crew, self.size, self.scores = crew, size or pairs_at_once(meta.config.data.size), list[np.ndarray]()
        of = (pack.place.resolved, pack.fingerprint, part.split, part.part)
        told = (read_weights(checkpoint), *of, support, self.size)
        self._work = partial(_Work, meta, *told)

    def predict_all(
        self, instances: Mapping[int, Sequence[Instance]], pairs: Sequence[CategoryPairs]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """As `Predictor` has it; `instances` are those of the part."""
        whole, parts = Assembly(pairs), slices(pairs, self.size)
        self.scores = whole.scores
        yield from whole.empty()
        for number, points in self.crew.over(self._work(tuple(pairs)), range(len(parts))):
            yield from whole.take(parts[number].rows, points)


def scorers(plan: Plan, workers: int, name: str, listener: Listener) -> Crew:
    """Workers for `SpreadPredictor`, of the plan's CPUs or GPU each. The listener hears of those that are lost."""
    make = partial(_Scorer, plan.threads, plan.device)
    return Crew(make, workers, plan.reserved, name, lambda line: listener(Doubted(line)))


class _Scorer:
    """In a worker: predicts slices, with the model of the latest work at hand."""

    def __init__(self, threads: int, device: str) -> None:
        torch.set_num_threads(threads)
        self.device, self.known = device, -1

    def __call__(self, number: int, work: _Work, part: int) -> np.ndarray:
        """A slice's predictions, float64 (n, K, 3): x, y in source pixels and score; K is its largest.

        Raises UserError where this machine can't read the pack, or has another one there.
        """
        if number != self.known:
            self._take(work)
            self.known = number
        found = [points for _, points in self.predictor.decoded(self.instances, self.pairs, [self.slices[part]])]
        most = max(points.shape[1] for points in found)
        return np.concatenate([np.pad(each, ((0, 0), (0, most - each.shape[1]), (0, 0))) for each in found])

    def _take(self, work: _Work) -> None:
        try:
            pack = open_pack(work.pack)
        except UserError as error:
            raise UserError(f"machine {socket.gethostname()}: {error}") from None
        if pack.fingerprint != work.fingerprint:
            raise UserError(f"machine {socket.gethostname()} has another pack at {work.pack}: give one that all share")
        part, data = pack.part(work.split, work.part), work.meta.config.data
        shown = supports(part, work.meta.config.model.support.looks)[work.support]
        model = model_of(work.meta, work.weights).settle(self.device)
        self.predictor = ModelPredictor(model, pack, data, self.device, work.size, support=shown)
        self.instances, self.pairs = part.instances, work.pairs
        self.slices = slices(work.pairs, work.size)
