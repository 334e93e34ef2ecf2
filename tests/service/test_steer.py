"""What is asked of a running search: refused before anything is written, or taken up. The search here is its record."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import capetune.service.steer as steer
from capetune.config import load_config
from capetune.errors import UserError
from capetune.events import ignore
from capetune.runs.home import at_work
from capetune.runs.record import Run
from capetune.runs.results import TrialResult, save_result, trial_folder
from capetune.runs.steering import Requests, Steer
from capetune.service.steer import SteerRequest, run

SPACE = "loss.tokens: {log: [0.05, 2.0]}\nmodel.decoder.layers: {int: [2, 4]}\n"


@pytest.fixture
def search(tmp_path: Path) -> Iterator[Run]:
    """A search at work of which trial 0 has ended and 1 runs."""
    found = Run(tmp_path / "runs" / "mine", "search", "running", {"trials": 3})
    with at_work(found.folder):
        (found.folder / "space.yaml").write_text(SPACE)
        (found.folder / "config.yaml").write_text(load_config("demo").to_yaml())
        for number in (0, 1):
            trial_folder(found.folder, number).mkdir(parents=True)
        save_result(found.folder, TrialResult(0, {}, "pruned", 0.5, {}, [(1, 0.5)], 1.0, None, None))
        found.save("running")
        yield found


def asked(search: Run, **fields: object) -> SteerRequest:
    return SteerRequest.of(name="mine", runs=search.folder.parent, **fields)


def points(search: Run, text: str) -> Path:
    file = search.folder.parent.parent / "points.yaml"
    file.write_text(text)
    return file


def test_points_that_are_none_of_the_space_s_are_refused_with_their_file(search: Run) -> None:
    with pytest.raises(UserError, match=r"points.yaml: the 2. point has loss.tokens = 3, which lies outside log"):
        run(asked(search, add=points(search, "- {loss.tokens: 1}\n- {loss.tokens: 3}\n")))
    assert not (search.folder / "steer").exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "nothing is asked for: give --add FILE, --stop TRIAL or --trials N"),
        ({"stop": 0}, "trial 0 of mine has ended already: pruned; leave it out"),
        ({"stop": (1, 7)}, "no trial 7 of mine has begun; there run: 1"),
        ({"add": "none.yaml"}, "none.yaml"),
    ],
)
def test_what_can_not_be_done_is_refused_with_nothing_written(search: Run, fields: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        run(asked(search, **fields))
    assert not (search.folder / "steer").exists()


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("completed", "mine is complete: `capetune search --resume mine --runs .* --trials N` extends it"),
        ("interrupted", r"mine doesn't run \(interrupted\): `capetune search --resume mine"),
    ],
)
def test_a_search_that_does_not_run_is_not_steered(search: Run, state: str, said: str) -> None:
    search.save(state)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=said):
        run(asked(search, trials=9))
    assert not (search.folder / "steer").exists()


def test_what_is_asked_for_arrives_whole_and_it_is_said_when_it_is_taken(search: Run) -> None:
    found: list[tuple[int, Steer | None]] = []

    def work() -> None:
        requests = Requests.of(search.folder)
        while not found:
            found.extend(requests.news())
            time.sleep(0.01)
        search.save("running", trials=9, steered=found[0][0])

    searching = threading.Thread(target=work)
    searching.start()
    result = run(asked(search, add=points(search, "- {loss.tokens: 1}\n"), stop=(1, 1), trials=9), ignore)
    searching.join()
    ((number, taken),) = found
    assert (result.request, result.taken, result.points, result.stop, result.trials) == (number, True, 1, (1,), 9)
    assert taken is not None
    layers = load_config("demo").model.decoder.layers
    assert taken.points == ({"loss.tokens": 1, "model.decoder.layers": layers},)
    assert (taken.stop, taken.trials) == ((1,), 9)


def test_where_the_search_ends_meanwhile_the_request_is_withdrawn(search: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def add(requests: Requests, *asked: Any, before: Callable[..., int] = Requests.add) -> int:
        number = before(requests, *asked)
        search.save("completed")
        return number

    monkeypatch.setattr(Requests, "add", add)
    with pytest.raises(UserError, match="mine is complete"):
        run(asked(search, trials=9))
    assert list((search.folder / "steer").iterdir()) == []


def test_one_that_is_busy_takes_it_up_later(search: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steer, "WAIT", 0.0)
    assert not run(asked(search, trials=9)).taken
    assert [number for number, _ in Requests.of(search.folder).news()] == [1]
