from __future__ import annotations

import json

import pytest
from scipy import stats

from capetune.reports.agreement import agreements
from capetune.reports.html import write_report
from capetune.reports.story import read_story

from .conftest import SPACE


def test_it_is_the_rank_correlation_of_the_first_rung_with_the_end(make_search):
    run = make_search("some", [*["completed"] * 6, "pruned", "failed"])
    ends = [0.3, 0.5, 0.4, 0.45, 0.2, 0.6]  # the first rungs' scores are those of `peak`
    for number, end in enumerate(ends):
        file = run.folder / f"trials/trial-{number:03d}/history.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        rows[-1]["mpck4"] = end
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    story = read_story(run)
    found = next(each for each in agreements(story) if (each.first, each.last) == (1, 6))
    rows = sorted((row for row in story.rows if row.state == "completed"), key=lambda row: row.number)
    expected = stats.spearmanr([row.history[0]["mpck4"] for row in rows], ends).statistic
    assert found.trials == 6
    assert found.correlation == pytest.approx(expected)
    assert f">{expected:.2f}</span>: rank correlation of the scores after epochs 1 and 6, 6 trials" in (
        write_report(run).page.read_text()
    )


def test_an_order_that_stayed_is_one(make_search):
    found = agreements(read_story(make_search("some", ["completed"] * 5)))
    assert [(each.first, each.last, each.trials) for each in found] == [(1, 3, 5), (1, 6, 5), (3, 6, 5)]
    assert [each.correlation for each in found] == pytest.approx([1, 1, 1])


def test_it_is_left_out_where_it_would_say_nothing(make_search):
    found = agreements(read_story(make_search("few", [*["completed"] * 4, *["pruned"] * 9])))
    assert [(each.first, each.last) for each in found] == [(1, 3)]  # every second pruned one has both
    assert agreements(read_story(make_search("flat", ["completed"] * 5, peak=lambda values: 0.5))) == []
    no_rungs = make_search("none", ["completed"] * 5, SPACE + "scheduler: none\n")
    assert agreements(read_story(no_rungs)) == []
    assert "rank correlation" not in write_report(no_rungs).page.read_text().split("<header>")[1]
