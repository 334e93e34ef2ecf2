from __future__ import annotations

import functools
from pathlib import Path

import pytest
from torch.nn import Linear

from capetune.config import Config
from capetune.errors import UserError
from capetune.runs.checkpoints import CheckpointMeta, keep_epoch, resume_point
from capetune.runs.history import add_to_history, read_history
from capetune.training.checkpoint import save_checkpoint


class Meta:
    def __init__(self, score):
        self.score = score


def test_an_epoch_that_is_repeated_replaces_itself_and_what_came_after(tmp_path):
    for epoch, loss in ((1, 3.0), (2, 2.0), (3, 1.0), (2, 2.5)):
        add_to_history(tmp_path, {"epoch": epoch, "loss": loss})
    assert read_history(tmp_path) == [{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 2.5}]
    assert [path.name for path in tmp_path.iterdir()] == ["history.jsonl"]
    assert read_history(tmp_path / "nowhere") == []


@pytest.mark.parametrize("line", ["{", "3", "[]", "{}", '{"epoch": "one"}', ""])
def test_a_damaged_history_is_said_with_its_line(tmp_path, line):
    (tmp_path / "history.jsonl").write_text(f'{{"epoch": 1}}\n{line}\n')
    with pytest.raises(UserError, match=r"history.jsonl, line 2 is no epoch of a training"):
        read_history(tmp_path)


@pytest.mark.parametrize("known", [1, 2])
def test_a_training_goes_on_from_its_latest_epoch_whose_metrics_are_made_good(tmp_path: Path, known) -> None:
    for epoch in (1, 2):
        metrics = {"epoch": epoch, "mpck4": 0.1 * epoch}
        if epoch <= known:
            add_to_history(tmp_path, metrics)
        meta = CheckpointMeta(Config(), epoch, metrics, {})
        save_checkpoint(tmp_path / f"epoch-{epoch:04d}", Linear(1, 1), meta, {})
    assert resume_point(tmp_path, mend=False) == tmp_path / "epoch-0002"
    assert len(read_history(tmp_path)) == known
    assert resume_point(tmp_path) == tmp_path / "epoch-0002"
    assert read_history(tmp_path) == [{"epoch": 1, "mpck4": 0.1}, {"epoch": 2, "mpck4": 0.2}]


def test_an_epoch_tried_again_replaces_what_was_left_of_it_and_of_later_ones(tmp_path: Path) -> None:
    written: list[float] = []

    def keep(epoch: int, score: float) -> Path:
        metrics = {"epoch": epoch, "mpck4": score}
        meta = CheckpointMeta(Config(), epoch, metrics, {})
        save = functools.partial(save_checkpoint, model=Linear(1, 1), meta=meta, training={})
        return keep_epoch(tmp_path, metrics, save, lambda row: written.append(row["mpck4"]), "mpck4", "max")

    for epoch, score in enumerate((0.3, 0.1, 0.2), 1):
        assert keep(epoch, score) == tmp_path / f"epoch-{epoch:04d}"
    assert sorted(path.name for path in tmp_path.glob("epoch-*")) == ["epoch-0001", "epoch-0003"]  # best and latest
    keep(2, 0.4)
    assert [path.name for path in tmp_path.glob("epoch-*")] == ["epoch-0002"]
    rows = read_history(tmp_path)
    assert all(row.pop("seconds_checkpoint") > 0 for row in rows)
    assert rows == [{"epoch": 1, "mpck4": 0.3}, {"epoch": 2, "mpck4": 0.4}]
    assert written == [0.3, 0.1, 0.2, 0.4]
