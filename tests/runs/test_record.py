from __future__ import annotations

import json

import pytest

from capetune.errors import UserError
from capetune.runs import record as module
from capetune.runs.record import Damaged, Run, read_run
from capetune.runs.registry import latest_best


class Meta:
    def __init__(self, score):
        self.score = score


def test_a_run_is_read_as_it_was_saved(tmp_path):
    run = Run(tmp_path / "one", "train", "running")
    run.save("running", config_hash="abc")
    run.save("completed", more=1)
    again = read_run(tmp_path / "one")
    assert again is not None
    assert (again.kind, again.state, again.name) == ("train", "completed", "one")
    assert (again.facts["config_hash"], again.facts["more"]) == ("abc", 1)
    assert again.facts["started"] <= again.facts["updated"]
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    "text",
    [
        None,
        *("[]", "{}", '{"kind": "search"}', '{"capetune": "walk"}', "3", "null"),
    ],
)
def test_what_is_no_run_is_none(tmp_path, text):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    assert read_run(tmp_path) is None


@pytest.mark.parametrize(
    "facts",
    [
        {"trials": "40"},
        {"missing_categories": ["fly"]},
        {"mp100": "86 of 100"},
        {"goal": []},
        {"goal": ["a", "b"]},
        {"mode": ["up"]},
    ],
)
def test_a_record_with_an_odd_fact_is_damaged(tmp_path, facts):
    tree = {"capetune": "run", "kind": "search", "state": "running", **facts}
    (tmp_path / "run.json").write_text(json.dumps(tree))
    with pytest.raises(Damaged, match=r"run.json is odd: ") as said:
        read_run(tmp_path)
    assert next(iter(facts)) in str(said.value)


def test_a_record_keeps_facts_that_nobody_here_reads(tmp_path):
    tree = {"capetune": "run", "kind": "search", "state": "running", "mine": [{"a": None}], "started": None}
    (tmp_path / "run.json").write_text(json.dumps(tree))
    assert read_run(tmp_path).facts == {"mine": [{"a": None}], "started": None}


def test_a_search_s_best_checkpoint_is_that_of_its_best_trial_that_has_one(make, tmp_path, monkeypatch):
    make(tmp_path / "search")
    trials = [{"checkpoint": None}, {"checkpoint": "trials/trial-002/epoch-0001"}, {"checkpoint": "trials/x"}]
    (tmp_path / "search/results.json").write_text(json.dumps({"trials": trials}))
    monkeypatch.setattr(module, "read_meta", lambda folder: Meta(0.5))
    (tmp_path / "search/trials/trial-002/epoch-0001").mkdir(parents=True)
    (tmp_path / "search/trials/trial-002/epoch-0001/meta.json").touch()
    path, _ = latest_best(tmp_path)
    assert path == tmp_path / "search/trials/trial-002/epoch-0001"


def test_a_search_s_best_is_one_whose_checkpoint_is_there(make, tmp_path, monkeypatch):
    make(tmp_path / "search")
    run = read_run(tmp_path / "search")
    trials = [{"checkpoint": "trials/trial-001/epoch-0003"}, {"checkpoint": "trials/trial-002/epoch-0001"}]
    (tmp_path / "search/results.json").write_text(json.dumps({"trials": trials}))
    (tmp_path / "search/trials/trial-002/epoch-0001").mkdir(parents=True)
    (tmp_path / "search/trials/trial-002/epoch-0001/meta.json").touch()
    monkeypatch.setattr(module, "read_meta", lambda folder: Meta(0.5))
    assert run.best()[0] == tmp_path / "search/trials/trial-002/epoch-0001"


def test_run_json_is_a_document_for_others(make, tmp_path):
    make(tmp_path / "one")
    tree = json.loads((tmp_path / "one/run.json").read_text())
    assert {"capetune", "kind", "state", "started", "updated"} <= set(tree)


def test_a_fact_that_is_not_there_is_said_with_the_file(tmp_path):
    run = Run(tmp_path, "search", "completed", {"pack": "p"})
    assert run.told("pack") == "p"
    with pytest.raises(UserError, match=r"run.json doesn't say its 'split'; put it there"):
        run.told("split")
