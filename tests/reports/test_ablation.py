from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

import capetune.reports.html
from capetune.config import load_preset
from capetune.reports.html import write_report
from capetune.reports.runs import print_run
from capetune.runs.results import save_result, saved_results, write_results

ONE = "loss.tokens: {log: [0.05, 2.0]}\n"
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
    console = Console(width=160, record=True, file=io.StringIO())
    write_results(run.folder, load_preset("demo"), run.facts, list(saved_results(run.folder)))
    print_run(run, console)
    assert "+0.019 to +0.048" in console.export_text()
