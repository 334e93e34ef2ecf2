from __future__ import annotations

import json
import re

import pytest

from capetune.errors import UserError
from capetune.events import JobChanged, NodeLost
from capetune.reports.promoted import Protocol, read_promoted
from capetune.reports.promoted_page import write_report
from capetune.runs.diary import write_event
from capetune.runs.home import at_work
from capetune.runs.record import read_run

from .conftest import course, score

ALL = {(1, 42): 0.4, (1, 43): 0.5, (2, 42): 0.6, (2, 43): 0.9}
THREE = Protocol(3, 15)


def text(run) -> str:
    page = (run.folder / "report.html").read_text()
    return " ".join(re.sub(r"<script>/\*.*?</script>", "", page, count=1, flags=re.DOTALL).split())


def test_means_are_over_splits_and_deviations_over_seeds(make_promotion):
    run = make_promotion("some-promoted", ALL)
    found = read_promoted(run)
    first, second = (found.of_split(THREE, 1, split) for split in (1, 2))
    assert (first.mpck4, first.template, first.count) == (pytest.approx(0.45), pytest.approx(0.31), 2)
    assert first.deviation == pytest.approx(0.1 / 2**0.5)
    assert second.deviation == pytest.approx(0.3 / 2**0.5)
    mean = found.of_all(THREE, 1)
    assert (mean.mpck4, mean.template, mean.count) == (pytest.approx(0.6), pytest.approx(0.315), 4)
    assert mean.deviation == pytest.approx(0.2 / 2**0.5)  # of the seeds' means 0.5 and 0.7
    lines = write_report(run)
    assert lines[:2] == [
        "some-promoted: completed, 4 of 4 jobs have ended",
        "1 shot, sampled as officially, 3 episodes of 15 queries a category: mPCK4 0.600 ± 0.141, "
        "template 0.315 on the same pairs",
    ]
    page = text(run)
    assert '<td class="number">0.450 ± 0.071</td>' in page
    assert 'template 0.315 on the same pairs: <strong class="ahead">+0.285</strong>; 4 jobs' in page
    assert "the best of search &lt;b&gt;bold" in page
    assert "split 2: tern<" in page
    assert "<strong>synthetic</strong>: packs/some" in page
    assert page.count("Plotly.newPlot") == 3


def test_where_a_job_is_missing_the_deviation_is_of_those_seeds_that_have_every_split(make_promotion):
    found = read_promoted(make_promotion("some", {(1, 42): 0.4, (1, 43): 0.5, (2, 42): 0.6, (2, 43): None}))
    mean = found.of_all(THREE, 1)
    assert (mean.mpck4, mean.deviation, mean.count) == (pytest.approx(0.525), None, 3)
    assert found.of_all(THREE, 5) is None
    assert found.of_split(THREE, 1, 3) is None


def test_scores_of_other_protocols_and_shots_have_tables_and_columns_of_their_own(make_promotion):
    run = make_promotion("some", ALL)
    folder = run.folder / "split1-seed42"
    score(folder, 0.7, 0.31, shots=5)
    score(folder, 0.8, 0.32, episodes="official", protocol="official")
    found = read_promoted(run)
    official = Protocol(200, 15)
    assert found.protocols == [official, THREE]
    assert (found.shots(official), found.shots(THREE)) == ([1], [1, 5])
    assert found.of_all(official, 1).mpck4 == 0.8
    assert found.of_split(THREE, 1, 1).mpck4 == pytest.approx(0.45)
    assert found.of_split(THREE, 5, 1).mpck4 == 0.7
    write_report(run)
    page = text(run)
    heads = re.findall(r"<button title=\"([^\"]*)\">mPCK4, (\d)-shot, ([\d×]+)</button>", page)
    words = "episodes of 15 queries a category"
    assert heads == [
        (f"official pairs, 200 {words}", "1", "200×15"),
        *((f"sampled as officially, 3 {words}", shots, "3×15") for shots in ("1", "5")),
    ]
    assert f"<h2>Official pairs, 200 {words}</h2>" in page


