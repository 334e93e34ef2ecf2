from __future__ import annotations

import json
import re

import pytest

from capetune.errors import UserError
from capetune.events import NodeLost, StepsTraced, TrainingBegan, WorkersBeganAgain
from capetune.reports.course import read_course
from capetune.reports.course_page import write_report
from capetune.runs.diary import write_event
from capetune.runs.history import HISTORY
from capetune.runs.home import at_work
from capetune.runs.record import read_run

from .conftest import course


def text(run) -> str:
    """The page without plotly.js, each run of white space a blank."""
    page = (run.folder / "report.html").read_text()
    return " ".join(re.sub(r"<script>/\*.*?</script>", "", page, count=1, flags=re.DOTALL).split())


def test_the_page_says_what_was_reached_and_what_the_scores_are_of(make_training):
    run = make_training("plain", course(4), environment={"machine": "a <big> one"})
    lines = write_report(run)
    assert lines[:2] == [
        "plain: completed, 4 of 4 epochs have ended",
        "best: epoch 4, val mPCK4 0.522, template 0.339 on the same pairs",
    ]
    assert lines[2].startswith(f"written: {run.folder}/report.html (")
    page = text(run)
    assert '<h1>plain <span class="state completed">completed</span></h1>' in page
    assert 'template 0.339 on the same pairs: <strong class="ahead">+0.183</strong>' in page
    assert "67.4 images a second while it trained" in page
    assert '<p class="big">0:48</p>' in page
    for words in ("val part, sampled as officially, ", "<dd>7</dd>", "<strong>synthetic</strong>: packs/some"):
        assert words in page
    assert "2, scored on its validation categories" in page
    assert "val: tern &lt;body&gt;" in page
    assert "images a worker; workers: 1 to 2" in page
    assert "a &lt;big&gt; one" in page
    assert "Nothing that was written down." in page
    assert "Go on with it" not in page
    assert page.count("Plotly.newPlot") == 5
    assert "trace.json.gz" not in page


def test_how_much_of_mp100_there_was_stands_on_the_page_where_it_is_recorded(make_training):
    covered = {"there": 99, "of": 100, "missing": [{"id": 80, "name": "hand"}]}
    run = make_training("covered", course(4), mp100=covered)
    write_report(run)
    assert "<dt>of MP-100</dt><dd>99 of 100 categories of MP-100; missing: OneHand10K (hand)</dd>" in text(run)
    older = make_training("older", course(4))
    write_report(older)
    assert "of MP-100" not in text(older)


def test_a_trace_is_named(make_training):
    run = make_training("plain", course(4))
    for numbers in ((1, 3, 5), (3, 0, 0)):
        write_event(run.folder, StepsTraced("plain", "runs/plain/trace.json.gz", *numbers))
    write_report(run)
    assert "of steps 3 to 5 of epoch 1: trace.json.gz in the run's folder" in text(run)


def test_the_time_is_told_by_its_parts(make_training):
    run = make_training("plain", course(4))
    write_report(run)
    rows = re.findall(
        r"<tr><td>([a-z ]+)</td><td class=\"number\">([\d.]+)</td><td class=\"number\">([\d.]+) %", text(run)
    )
    parts = {name: (float(seconds), float(share)) for name, seconds, share in rows}
    assert list(parts) == [
        *("data wait", "copy", "forward", "backward", "optimiser", "other", "validation", "checkpoint", "upload wait")
    ]
    assert parts["data wait"] == (3.0, 25.2)
    assert parts["other"] == (0.4, 3.4)


def test_an_older_history_has_the_figures_that_it_tells_of(make_training):
    new = ("seconds_copy", "seconds_forward", "seconds_backward", "seconds_optimiser", "seconds_checkpoint")
    new += ("seconds_upload", "learning_rate")
    run = make_training("old", [{key: row[key] for key in row if key not in new} for row in course(2)])
    assert "not drawn: Learning rate: the history doesn't tell" in write_report(run)
    page = text(run)
    assert page.count("Plotly.newPlot") == 4
    assert "<td>step</td>" in page
    assert "<td>forward</td>" not in page
    oldest = make_training("oldest", [{"epoch": 1, "mpck4": 0.3, "train_loss": 1.0, "val_loss": 1.0}])
    assert len(write_report(oldest)) == 2 + 3 + 1
    assert text(oldest).count("Plotly.newPlot") == 2


