from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from capetune.errors import UserError
from capetune.runs.copy import Copy, Sender, bring, carry, fetch_latest, glance, sendable, small
from capetune.runs.record import TRACE
from capetune.storage.address import open_place
from capetune.storage.lease import Superseded, take
from capetune.storage.place import Place
from capetune.storage.scratch import scratch

Write = Callable[..., None]


@pytest.fixture
def address() -> str:
    return f"memory://{uuid4().hex}/runs"


@pytest.fixture
def place(address: str) -> Place:
    return open_place(address)


@pytest.fixture
def here(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "cache"))
    with scratch(address) as folder:
        yield folder


def put(folder: Path, **files: str) -> None:
    for name, text in files.items():
        file = folder / name.replace("__", "/").replace("_", ".").replace("epoch.", "epoch-")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def names(place: Place) -> list[str]:
    return list(place.names())


class Watched:
    """A place that notes what is asked of it, and may fail."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.asked: list[str] = []
        self.fails: str | None = None

    def __getattr__(self, verb: str):
        act = getattr(self.place, verb)

        def asked(*given):
            if verb in ("send", "delete", "fetch"):
                name = given[1] if verb == "send" else given[0]
                if self.fails is not None and self.fails in name:
                    raise UserError("the store answers 503")
                self.asked.append(f"{verb} {name}")
            return act(*given)

        return asked if callable(act) else act


def test_what_was_written_is_sent_and_what_was_not_is_not_sent_again(place: Place, here: Path) -> None:
    watched = Watched(place)
    copy = Copy(watched, here)
    put(here, run_json="1", trials__a_json="2", optuna_journal="3", features__x="4", lease__000001_json="5")
    (here / ".run.json.aside").write_text("half")
    copy.send()
    assert names(place) == ["run.json", "trials/a.json"]
    watched.asked.clear()
    copy.send()
    assert watched.asked == []
    put(here, trials__a_json="22")
    copy.send()
    assert watched.asked == ["send trials/a.json"]
    assert place.read("trials/a.json") == b"22"


def test_weights_go_before_what_makes_them_count_and_the_record_last(place: Place, here: Path) -> None:
    watched = Watched(place)
    put(here, run_json="r", history_jsonl="h", results_json="x")
    put(here / "epoch-0002", meta_json="m", model_safetensors="w", training_pt="t")
    Copy(watched, here).send()
    epoch = "send epoch-0002"
    assert watched.asked == [
        *(f"{epoch}/model.safetensors", f"{epoch}/training.pt", f"{epoch}/meta.json"),
        *("send history.jsonl", "send results.json", "send run.json"),
    ]


def test_a_checkpoint_that_is_written_over_is_not_whole_meanwhile(place: Place, here: Path) -> None:
    watched = Watched(place)
    copy = Copy(watched, here)
    put(here / "epoch-0002", meta_json="m", model_safetensors="w")
    copy.send()
    put(here / "epoch-0002", meta_json="mm", model_safetensors="ww")
    watched.asked.clear()
    copy.send()
    assert watched.asked == [
        "delete epoch-0002/meta.json",
        "send epoch-0002/model.safetensors",
        "send epoch-0002/meta.json",
    ]


def test_a_checkpoint_that_was_removed_goes_meta_first_after_what_is_new(place: Place, here: Path) -> None:
    watched = Watched(place)
    copy = Copy(watched, here)
    put(here / "epoch-0001", meta_json="m", model_safetensors="w")
    copy.send()
    for file in (here / "epoch-0001").iterdir():
        file.unlink()
    (here / "epoch-0001").rmdir()
    put(here / "epoch-0002", meta_json="m")
    watched.asked.clear()
    copy.send()
    assert watched.asked == [
        "send epoch-0002/meta.json",
        "delete epoch-0001/meta.json",
        "delete epoch-0001/model.safetensors",
    ]
    assert names(place) == ["epoch-0002/meta.json"]


def test_of_what_was_fetched_without_its_weights_these_are_removed_too(place: Place, here: Path) -> None:
    for name in ("epoch-0001/meta.json", "epoch-0001/model.safetensors", "figures/curves.png", "run.json"):
        place.write(name, b"x")
    copy = Copy(place, here)
    copy.fetch()
    assert sorted(file.name for file in here.rglob("*") if file.is_file()) == ["meta.json", "run.json"]
    copy.send()
    assert len(names(place)) == 4
    (here / "epoch-0001/meta.json").unlink()
    (here / "epoch-0001").rmdir()
    copy.send()
    assert names(place) == ["figures/curves.png", "run.json"]


def test_the_place_wins_where_both_have_changed(place: Place, here: Path) -> None:
    place.write("trials/trial-000/history.jsonl", b"new")
    place.write("run.json", b"r")
    put(here / "trials/trial-000", history_jsonl="older", left_json="x")
    put(here, other_json="mine")
    copy = Copy(place, here)
    copy.fetch("trials/trial-000")
    assert (here / "trials/trial-000/history.jsonl").read_text() == "new"
    assert not (here / "trials/trial-000/left.json").exists()
    assert (here / "other.json").read_text() == "mine"
    assert not (here / "run.json").exists()


def test_only_what_is_this_process_s_is_sent_or_removed(place: Place, here: Path) -> None:
    place.write("trials/history.jsonl", b"theirs")
    copy = Copy(place, here, lambda name: name.endswith("result.json"))
    copy.fetch()
    (here / "trials/history.jsonl").unlink()
    put(here / "trials", result_json="ours", odd_json="x")
    copy.send()
    assert names(place) == ["trials/history.jsonl", "trials/result.json"]


def test_what_fails_comes_with_the_next_sending(place: Place, here: Path) -> None:
    watched = Watched(place)
    put(here, a_json="1", b_json="2", run_json="3")
    copy = Copy(watched, here)
    watched.fails = "b.json"
    with pytest.raises(UserError, match="503"):
        copy.send()
    assert names(place) == ["a.json"]
    watched.fails = None
    watched.asked.clear()
    copy.send()
    assert watched.asked == ["send b.json", "send run.json"]


@pytest.mark.parametrize("name", ["../secret", "a/../../b", "a//b"])
def test_a_name_that_leads_out_of_the_copy_is_refused(place: Place, here: Path, name: str) -> None:
    class Odd(Watched):
        def names(self) -> Iterator[str]:
            return iter([name])

        def below(self, _: str) -> Place:
            return self  # type: ignore[return-value]

    with pytest.raises(UserError, match="which is no name of a file"):
        Copy(Odd(place), here).fetch()


def test_a_training_goes_on_from_the_latest_whole_checkpoint_and_fetches_no_other_weights(
    place: Place, here: Path, checkpoint: Callable[[Path, int], None], tmp_path: Path
) -> None:
    for epoch in (1, 2):
        checkpoint(tmp_path / "made", epoch)
    for file in (tmp_path / "made").rglob("*.*"):
        place.send(file, file.relative_to(tmp_path / "made").as_posix())
    place.write("epoch-0003/model.safetensors", b"cut")
    fetch_latest(Copy(place, here))
    weights = sorted(file.parent.name for file in here.rglob("*.safetensors"))
    assert weights == ["epoch-0002"]
    assert sorted(file.parent.name for file in here.rglob("meta.json")) == ["epoch-0001", "epoch-0002"]


def test_a_trace_goes_to_the_address_and_nobody_fetches_it() -> None:
    assert sendable(TRACE)
    assert not small(TRACE)
    assert not glance(f"one/{TRACE}")


def test_a_list_of_runs_needs_little_of_each() -> None:
    wanted = [
        "one/run.json",
        "one/results.json",
        "one/epoch-0001/meta.json",
        "one/trials/trial-000/epoch-0001/meta.json",
    ]
    others = ["one/trials/trial-000/history.jsonl", "one/epoch-0001/model.safetensors", "one/report.html", "loose"]
    assert [name for name in [*wanted, *others] if glance(name)] == wanted
    assert small("one/trials/trial-000/history.jsonl")
    assert not small("one/trials/trial-000/events.out.tfevents.1")


def test_a_folder_itself_is_neither_brought_nor_carried(tmp_path: Path) -> None:
    put(tmp_path, run_json="1")
    bring(tmp_path)
    carry(tmp_path, lambda name: True)
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_a_part_of_a_copy_is_carried_alone(place: Place, here: Path) -> None:
    put(here / "one", report_html="page", run_json="1")
    carry(here / "one", lambda name: name == "report.html")
    assert names(place) == ["one/report.html"]
    bring(here / "one", lambda name: True)
    assert not (here / "one/run.json").exists()


def test_a_sender_sends_beside_the_work_and_the_rest_at_the_end(place: Place, here: Path) -> None:
    watched = Watched(place)
    sender = Sender(Copy(watched, here), place, take(place).number)
    put(here, a_json="1")
    watched.fails = "a.json"
    sender.begin()
    assert sender.wait() == "the store answers 503"
    watched.fails = None
    put(here, b_json="2")
    sender.end()
    assert {"a.json", "b.json"} <= set(names(place))


def test_a_sender_writes_nothing_once_another_has_taken_the_run_over(place: Place, here: Path) -> None:
    lease = take(place)
    sender = Sender(Copy(place, here), place, lease.number)
    lease.end()
    take(place)
    put(here, a_json="1")
    sender.begin()
    with pytest.raises(Superseded, match="another capetune has taken over memory://"):
        sender.wait()
    with pytest.raises(Superseded):
        sender.end()
    assert "a.json" not in names(place)


def test_json_travels_as_it_is(place: Place, here: Path) -> None:
    tree = {"name": "ü", "n": [1, 2.5, None]}
    put(here, run_json=json.dumps(tree))
    Copy(place, here).send()
    assert json.loads(place.read("run.json")) == tree
