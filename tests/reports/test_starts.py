from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from capetune.reports.starts import read_starts


def written(folder: Path, *events: dict[str, Any] | str) -> Path:
    lines = [event if isinstance(event, str) else json.dumps({"time": 1.5, **event}) for event in events]
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def state(trial: int, state: str, epoch: int) -> dict[str, Any]:
    """As events were written before they had types."""
    more = {"overrides": {}, "score": None, "template": None, "twin": None, "error": None, "earlier": False}
    return {"trial": trial, "state": state, "epoch": epoch, **more}


def event(kind: str, trial: int, epoch: int) -> dict[str, Any]:
    return {"event": kind, "trial": trial, "epoch": epoch}


def told(folder: Path, pauses: bool = False) -> list[tuple[int, list]]:
    return [(starts.trial, starts.again) for starts in read_starts(folder, pauses)[0]]


def test_a_search_without_trouble_started_each_trial_once(tmp_path):
    assert read_starts(tmp_path) == ([], 0)
    old = [state(0, "running", 0), state(0, "running", 1), state(0, "running", 2), state(0, "completed", 2)]
    assert read_starts(written(tmp_path, *old)) == ([], 0)
    new = [event("trial_started", 0, 0), event("epoch_done", 0, 1), event("trial_ended", 0, 1)]
    assert read_starts(written(tmp_path, *new)) == ([], 0)


def test_a_second_start_is_told_by_the_epoch_where_events_have_no_type(tmp_path):
    first = [state(1, "running", 0), state(0, "running", 0), state(1, "running", 1), state(1, "running", 2)]
    then = [state(0, "running", 0), state(1, "running", 2), state(1, "running", 3), state(1, "completed", 3)]
    assert told(written(tmp_path, *first, *then)) == [(0, [(0, "either")]), (1, [(2, "either")])]


def test_a_trial_that_a_budget_cut_off_was_started_again(tmp_path):
    folder = written(tmp_path, state(0, "running", 0), state(0, "running", 1), state(0, "stopped", 1))
    assert told(folder) == []
    with (folder / "events.jsonl").open("a") as file:
        file.write(json.dumps(state(0, "running", 1)) + "\n" + json.dumps(state(0, "running", 2)) + "\n")
    assert told(folder) == [(0, [(1, "either")])]


def test_typed_events_say_why_a_trial_was_started_again(tmp_path):
    begun = [event("trial_started", 3, 0), event("epoch_done", 3, 1)]
    lost = [event("trial_lost", 3, 1), event("trial_started", 3, 1), event("epoch_done", 3, 2)]
    next_sitting = [{"event": "trial_started", "trial": 3}, event("epoch_done", 3, 3), event("trial_ended", 3, 3)]
    assert told(written(tmp_path, *begun, *lost, *next_sitting)) == [(3, [(1, "lost"), (2, "went on")])]


def test_a_scheduler_that_lets_trials_wait_starts_them_again_itself(tmp_path):
    begun = [event("trial_started", 0, 0), event("epoch_done", 0, 1), event("trial_started", 0, 1)]
    assert told(written(tmp_path, *begun), pauses=True) == []
    lost = [event("trial_lost", 0, 1), event("trial_started", 0, 1)]
    assert told(written(tmp_path, *begun, *lost), pauses=True) == [(0, [(1, "lost")])]


def test_lost_machines_are_counted_and_what_is_unheard_of_is_passed_over(tmp_path):
    odd = ["{torn", "[1]", "null", '{"trial": "x", "event": "trial_started"}', "", '{"event": "tea", "trial": 0}']
    folder = written(tmp_path, *odd, {"event": "node_lost"}, event("trial_started", 0, 0), {"event": "node_lost"})
    with (folder / "events.jsonl").open("ab") as file:
        file.write(b'\xff{"event": "trial_st')
    assert read_starts(folder) == ([], 2)
