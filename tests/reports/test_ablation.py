from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

import capetune.reports.html
from capetune.config import load_preset
from capetune.reports.ablation import beside_default
from capetune.reports.html import write_report
from capetune.reports.runs import print_run
from capetune.runs.results import save_result, saved_results, trial_rows, write_results
from capetune.tuning.goal import Goal

ONE = "loss.tokens: {log: [0.05, 2.0]}\n"
_place = Goal(("mpck4",), ("max",)).place
PNG = b"\x89PNG\r\n"


def test_trials_of_several_seeds_stand_beside_the_default(make_search, monkeypatch):
    run = make_search("seeds", ["completed", "completed", "failed"], ONE)
    seeds = {0: [0.50, 0.60, 0.40], 1: [0.53, 0.64, 0.43]}
    for number, scores in seeds.items():
        (result,) = (each for each in saved_results(run.folder) if each.number == number)
        save_result(run.folder, replace(result, seeds=scores))
    monkeypatch.setattr(capetune.reports.html, "paint", lambda panel, story: PNG)
    page = " ".join(write_report(run).page.read_text().split())
    assert "<h2>Beside the default</h2>" in page
    assert "<td>+0.033</td> <td>+0.019 to +0.048</td> <td>better</td>".replace("> <", "><") in page.replace("> <", "><")
    assert "<td>failed</td>" in page
    lead = "rial 1 beside the default with the same 3 seeds: mPCK4 +0.033, 95 % interval +0.019 to +0.048; the best"
    assert f"T{lead}" in page
    assert f"t{lead}" in (beside_default(trial_rows(sorted(saved_results(run.folder), key=_place)), "mpck4") or "")
    console = Console(width=160, record=True, file=io.StringIO())
    write_results(run.folder, load_preset("demo"), run.facts, list(saved_results(run.folder)))
    print_run(run, console)
    assert "+0.019 to +0.048" in console.export_text()


def row(number, score, **more):
    return {"number": number, "score": score, "seeds": [], **more}


def test_of_one_seed_each_the_best_s_lead_is_said_to_rest_on_nothing():
    said = beside_default([row(3, 0.5), row(1, 0.45), row(0, 0.4)], "mpck4")
    assert said == (
        "trial 3 beside the default: mPCK4 +0.100; without several seeds each, what of it is chance isn't known "
        "(repeats: 3 in a space)"
    )


def test_a_default_that_is_the_best_or_has_no_score_leads_to_no_line():
    assert beside_default([row(0, 0.5), row(1, 0.4)], "mpck4") is None
    assert beside_default([row(1, 0.5), row(0, None)], "mpck4") is None
    assert beside_default([row(1, 0.5), row(0, 0.4, excess={"parameters": 0.1})], "mpck4") is None
    assert beside_default([row(1, 0.5)], "mpck4") is None
    assert beside_default([], "mpck4") is None