@pytest.mark.parametrize(
    ("state", "shown", "words"),
    [
        ("interrupted", "interrupted", "It was interrupted. Go on with it: give the command that began it again."),
        ("running", "cut off", "It was cut off. Go on with it"),
        ("failed", "failed", "It failed."),
    ],
)
def test_one_that_came_to_no_end_says_so_and_how_to_go_on(make_training, state, shown, words):
    run = make_training("some", course(2), state)
    assert write_report(run)[0] == f"some: {shown}, 2 of 4 epochs have ended"
    assert words in text(run)


def test_one_at_work_is_shown_as_it_stands(make_training):
    run = make_training("some", course(2), "running")
    with at_work(run.folder):
        write_report(run)
    assert "2 of 4 epochs. The training runs on; this is how it stood on " in text(run)


def test_what_broke_it_is_told(make_training):
    run = make_training("some", course(4))
    began = TrainingBegan("some", 4, tuple(course(2)))
    for event in (
        *(TrainingBegan("some", 4), began, NodeLost("10.0.0.7"), NodeLost("<b>")),
        *(WorkersBeganAgain("some", 2, 12, 3), WorkersBeganAgain("some", 0, 0, 0)),
    ):
        write_event(run.folder, event)
    with (run.folder / "events.jsonl").open("a") as stream:
        stream.write(
            '{"event": "training_began", "history": 3}\n{"event": "training_began", "history": [3]}\n{"ev\n3\n'
        )
    write_report(run)
    page = text(run)
    for words in (
        "<p>2 machines were lost: 10.0.0.7, &lt;b&gt;.</p>",
        "<p>It was cut off and went on after epoch 2; what was begun of the next was made again.</p>",
        "<p>All workers began again after epoch 2, step 12; about 3 steps were made again.</p>",
        "<p>All workers began again from the beginning.</p>",
    ):
        assert words in page
    assert page.count("It was cut off and went on from the beginning") == 2


def test_before_the_first_epoch_there_is_nothing_to_report(make_training):
    run = make_training("some", [], "interrupted")
    with pytest.raises(UserError, match=r"no epoch of some has ended yet, .*; give the command that began it again"):
        write_report(run)
    with at_work(run.folder), pytest.raises(UserError, match="so there is nothing to report"):
        write_report(run)
    (run.folder / HISTORY).write_text("{")
    with pytest.raises(UserError, match="line 1 is no epoch of a training"):
        write_report(run)
    assert not (run.folder / "report.html").exists()


def test_a_configuration_that_can_t_be_read_costs_what_it_says(make_training):
    run = make_training("some", course(2))
    record = json.loads((run.folder / "run.json").read_text())
    record["config"]["model"]["widht"] = 3
    (run.folder / "run.json").write_text(json.dumps(record))
    found = read_course(read_run(run.folder))
    assert (found.config, found.epochs) == (None, None)
    assert "widht" in found.notes[0]
    assert write_report(read_run(run.folder))[0] == "some: completed, 2 of ? epochs have ended"
    assert "<dt>protocol</dt><dd>not recorded</dd>" in text(run)


def test_names_are_text_and_no_markup(make_training):
    run = make_training("some", course(2))
    folder = run.folder.rename(run.folder.with_name("<b>bold & 'odd'"))
    write_report(read_run(folder))
    page = text(read_run(folder))
    assert "<h1>&lt;b&gt;bold &amp; &#39;odd&#39; <span" in page
    assert "<b>" not in page


def test_the_run_itself_stays_as_it_was_and_the_page_can_go_elsewhere(make_training, tmp_path):
    run = make_training("some", course(2))
    before = {file: file.read_bytes() for file in run.folder.rglob("*") if file.is_file()}
    write_report(run, tmp_path / "page.html")
    assert {file: file.read_bytes() for file in run.folder.rglob("*") if file.is_file()} == before
    content = (tmp_path / "page.html").read_text()
    assert content.count("plotly.js v") == 1
    page = re.sub(r"<script>/\*.*?</script>", "", content, count=1, flags=re.DOTALL)
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    with pytest.raises(UserError, match="is a folder; give --out a file"):
        write_report(run, tmp_path)
