"""What is settled of a search before its trials."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from capetune.cluster.machines import Cluster
from capetune.config import load_preset
from capetune.errors import UserError
from capetune.events import Doubted, Event
from capetune.service.search import Begun, SearchRequest
from capetune.service.sitting import _How, _together
from capetune.tuning.preflight import Plan
from capetune.tuning.space_file import load_space

CPUS = Cluster("", None, ((8, 0),))


@pytest.fixture
def begun(tmp_path: Path) -> Begun:
    config = load_preset("demo")
    unread: Any = None  # the pack
    return Begun(config, load_space("losses", config), unread, tmp_path, None)


def how(begun: Begun, before: dict[str, Any], **asked: Any) -> _How:
    run: Any = SimpleNamespace(facts=before)
    return _How.of(begun, SearchRequest.of(**asked), run)


def test_where_there_is_no_gpu_auto_changes_nothing_and_says_so(begun: Begun) -> None:
    heard: list[Event] = []
    asked = how(begun, {}, trials=20, trials_per_gpu="auto")
    assert _together(CPUS, begun, asked, 4, heard.append) == Plan(4, 1, 2, "cpu")
    assert heard == [Doubted("there is no GPU to be shared: --trials-per-gpu auto changes nothing")]
    with pytest.raises(UserError, match="there is no GPU to be shared: leave --trials-per-gpu out"):
        _together(CPUS, begun, how(begun, {}, trials_per_gpu="2"), None, heard.append)


def test_trials_of_several_workers_share_none(begun: Begun) -> None:
    asked = how(begun, {}, trials_per_gpu="auto", workers_per_trial=2)
    with pytest.raises(UserError, match="trials of several workers have their GPUs to themselves"):
        _together(Cluster("", None, ((8, 2),)), begun, asked, None, lambda event: None)


def test_a_search_that_goes_on_measures_again(begun: Begun) -> None:
    assert how(begun, {"trials_per_gpu": "auto"}).trials_per_gpu == "auto"
    assert how(begun, {"trials_per_gpu": "auto"}, trials_per_gpu="3").trials_per_gpu == 3
