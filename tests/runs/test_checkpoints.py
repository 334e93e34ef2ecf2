from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from torch.nn import Linear

from capetune.config import Config
from capetune.errors import UserError
from capetune.runs.checkpoints import (
    CheckpointMeta,
    best_checkpoint,
    find_checkpoints,
    keep_checkpoints,
    latest_checkpoint,
    read_meta,
)
from capetune.training.checkpoint import save_checkpoint

DATA = {"data": "synthetic", "split": 1}


@pytest.fixture
def config() -> Config:
    return Config()


@pytest.fixture
def folder(config: Config, tmp_path: Path) -> Path:
    """A checkpoint; of its weights nothing here is asked."""
    folder = tmp_path / "trial" / "checkpoint"
    save_checkpoint(folder, Linear(1, 1), CheckpointMeta(config, 3, {"mpck4": 0.25}, DATA), {})
    return folder


def edit(folder: Path, **changes: object) -> None:
    tree = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({k: v for k, v in (tree | changes).items() if v is not None}))


def refused(do: Callable[[], object], *words: str) -> None:
    with pytest.raises(UserError) as caught:
        do()
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    refused(lambda: read_meta(tmp_path), "not a capetune checkpoint", "no meta.json")
    refused(lambda: read_meta(tmp_path / "absent"), "not a capetune checkpoint")


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", '{"format": "other"}', "{}"])
def test_foreign_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "meta.json").write_text(text)
    refused(lambda: read_meta(tmp_path), "not a capetune checkpoint", "meta.json")


def test_a_newer_schema_asks_for_an_update(folder: Path) -> None:
    edit(folder, schema=2)
    refused(lambda: read_meta(folder), "schema 2", "update capetune")


@pytest.mark.parametrize("key", ["config", "epoch", "metrics", "data"])
def test_a_meta_without_a_part_is_refused(folder: Path, key: str) -> None:
    edit(folder, **{key: None})
    refused(lambda: read_meta(folder), "lacks a part")


@pytest.mark.parametrize("change", [{"epoch": "many"}, {"metrics": 3}, {"config": {"modle": {}}}, {"config": 1}])
def test_a_meta_with_nonsense_is_refused(folder: Path, change: dict[str, object]) -> None:
    edit(folder, **change)
    refused(lambda: read_meta(folder))


def test_the_best_of_a_run_has_the_highest_mpck4(config: Config, tmp_path: Path) -> None:
    assert best_checkpoint(tmp_path) is None
    for name, metrics in {"a": {"mpck4": 0.2}, "b/c": {"mpck4": 0.6}, "d": {}}.items():
        save_checkpoint(tmp_path / name, Linear(1, 1), CheckpointMeta(config, 1, metrics, {}), {})
    (tmp_path / "unfinished").mkdir()
    assert [path.name for path, _ in find_checkpoints(tmp_path)] == ["a", "c", "d"]
    best = best_checkpoint(tmp_path)
    assert best is not None
    assert best[0] == tmp_path / "b" / "c"
    assert best[1].score == 0.6


@pytest.mark.parametrize(
    ("mode", "also_latest", "best", "left"),
    [
        ("max", True, 2, [2, 4]),
        ("max", False, 2, [2]),  # the first of equals
        ("min", True, 1, [1, 4]),
    ],
)
def test_the_best_and_the_latest_are_kept(config: Config, tmp_path: Path, mode, also_latest, best, left) -> None:
    for epoch, score in enumerate((0.1, 0.5, 0.5, 0.3), start=1):
        meta = CheckpointMeta(config, epoch, {"mpck5": score}, DATA)
        save_checkpoint(tmp_path / f"epoch-{epoch:04d}", Linear(1, 1), meta, {})
    assert keep_checkpoints(tmp_path, "mpck5", mode, also_latest) == tmp_path / f"epoch-{best:04d}"
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"epoch-{epoch:04d}" for epoch in left]
    assert latest_checkpoint(tmp_path)[0].name == f"epoch-{left[-1]:04d}"


def test_nothing_is_the_best_of_nothing(tmp_path: Path) -> None:
    assert keep_checkpoints(tmp_path) is None
    assert latest_checkpoint(tmp_path) is None
