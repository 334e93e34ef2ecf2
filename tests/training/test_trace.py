from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from capetune.config import Config
from capetune.datasets.packs.reader import Pack
from capetune.training.loop import fit
from capetune.training.trace import Tracer

from .conftest import Run, untimed


def traced(config: Config, pack: Pack, folder: Path, steps: int) -> tuple[list[tuple[int, int, int]], list, list[str]]:
    """What the tracer of a training of so many steps an epoch said, the training's metrics, and the files it left."""
    said: list[tuple[int, int, int]] = []
    rows: list = []
    tracer = Tracer(folder / "trace.json.gz", lambda *numbers: said.append(numbers))
    changed = config.with_overrides({"train.steps": steps})
    fit(changed, pack, lambda metrics, save: rows.append(dict(metrics)), progress=tracer.step)
    return said, rows, [file.name for file in folder.iterdir()]


def test_the_third_to_the_fifth_step_of_the_first_epoch_are_traced(config: Config, pack: Pack, tmp_path: Path) -> None:
    said, _, files = traced(config, pack, tmp_path, 7)
    assert (said, files) == ([(1, 3, 5)], ["trace.json.gz"])
    tree = json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes()))
    names = [event.get("name", "") for event in tree["traceEvents"]]
    assert sum(name.startswith("ProfilerStep#") for name in names) == 3
    assert sum(name.startswith("Optimizer.step#") for name in names) == 3
    assert any("convolution" in name for name in names)


@pytest.mark.parametrize(("steps", "said"), [(4, (1, 2, 4)), (2, (1, 2, 2)), (1, (1, 0, 0))])
def test_of_a_short_epoch_the_last_steps_are(
    config: Config, pack: Pack, tmp_path: Path, steps: int, said: tuple[int, int, int]
) -> None:
    heard, _, files = traced(config, pack, tmp_path, steps)
    assert heard == [said]
    assert files == (["trace.json.gz"] if said[1] else [])


def test_a_traced_training_takes_the_same_course(run: Run, config: Config, pack: Pack, tmp_path: Path) -> None:
    assert untimed(traced(config, pack, tmp_path, config.train.steps)[1]) == untimed(run.metrics)
