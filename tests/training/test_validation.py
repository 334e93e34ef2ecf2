from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from capetune.config import Config
from capetune.datasets.packs.reader import Pack
from capetune.evaluation.evaluate import evaluate
from capetune.evaluation.model import ModelPredictor
from capetune.training.checkpoint import load_model
from capetune.training.loop import Metrics
from capetune.training.ranks import Ranks
from capetune.training.validation import Validation

from .conftest import Run, untimed


def test_reported_scores_are_those_of_the_checkpoint(run: Run, config: Config, pack: Pack) -> None:
    model, meta = load_model(run.folder / "2")
    settings = config.validation
    part = pack.part(config.data.split, "val")
    report = evaluate(
        part, ModelPredictor(model, pack, config.data), settings.shots, settings.episodes, settings.queries
    )
    assert report.scores.mpck4 == pytest.approx(meta.metrics["mpck4"], abs=1e-9)
    assert report.template.mpck4 == meta.metrics["template_mpck4"]


def together(world: int, work: Callable[[Ranks], Metrics]) -> list[Metrics]:
    """What `work` gives on each of `world` ranks that gather from one another."""
    arrays: list[np.ndarray] = [np.zeros(0)] * world
    barrier = threading.Barrier(world, timeout=60)

    def one(rank: int) -> Metrics:
        def gather(array: np.ndarray) -> list[np.ndarray]:
            arrays[rank] = array
            barrier.wait()
            all_of_them = list(arrays)
            barrier.wait()
            return all_of_them

        return work(Ranks(rank, world, gather=gather))

    with ThreadPoolExecutor(world) as pool:
        return list(pool.map(one, range(world)))


@pytest.mark.parametrize(("world", "queries"), [(3, 1), (2, 1), (2, 3), (4, 3), (2, 4)])
def test_ranks_validate_as_one(run: Run, config: Config, pack: Pack, world: int, queries: int) -> None:
    """With 1 query a category the third rank has no pair at all; of 6 pairs, two of four ranks have one fewer."""
    model, _ = load_model(run.folder / "2")
    config = config.with_overrides({"validation.queries": queries})
    single = Validation(model, pack, config, Ranks())()
    first, *others = together(world, lambda ranks: Validation(model, pack, config, ranks)())
    assert all(other == first for other in others)
    for name, value in untimed([single])[0].items():
        assert first[name] == pytest.approx(value, rel=1e-5 if name.startswith(("val_", "score_")) else 1e-6), name
