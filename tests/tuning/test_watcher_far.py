"""The watcher of a search at an address: what its trials' machines send arrives after Ray has told of it."""

from __future__ import annotations

import json
from dataclasses import replace
from uuid import uuid4

import pytest

from capetune.errors import UserError
from capetune.events import EpochDone
from capetune.runs.copy import Copy
from capetune.runs.results import trial_name
from capetune.storage.address import open_place
from capetune.storage.scratch import scratch
from capetune.tuning import watcher
from capetune.tuning.search import Search
from capetune.tuning.space import Budget

from .conftest import Bench


def row_of(epoch, score):
    return {"epoch": epoch, "mpck4": score, "template_mpck4": 0.3, "pck_0.2": score, "seconds": 2.0}


@pytest.fixture
def distant(config, read, tmp_path, monkeypatch):
    """A watcher of a search whose folder is a copy of what lies at an address. arrive(trial, …): sends there."""
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "cache"))
    address = f"memory://{uuid4().hex}/runs"
    with scratch(f"{address}/run") as folder:
        copy = Copy(open_place(f"{address}/run"), folder)
        space = read("loss.tokens: {log: [0.05, 2]}\n")
        search = Search(config, space, None, folder, Budget(trials=10), fetch=copy.fetch)
        bench = Bench(search)

        def arrive(trial, *rows):
            text = "".join(json.dumps(row) + "\n" for row in rows)
            copy.place.write(f"{trial_name(trial.config['number'])}/history.jsonl", text.encode())

        bench.arrive = arrive
        yield bench


def test_a_trial_at_an_address_is_settled_when_its_last_epoch_has_arrived(distant):
    trial = distant.trial()
    rows = [row_of(epoch, 0.1 * epoch) for epoch in (1, 2, 3)]
    distant.arrive(trial, rows[0])
    for row in rows:
        distant.hear(trial, row)
    assert [event.metrics for event in distant.heard if isinstance(event, EpochDone)] == rows
    distant.end(trial)
    assert distant.watcher.results() == []
    distant.arrive(trial, *rows)
    distant.watcher.on_step_end(0, [])
    (result,) = distant.watcher.results()
    assert (result.status, result.epochs, result.score) == ("completed", 3, pytest.approx(0.3))


def test_what_never_arrives_is_not_counted(distant, monkeypatch):
    monkeypatch.setattr(watcher, "ARRIVAL", -1.0)
    trial = distant.trial()
    rows = [row_of(epoch, 0.1 * epoch) for epoch in (1, 2)]
    distant.arrive(trial, rows[0])
    for row in rows:
        distant.hear(trial, row)
    distant.end(trial)
    distant.watcher.on_step_end(0, [])
    (result,) = distant.watcher.results()
    assert result.history == [(1, pytest.approx(0.1))]


def test_a_store_that_is_away_ends_the_search_and_settles_nothing(distant):
    trial = distant.trial()
    distant.hear(trial, row_of(1, 0.1))

    def away(below):
        raise UserError("s3://b/runs: the store answers 503")

    distant.watcher.search = replace(distant.watcher.search, fetch=away)
    distant.end(trial)
    assert distant.limit.stop_all()
    distant.watcher.on_experiment_end([trial])
    assert distant.watcher.results() == []
    assert distant.limit.away == "s3://b/runs: the store answers 503"
