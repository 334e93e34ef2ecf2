from __future__ import annotations

import io
import json
from dataclasses import replace

from rich.console import Console

from capetune import events, trial_events
from capetune.cluster.jobs import Job
from capetune.reports.jobs import event_of, jobs_table, show_log, state_line, stopped_line
from capetune.reports.lines import Lines

HEARD = [
    events.ClusterJoined(8, 2, "http://head:8265", None),
    trial_events.SearchBegan("night", 3, 4, ("loss.tokens",), ("mpck4",), ("max",)),
    trial_events.TrialStarted("night", 0, {"loss.tokens": 0.2}),
    events.EpochDone("night", 1, {"mpck4": 0.5, "epoch": 1}, trial=0, score=0.5, template=0.4),
    trial_events.TrialEnded("night", 0, "completed", {"loss.tokens": 0.2}, 4, 0.61, 0.4),
    events.NodeLost("10.0.0.7"),
    events.Ended("night", "interrupted", "capetune search --resume night"),
]


def written() -> list[str]:
    stream = io.StringIO()
    for event in HEARD:
        Lines(stream).hear(event)
    return stream.getvalue().splitlines()


def shown(lines: list[str]) -> str:
    stream = io.StringIO()
    show_log(lines, Console(file=stream, width=120, markup=False, highlight=False, emoji=False))
    return stream.getvalue()


def test_a_job_s_events_are_heard_as_they_were_told() -> None:
    for line, event in zip(written(), HEARD, strict=True):
        found = event_of(line)
        assert found is not None
        assert found.to_json() == json.loads(json.dumps(event.to_json())) or found == event


def test_a_log_reads_as_the_command_s_own_output() -> None:
    said = shown(
        ["Traceback of somebody else's", *written(), '{"event": "result", "folder": "s3://b/night", "left": 2}']
    )
    lines = said.splitlines()
    assert lines[0] == "Traceback of somebody else's"
    assert "machine 10.0.0.7 is gone: what ran there is tried again elsewhere" in lines
    assert "go on with it: capetune search --resume night" in lines
    assert any("epoch 1/4" in line for line in lines)
    assert lines[-1] == "result: folder s3://b/night, left 2"


def test_what_is_no_event_of_ours_is_a_line_like_any_other() -> None:
    odd = [
        '{"event": "of_the_future", "x": 1}',
        '{"event": "node_lost"',
        '{"event": ["x"]}',
        '{"event": "event"',
        "[/red]",
    ]
    for line in odd:
        assert event_of(line) is None
    assert shown(odd).splitlines() == odd
    assert event_of('{"event": "node_lost", "node": "a", "new": 1}') == events.NodeLost("a")


def test_jobs_are_listed_and_a_failed_one_says_why() -> None:
    jobs = [
        Job("search-1", "RUNNING", "search", "night", 1, 1_790_000_000.0, None, None, "Job is currently running."),
        Job("other", "FAILED", "", "", 1, None, None, 2, "Job entrypoint command failed with exit code 2"),
    ]
    stream = io.StringIO()
    Console(file=stream, width=200).print(jobs_table(jobs))
    assert "search-1" in stream.getvalue()
    assert "running" in stream.getvalue()
    assert state_line(jobs[0]) == "job search-1: running"
    assert state_line(jobs[1]) == "job other: failed: Job entrypoint command failed with exit code 2"


def test_what_was_told_to_end_is_said_as_it_stands() -> None:
    job = Job("one", "PENDING", "search", "night", 1, None, None, None, "")
    assert stopped_line(job) == "job one: told to end; it waits for room still, and ends in place of beginning"
    assert "still at it; see capetune logs one" in stopped_line(replace(job, state="RUNNING"))
    assert stopped_line(replace(job, state="STOPPED")) == "job one: stopped"


def test_a_search_s_log_ends_with_its_best_trial() -> None:
    best = {"number": 3, "score": 0.61, "template": 0.4, "overrides": {"loss.tokens": 0.2}, "checkpoint": "trials/x"}
    tree = {"event": "result", "folder": "s3://b/night", "goal": ["mpck4"], "trials": [best, {"number": 0}], "left": 0}
    assert shown([json.dumps(tree)]).splitlines() == [
        "result: folder s3://b/night, left 0",
        "2 trials; best: trial 3, mPCK4 0.610 (template 0.400)  loss.tokens=0.2",
        "checkpoint: s3://b/night/trials/x",
    ]
