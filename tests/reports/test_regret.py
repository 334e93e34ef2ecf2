from __future__ import annotations

import json
import re

import pytest

from capetune.reports import html, marks
from capetune.reports.html import write_report
from capetune.reports.regret import cost, regret
from capetune.reports.story import read_story

BUDGET = "budget: {epochs: 8}\nloss.tokens: {log: [0.05, 2.0]}\nmodel.decoder.layers: {int: [2, 6]}\n"


def tell(run, *scores):
    """The diary of epochs with these scores, of whichever trial."""
    lines = [{"event": "epoch_done", "trial": 0, "epoch": 1, "metrics": {"mpck4": score}} for score in scores]
    (run.folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_it_is_how_far_the_best_so_far_is_from_the_final_one_in_the_order_of_the_diary(make_search):
    run = make_search("some", ["completed"], BUDGET)
    tell(run, 0.3, 0.2, 0.5, 0.4, 0.6, 0.1)
    found = regret(read_story(run), 0)
    assert (found.at, found.short) == ([1, 3, 5], pytest.approx([0.3, 0.1, 0.0]))
    assert (found.spent, found.budget) == (6, 8)
    assert found.after(0) is None
    assert [found.after(epochs) for epochs in (1, 4, 6)] == pytest.approx([0.3, 0.1, 0.0])
    assert found.marks == [(2, "25 %"), (4, "50 %"), (6, "75 %")]  # the last quarter isn't spent


def test_without_a_diary_it_goes_trial_after_trial(make_search):
    story = read_story(make_search("some", ["completed", "pruned", "failed"]))
    found = regret(story, 0)
    assert found.spent == sum(row.epochs for row in story.rows)
    assert found.short[-1] == 0
    assert found.marks[-1] == (found.spent, "100 %")


def test_the_page_says_what_half_of_the_epochs_gave_and_what_all_cost(make_search):
    run = make_search("some", ["completed"] * 2, BUDGET, reserved={"CPU": 2, "GPU": 0.5})
    tell(run, 0.3, 0.2, 0.5, 0.6)
    page = write_report(run).page.read_text()
    assert "over the 4 epochs of all trials, of 8 in the budget; the final one came after 4." in page
    assert "After half of them 0.3000 was missing." in page
    seconds = sum(row.seconds for row in read_story(run).rows)
    assert cost(read_story(run)) == f"{seconds / 7200:.2g} GPU hours"
    assert f"{seconds / 7200:.2g} GPU hours" in page
    assert (run.folder / "figures/regret.png").stat().st_size > 1000


def test_a_page_of_many_trials_is_bounded_and_says_what_it_leaves_out(make_search, monkeypatch):
    run = make_search("many", [*["completed"] * 8, "failed", "failed"])
    monkeypatch.setattr(html, "ROWS", 4)
    monkeypatch.setattr(html, "TOLD", 1)
    monkeypatch.setattr(marks, "DRAWN", 3)
    monkeypatch.setattr("capetune.reports.panels.DRAWN", 3)
    page = " ".join(write_report(run).page.read_text().split())
    table = page.split('<table class="sortable">')[1].split("</table>")[0]
    assert len(re.findall("<tr class=", table)) == 4
    assert "The best 4 of 10: the other 6 are in <code>results.csv</code>" in page
    assert "The best 3 trials&#39; (5 more are in results.json) validation score" in page
    assert "drawn are the best 3, 5 more are in results.csv" in page
    assert "1 more failed: <code>results.csv</code> has each one's error" in page
    assert len((run.folder / "results.csv").read_text().splitlines()) == 11
