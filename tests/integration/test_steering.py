"""A search that is changed while it runs, and killed in between."""

from __future__ import annotations

import json

import pytest

from capetune.runs.record import read_run

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_a_running_search_takes_up_points_ends_trials_and_gets_more_of_them_also_after_a_kill(
    start, place, tiny_pack, trials_of, study_of
):
    (place / "whole.yaml").write_text("scheduler: none\nsampler: random\nloss.tokens: {log: [0.05, 2.0]}\n")
    (place / "points.yaml").write_text("- {loss.tokens: 0.5}\n")
    folder = place / "runs/steered"

    def steer(*words: object) -> list[str]:
        asked = start("steer", "steered", *words)
        assert asked.end() == 0, asked.err
        return asked.out

    options = ("--space", "whole.yaml", "--data", tiny_pack, "--trials", 1, "--name", "steered", "--at-once", 1)
    program = start("search", *options, set_={"train.epochs": 4000})
    program.wait_for("epoch 1/4000")
    assert steer("--add", "points.yaml", "--stop", 0, "--trials", 2)[-1] == (
        "steered has taken it up: 1 point is tried next, trial 0 ends, 2 trials in all"
    )
    said = "asked for from outside: 1 point is tried next, trial 0 ends, 2 trials in place of 1"
    assert program.wait_for("asked for") == said
    program.wait_for("trial 0 (default): halted, epoch ")
    assert program.wait_for("trial 1: started").endswith("tokens=0.5")
    program.wait_for("trial 1: running, epoch 1/4000")
    program.kill()
    program.end()
    refused = start("steer", "steered", "--stop", 1)
    assert refused.end() == 2
    assert refused.err == [
        "error: steered doesn't run (cut off): `capetune search --resume steered` goes on with it, "
        "then it can be steered"
    ]

    program = start("search", "--resume", "steered", "--at-once", 1)
    program.wait_for("trial 1: running, epoch ")
    assert not [line for line in program.out if "asked for" in line]
    assert steer("--stop", 1)[-1] == "steered has taken it up: trial 1 ends"
    assert program.end() == 0, program.err
    assert any(line.startswith("2 trials, 0 pruned, 2 halted, 0 failed;") for line in program.out)
    trials = trials_of(folder)
    assert {number: trial["status"] for number, trial in trials.items()} == {0: "halted", 1: "halted"}
    assert trials[1]["overrides"] == {"loss.tokens": 0.5}
    assert all(trial["score"] is not None and trial["error"] is None for trial in trials.values())
    assert [trial.state.name for trial in study_of(folder).trials] == ["PRUNED", "PRUNED"]
    run = read_run(folder)
    assert run is not None
    assert (run.state, run.facts["trials"], run.facts["steered"]) == ("completed", 2, 2)
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [(e["request"], e["stopped"]) for e in events if e["event"] == "search_steered"] == [(1, [0]), (2, [1])]
