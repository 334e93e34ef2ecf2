from __future__ import annotations

from pathlib import Path

import pytest

from capetune.cli.asked import asked_by
from capetune.errors import UserError
from capetune.service.evaluate import EvaluateRequest
from capetune.service.search import SearchRequest
from capetune.service.train import TrainRequest


def test_a_command_s_request_is_taken_without_running_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert asked_by(["search", "--space", "decoder", "--trials", "4"]) == SearchRequest.of(space="decoder", trials=4)
    assert asked_by(["train", "--best", "night", "--workers", "2:8"]) == TrainRequest.of(best="night", workers="2:8")
    assert asked_by(["eval", "--split", "3"]) == EvaluateRequest.of(split=3)
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_is_said_before_anything_is_sent() -> None:
    with pytest.raises(Exception, match="requires an argument"):  # typer's own, which `main` says in a line
        asked_by(["search", "--space", "decoder", "--trials"])
    with pytest.raises(UserError, match="there is nothing to send: capetune runs"):
        asked_by(["runs", "--runs", "nowhere-at-all"])
