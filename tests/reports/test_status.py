from __future__ import annotations

import io
import json
from dataclasses import replace

from rich.console import Console

from capetune import events, trial_events
from capetune.cluster.jobs import Job
from capetune.cluster.load import Load
from capetune.reports.status import Standing, standing, status_document, status_lines

JOB = Job("one", "RUNNING", "search", "night", 2, 1_790_000_000.0, None, None, "")
WAITS = Job("two", "PENDING", "train", "", 1, None, None, None, "Job has not started yet.")
LOAD = Load(2, {"CPU": 4.0, "GPU": 2.0}, {"CPU": 16.0, "GPU": 2.0}, [({"GPU": 1.0, "CPU": 4.0}, 3)])
PACE = {"images": 3200.0, "seconds_data": 2.0, "seconds_steps": 8.0}
HEARD = [
    events.ClusterJoined(16, 2, "http://head:8265", None),
    trial_events.SearchBegan("night", 40, 4, ("loss.tokens",), ("mpck4",), ("max",)),
    trial_events.TrialStarted("night", 0, {}),
    trial_events.TrialStarted("night", 1, {}),
    events.EpochDone("night", 1, {"mpck4": 0.5, "template_mpck4": 0.4, "seconds": 1800.0, **PACE}, trial=0),
    events.EpochDone("night", 1, {"mpck4": 0.3, "template_mpck4": 0.4, "seconds": 1800.0, **PACE}, trial=1),
    trial_events.TrialEnded("night", 1, "pruned", {}, 1, 0.3, 0.4),
]


def written() -> list[str]:
    return ["a line of somebody else", *(json.dumps(event.to_json()) for event in HEARD)]


def test_a_job_s_standing_is_what_it_wrote() -> None:
    found = standing(JOB, written())
    assert (found.wanted, found.counted(), found.epochs) == (40, {"running": 1, "pruned": 1}, 2)
    assert (found.best, found.template, found.gpus) == (0.5, 0.4, True)
    assert found.hours == 2.0  # half an hour, twice, of two workers


def test_the_document_has_hours_and_what_they_cost() -> None:
    tree = status_document(LOAD, [(JOB, standing(JOB, written())), (WAITS, Standing())], 2.5)
    assert tree["cluster"]["waiting"] == [{"resources": {"GPU": 1.0, "CPU": 4.0}, "count": 3}]
    assert (tree["jobs"][0]["gpu_hours"], tree["jobs"][0]["cost"]) == (2.0, 5.0)
    assert (tree["jobs"][1]["gpu_hours"], tree["jobs"][1]["cost"]) == (0.0, 0.0)
    assert tree["jobs"][0]["images_a_second"] == 320.0  # of the trial that goes on
    assert json.loads(json.dumps(tree)) == tree


def test_the_table_says_what_is_waited_for() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=200)
    console.print(status_lines(LOAD, [(JOB, standing(JOB, written())), (WAITS, Standing())], 2.5))
    said = stream.getvalue()
    assert "2 machines: 4 of 16 CPUs in use, 2 of 2 GPUs in use" in said
    assert "asked for beyond what is there: 3 × 1 GPU, 4 CPUs" in said
    assert "1 running, 1 pruned of 40" in said
    assert "2.00 GPU h" in said
    assert " 320 " in said
    assert "two waits: Job has not started yet." in said
    stream.truncate(0)
    console.print(status_lines(Load(1, {}, {}, []), [], None))
    assert "no job is running or waiting" in stream.getvalue()


def test_where_there_is_no_room_for_the_table_no_word_is_cut() -> None:
    stream = io.StringIO()
    long = replace(JOB, id="search-20261130-193012", name="a-name-that-is-long-too")
    Console(file=stream, width=60).print(status_lines(LOAD, [(long, standing(JOB, written()))], None))
    said = stream.getvalue()
    assert "search-20261130-193012  running" in said
    assert "a-name-that-is-long-too" in said
    assert "…" not in said
    assert all(len(line) <= 60 for line in said.splitlines())


def test_a_step_of_a_newer_capetune_is_said_by_its_name() -> None:
    newer = json.dumps({**events.StepBegan("imports", "x").to_json(), "step": "thawing"})
    assert standing(JOB, [newer]).doing == "thawing"


def test_what_is_done_before_the_first_trial_is_said_in_words() -> None:
    begun = [events.StepBegan("imports", "PyTorch and Ray")]
    lines = [json.dumps(event.to_json()) for event in begun]
    assert standing(JOB, lines).doing == "loading PyTorch and Ray"
    lines += [json.dumps(event.to_json()) for event in (HEARD[1], HEARD[2])]
    assert standing(JOB, lines).doing == ""
    named = [json.dumps(events.TrainingBegan("demo-7e6a97", 4, ()).to_json())]
    stream = io.StringIO()
    Console(file=stream, width=200).print(status_lines(LOAD, [(replace(JOB, name=""), standing(JOB, named))], None))
    assert "demo-7e6a97" in stream.getvalue()
