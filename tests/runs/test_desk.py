from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from capetune.errors import UserError
from capetune.runs.checkpoints import UNDER_WAY
from capetune.runs.desk import at_bench
from capetune.runs.history import read_history
from capetune.storage.address import open_place
from capetune.storage.lease import Superseded, take
from capetune.storage.place import Place
from capetune.training.checkpoint import Drawing, load_under_way, save_under_way

Checkpoint = Callable[[Path, int], None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a run that is worked on."""
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "cache"))
    return f"memory://{uuid4().hex}/runs/one"


@pytest.fixture
def place(run: str) -> Place:
    return open_place(run)


def keep(bench, checkpoint: Checkpoint, epoch: int, score: float) -> str | None:
    metrics = {"epoch": epoch, "mpck4": score}
    save = lambda path: checkpoint(path.parent, epoch)  # noqa: E731
    return bench.keep_epoch(metrics, save, lambda row: None, "mpck4", "max")[1]


def test_a_training_in_a_folder_works_in_it(tmp_path: Path, checkpoint: Checkpoint) -> None:
    with at_bench(str(tmp_path), "", 0) as bench:
        assert bench.folder == tmp_path
        assert keep(bench, checkpoint, 1, 0.1) is None
        bench.bring(tmp_path / "epoch-0001")
    assert (tmp_path / "epoch-0001/meta.json").is_file()
    assert read_history(tmp_path)[0]["seconds_upload"] == 0


def test_each_epoch_goes_to_the_address_and_the_next_sitting_goes_on_from_there(
    run: str, place: Place, checkpoint: Checkpoint
) -> None:
    lease = take(place)
    with at_bench(f"{run}/trials/trial-000", run, lease.number) as bench:
        for epoch in (1, 2):
            keep(bench, checkpoint, epoch, 0.1 * epoch)
        gone = bench.folder
    assert not gone.exists()
    with at_bench(f"{run}/trials/trial-000", run, lease.number) as bench:
        assert [row["epoch"] for row in read_history(bench.folder)] == [1, 2]
        assert (bench.folder / "epoch-0002/model.safetensors").is_file()
        keep(bench, checkpoint, 3, 0.3)
    names = {name for name in place.names() if "epoch-" in name}
    assert {name.split("/")[2] for name in names} == {"epoch-0003"}


def test_an_epoch_tells_for_how_long_the_training_waited_for_what_it_sent(
    run: str, place: Place, checkpoint: Checkpoint
) -> None:
    with at_bench(f"{run}/trials/trial-000", run, take(place).number) as bench:
        keep(bench, checkpoint, 1, 0.1)
        bench.sender.waited += 100.0  # a wait after the epoch's row was written belongs to the next row
        keep(bench, checkpoint, 2, 0.2)
        keep(bench, checkpoint, 3, 0.3)
        first, second, third = (row["seconds_upload"] for row in read_history(bench.folder))
    assert 0 < first < 100 <= second
    assert 0 < third < 100


def test_an_epoch_under_way_goes_to_the_address_until_it_has_ended(
    run: str, place: Place, checkpoint: Checkpoint
) -> None:
    drawing = Drawing(steps=9, world=1, loaders=0, batch=4, turns=1, order=2, begun=0)

    def under_way(step: int) -> Callable[[Path], None]:
        return partial(save_under_way, epoch=2, step=step, drawing=drawing, state={"step": step})

    lease = take(place)
    with at_bench(f"{run}/job", run, lease.number) as bench:
        keep(bench, checkpoint, 1, 0.1)
        for step in (3, 6):
            assert bench.keep_under_way(under_way(step)) is None
    assert len([name for name in place.names() if UNDER_WAY in name]) == 2  # the first is there no longer
    with at_bench(f"{run}/job", run, lease.number) as bench:
        assert load_under_way(bench.folder, 2) == (6, drawing, {"step": 6})
        keep(bench, checkpoint, 2, 0.2)
    assert not [name for name in place.names() if UNDER_WAY in name]


def test_a_best_epoch_that_is_not_the_latest_is_brought_when_it_is_wanted(
    run: str, place: Place, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    lease = take(place)
    for epoch in (1, 2):
        checkpoint(tmp_path / "made", epoch)
    for file in (tmp_path / "made").rglob("*.*"):
        place.send(file, f"job/{file.relative_to(tmp_path / 'made').as_posix()}")
    with at_bench(f"{run}/job", run, lease.number) as bench:
        weights = bench.folder / "epoch-0001/model.safetensors"
        assert not weights.exists()
        bench.bring(bench.folder / "epoch-0001")
        assert weights.is_file()
    assert "job/epoch-0001/model.safetensors" in list(place.names())


def test_a_rank_that_does_not_send_only_reads(run: str, place: Place, checkpoint: Checkpoint) -> None:
    lease = take(place)
    with at_bench(f"{run}/job", run, lease.number, sends=False) as bench:
        (bench.folder / "x.json").write_text("1")
        bench.send()
    assert not [name for name in place.names() if name.startswith("job/")]


def test_a_training_whose_run_was_taken_over_sends_nothing_and_ends(
    run: str, place: Place, checkpoint: Checkpoint
) -> None:
    old = take(place)

    def train() -> None:
        with at_bench(f"{run}/job", run, old.number) as bench:
            old.end()
            take(place)
            keep(bench, checkpoint, 1, 0.1)

    with pytest.raises(Superseded):
        train()
    assert not [name for name in place.names() if name.startswith("job/")]


def test_what_can_not_be_sent_is_told_with_the_next_epoch_and_goes_with_it(
    run: str, place: Place, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = take(place)
    with at_bench(f"{run}/job", run, lease.number) as bench:
        assert bench.sender is not None
        really = bench.sender.copy.send

        def away() -> None:
            raise UserError("s3://b/runs: the store answers 503")

        monkeypatch.setattr(bench.sender.copy, "send", away)
        assert keep(bench, checkpoint, 1, 0.1) is None
        bench.sender.sent.exception(10)
        monkeypatch.setattr(bench.sender.copy, "send", really)
        assert keep(bench, checkpoint, 2, 0.2) == "s3://b/runs: the store answers 503"
    assert {"job/history.jsonl", "job/epoch-0002/meta.json"} <= set(place.names())
