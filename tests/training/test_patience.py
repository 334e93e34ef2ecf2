from __future__ import annotations

from pathlib import Path

from capetune.config import Config
from capetune.datasets.packs.reader import Pack
from capetune.runs.history import at_end
from capetune.training.loop import Metrics, Save, fit
from capetune.training.patience import STATE, Patience


def heard(patience: Patience, *scores: float) -> list[dict[str, float]]:
    rows = [{patience.metric: score} for score in scores]
    for row in rows:
        patience.hear(row)
    return rows


def test_it_is_spent_after_so_many_on_end_that_are_no_better() -> None:
    patience = Patience(2)
    rows = heard(patience, 0.1, 0.3, 0.3, 0.4, 0.2)
    assert [row["stale"] for row in rows] == [0, 0, 1, 0, 1]
    assert not patience.spent
    heard(patience, 0.4)
    assert patience.spent


def test_less_is_better_of_a_loss_and_without_a_most_it_is_never_spent() -> None:
    patience = Patience(None, "val_loss", "min")
    rows = heard(patience, 3.0, 2.0, *[2.0] * 50)
    assert not patience.spent
    assert "stale" not in rows[-1]
    assert patience.state() == {"best": 2.0, "stale": 50}


def test_the_count_goes_on_with_what_a_checkpoint_keeps() -> None:
    before, after = Patience(3), Patience(3)
    heard(before, 0.5, 0.4, 0.3)
    after.go_on({STATE: before.state()}, {"mpck4": 0.3})
    heard(after, 0.45)
    assert after.spent
    older = Patience(1)
    older.go_on({}, {"mpck4": 0.3})
    heard(older, 0.3)
    assert older.spent


def test_a_training_ends_when_it_is_spent_and_stays_ended_when_resumed(
    config: Config, pack: Pack, tmp_path: Path
) -> None:
    """Nothing is learnt at such a rate, so the second epoch is as good as the first."""
    frozen = {"model.backbone.frozen": "all", "train.learning_rate": 1e-30, "train.steps": 1}
    still = config.with_overrides({**frozen, "train.epochs": 9, "train.patience": 1})
    rows: list[Metrics] = []

    def report(metrics: Metrics, save: Save) -> None:
        rows.append(metrics)
        save(tmp_path / f"{metrics['epoch']:.0f}")

    fit(still, pack, report)
    assert [row["stale"] for row in rows] == [0, 1]
    assert at_end(rows, still.train)
    assert not at_end(rows, still.with_overrides({"train.patience": 2}).train)
    again = Patience(1)
    fit(still, pack, report, resume=tmp_path / "2", patience=again)
    assert again.spent
    assert len(rows) == 2
