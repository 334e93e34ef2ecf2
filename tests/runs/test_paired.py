from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from rich.console import Console
from scipy import stats

from capetune.config import load_preset
from capetune.reports.ablation import ablation_rows, ablation_table
from capetune.runs.paired import differences
from capetune.runs.results import TrialResult, trial_rows, write_results

DEFAULT, BETTER, SAME = [0.50, 0.60, 0.40, 0.55], [0.53, 0.64, 0.43, 0.58], [0.60, 0.50, 0.45, 0.52]


def trial(number, seeds, layers, status="completed"):
    score = sum(seeds) / len(seeds) if seeds else None
    values = {"model.decoder.layers": layers, "model.refine": False}
    return TrialResult(number, values, status, score, {}, [], 1.0, None, None, seeds=seeds)


@pytest.fixture
def results():
    return [trial(1, BETTER, 4), trial(2, SAME, 5), trial(0, DEFAULT, 3), trial(3, [], 6, "failed")]


def test_the_interval_is_that_of_a_paired_t_test_on_the_same_seeds(results):
    found = differences(results)
    assert set(found) == {1, 2}
    for number, seeds in ((1, BETTER), (2, SAME)):
        low, high = stats.ttest_rel(seeds, DEFAULT).confidence_interval(0.95)
        mean, half = found[number]
        assert (mean - half, mean + half) == pytest.approx((low, high))


@pytest.mark.parametrize("seeds", [[], [0.5], [0.5, 0.6, 0.4]])
def test_without_a_default_of_the_same_seeds_nothing_is_compared(results, seeds):
    changed = [replace(each, seeds=seeds) if each.number == 0 else each for each in results]
    assert differences(changed) == {}
    assert ablation_rows(trial_rows(changed), "mpck4", "max") == []


def test_the_files_have_each_difference(tmp_path, results):
    write_results(tmp_path, load_preset("demo"), {"goal": ["mpck4"]}, results)
    rows = json.loads((tmp_path / "results.json").read_text())["trials"]
    assert [row["difference"] for row in rows[2:]] == [None, None]
    assert rows[0]["difference"] == pytest.approx(0.0325)
    with (tmp_path / "results.csv").open() as stream:
        first = next(csv.DictReader(stream))
    assert (float(first["difference"]), float(first["interval"])) == (rows[0]["difference"], rows[0]["interval"])


def test_the_table_begins_with_the_default_and_says_what_each_interval_shows(results):
    rows = ablation_rows(trial_rows(results), "mpck4", "max")
    assert [row[:2] for row in rows] == [
        ("0", "the default"),
        ("1", "layers = 4"),
        ("2", "layers = 5"),
        ("3", "layers = 6"),
    ]
    assert [row[-1] for row in rows] == ["", "better", "no difference shown", "failed"]
    assert rows[1][2:5] == ("mPCK4 0.545 ± 0.089", "+0.032", "+0.025 to +0.040")
    assert [row[-1] for row in ablation_rows(trial_rows(results), "val_loss", "min")][1] == "worse"
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(ablation_table(rows))
    assert "+0.025 to +0.040" in console.export_text()