def test_a_part_that_lacks_instances_isn_t_called_official(make_promotion):
    run = make_promotion("some", {})
    score(run.folder / "split1-seed42", 0.8, 0.3, episodes="official", left_out_instances=3)
    write_report(run)
    page = text(run)
    assert "fficial pairs," not in page
    assert "Split 1: 3 instances of its test part are not there, so its pairs aren't the official ones." in page


def test_each_job_says_how_it_stands(make_promotion):
    run = make_promotion("some", {(1, 42): 0.4, (1, 43): None, (2, 42): None}, "running")
    (run.folder / "split2-seed42" / "error.txt").write_text("Traceback\nValueError: no <b>such</b> thing\n")
    states = lambda: {job.name: job.state for job in read_promoted(run).jobs}  # noqa: E731
    ended = {"split1-seed42": "ended", "split2-seed42": "failed", "split2-seed43": "waiting"}
    assert states() == ended | {"split1-seed43": "unfinished"}
    for state in ("running", "scoring"):
        write_event(run.folder, JobChanged("some", "split1-seed43", state))
        with at_work(run.folder):
            assert states() == ended | {"split1-seed43": state}
            assert write_report(run)[0] == "some: running, 1 of 4 jobs have ended"
    page = text(run)
    assert "4 jobs, a split and a seed each: 1 ended, 1 scoring, 1 waiting, 1 failed." in page
    assert "<strong>split2-seed42</strong> ValueError: no &lt;b&gt;such&lt;/b&gt; thing</summary>" in page
    (run.folder / "split1-seed42" / "error.txt").write_text("of an earlier try")
    assert states()["split1-seed42"] == "ended"


def test_what_broke_it_is_told(make_promotion):
    run = make_promotion("some", ALL)
    changes = ["running", "lost", "running", "scoring", "ended"]
    changes += ["running", "ended"]  # other shots were asked for
    for state in changes:
        write_event(run.folder, JobChanged("some", "split1-seed42", state))
    write_event(run.folder, NodeLost("10.0.0.7"))
    write_report(run)
    assert "<p>1 machine was lost: 10.0.0.7.</p><p>Split1-seed42 was begun again once.</p>" in text(run)


def test_what_can_t_be_read_is_said_and_costs_nothing_else(make_promotion):
    run = make_promotion("some", ALL)
    (run.folder / "split1-seed42/eval-1shot-3x15.json").write_text('{"mpck4": "high"}')
    found = read_promoted(run)
    assert re.search(r"split1-seed42/eval-1shot-3x15.json is odd: .*\.$", found.notes[0])
    assert found.of_split(THREE, 1, 1).mpck4 == 0.5
    write_report(run)
    assert "is odd:" in text(run)


def test_an_older_record_has_its_jobs_by_their_folders(make_promotion):
    run = make_promotion("some", {(1, 42): 0.4, (2, 42): None})
    record = json.loads((run.folder / "run.json").read_text())
    del record["asked"]
    (run.folder / "run.json").write_text(json.dumps(record))
    found = read_promoted(read_run(run.folder))
    assert [(job.name, job.state) for job in found.jobs] == [
        ("split1-seed42", "ended"),
        ("split2-seed42", "unfinished"),
    ]
    write_report(read_run(run.folder))
    assert "not recorded; scored is the epoch" in text(run)


def test_without_any_job_there_is_nothing_to_report(make_promotion):
    run = make_promotion("some", {}, "interrupted")
    with pytest.raises(UserError, match=r"no job of some has begun yet, .*; give the command that began it again"):
        write_report(run)


def test_before_the_first_score_there_are_curves(make_promotion):
    run = make_promotion("some", {(1, 42): None})
    assert len(write_report(run)) == 2
    page = text(run)
    assert "No job has been scored yet." in page
    assert page.count("Plotly.newPlot") == 2
    assert len(read_promoted(run).jobs[0].history) == len(course(4))
