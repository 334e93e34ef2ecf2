from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from capetune.errors import UserError
from capetune.events import Doubted, Ended, Event
from capetune.service.on_end import notified


@dataclass
class Done:
    score: float = 0.5

    def to_json(self) -> dict[str, Any]:
        return {"score": self.score}


@pytest.fixture
def heard() -> list[Event]:
    return []


def note(place: Path) -> str:
    return f'cat > {place}/facts.json; echo "$CAPETUNE_RUN $CAPETUNE_STATE $CAPETUNE_ERROR" >> {place}/said'


def test_without_a_command_the_work_is_all(heard):
    assert notified(None, "train", "runs", heard.append, lambda hear: Done(0.7)).score == 0.7


def test_it_is_told_of_a_good_end_with_its_result(tmp_path, heard):
    def work(hear):
        hear(Ended("mine", "completed"))
        return Done()

    assert notified(note(tmp_path), "search", "s3://b/runs", heard.append, work) == Done()
    assert (tmp_path / "said").read_text() == "mine completed \n"
    assert json.loads((tmp_path / "facts.json").read_text()) == {
        "verb": "search",
        "run": "mine",
        "runs": "s3://b/runs",
        "state": "completed",
        "error": "",
        "again": "",
        "result": {"score": 0.5},
    }
    assert heard == [Ended("mine", "completed")]


def test_a_search_with_work_left_was_interrupted_and_says_what_goes_on(tmp_path, heard):
    def work(hear):
        hear(Ended("mine", "interrupted", "capetune search --resume mine"))
        return Done()

    notified(note(tmp_path), "search", "runs", heard.append, work)
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert (facts["state"], facts["again"]) == ("interrupted", "capetune search --resume mine")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("no pack\nat x"), " failed no pack at x\n"),
        (KeyboardInterrupt(), " interrupted interrupted\n"),
        (ZeroDivisionError(), " failed ZeroDivisionError\n"),
    ],
)
def test_of_a_bad_end_it_is_told_once_and_the_error_goes_on(tmp_path, heard, error, line):
    def work(hear):
        raise error

    with pytest.raises(type(error)):
        notified(note(tmp_path), "train", "runs", heard.append, work)
    assert (tmp_path / "said").read_text() == line
    assert "result" not in json.loads((tmp_path / "facts.json").read_text())


def test_that_it_fails_is_said_and_changes_nothing(heard, capfd):
    assert notified("echo loud; exit 3", "train", "runs", heard.append, lambda hear: Done()) == Done()
    assert heard == [Doubted("--on-end 'echo loud; exit 3' failed with exit code 3")]
    out, err = capfd.readouterr()
    assert (out, err) == ("", "loud\n")


def test_nor_does_one_that_has_no_end(heard, monkeypatch):
    monkeypatch.setattr("capetune.service.on_end.SECONDS", 0.2)
    notified("exec sleep 60", "train", "runs", heard.append, lambda hear: Done())
    assert heard == [Doubted("--on-end 'exec sleep 60' was ended: it wasn't through after 0.2 s")]
