from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from capetune.config import load_config, load_preset
from capetune.reports.search import results_lines, results_table
from capetune.runs.results import TrialResult, write_results
from capetune.tuning.goal import Goal

FACTS = {"protocol": "official pairs", "shots": 1, "data": "synthetic", "split": 1, "goal": ["mpck4"]}
GOAL = Goal(("mpck4",), ("max",))


@pytest.fixture
def base():
    return load_preset("demo")


def result(base, number, status="completed", score=0.5, **more):
    overrides = {"loss.tokens": 0.1 * (number + 1), "model.decoder.layers": 2 + number}
    failed = status == "failed"
    metrics = {} if failed else {"mpck4": score, "template_mpck4": 0.3, "pck_0.05": 0.1, "pck_0.2": 0.7, "epoch": 2}
    return TrialResult(
        number=number,
        overrides=overrides,
        status=status,
        score=None if failed else score,
        metrics=metrics,
        history=[] if failed else [(1, 0.2), (2, score)],
        seconds=3.0,
        config_hash=base.with_overrides(overrides).hash(),
        checkpoint=None if failed else f"trials/trial-{number:03d}/epoch-0002",
        **more,
    )


@pytest.fixture
def results(base):
    broken = {"error": "ValueError: no, really", "traceback": "trials/trial-002/error.txt"}
    return [result(base, 1, score=0.6), result(base, 0), result(base, 2, "failed", **broken)]


def test_the_files_hold_every_trial_best_first(tmp_path, base, results):
    write_results(tmp_path, base, FACTS, results)
    tree = json.loads((tmp_path / "results.json").read_text())
    assert tree["data"] == "synthetic"
    assert [trial["number"] for trial in tree["trials"]] == [1, 0, 2]
    assert tree["trials"][0]["history"] == [[1, 0.2], [2, 0.6]]
    assert tree["trials"][0]["template"] == 0.3
    assert tree["trials"][2]["error"] == "ValueError: no, really"
    with (tmp_path / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["status"] for row in rows] == ["completed", "completed", "failed"]
    assert (rows[0]["pck_0.2"], rows[0]["model.decoder.layers"]) == ("0.7", "3")
    assert (rows[2]["score"], rows[2]["error"]) == ("", "ValueError: no, really")


def test_the_best_configuration_is_whole_and_can_be_given_to_config(tmp_path, base, results):
    write_results(tmp_path, base, FACTS, results)
    again = load_config("tiny", tmp_path / "best.yaml")
    assert again == base.with_overrides(results[0].overrides)
    assert (tmp_path / "best.yaml").read_text().startswith("# Trial 1 of ")


def test_there_is_no_best_configuration_while_no_trial_has_a_score(tmp_path, base, results):
    write_results(tmp_path, base, FACTS, results[2:])
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "results.csv"}
    write_results(tmp_path, base, FACTS, [])
    assert json.loads((tmp_path / "results.json").read_text())["trials"] == []


def test_the_table_marks_the_best_and_shows_no_score_for_a_failed_trial(results):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(results_table(results, GOAL))
    head, first, second, last = [line for line in console.export_text().splitlines() if line.strip()]
    assert head.split() == ["trial", "status", "mPCK4", "template", "PCK@.2", "epochs", "tokens", "layers"]
    assert first.split() == ["1★", "completed", "0.600", "0.300", "0.700", "2", "0.2", "3"]
    assert second.split()[0] == "0"
    assert last.split() == ["2", "failed", "–", "–", "–", "0", "0.3", "4"]


def test_the_lines_say_what_the_scores_are_of_and_where_everything_is(tmp_path, results):
    lines = results_lines(tmp_path, results, FACTS)
    assert lines[0] == ("3 trials, 0 pruned, 1 failed; scores are official pairs, 1 shot, synthetic data, split 1")
    assert f"  trial 1  mPCK4 0.600  {tmp_path}/trials/trial-001/epoch-0002" in lines
    assert f"trial 2 failed: ValueError: no, really; traceback in {tmp_path}/trials/trial-002/error.txt" in lines
    assert lines[-1] == f"written: {tmp_path}/results.json, results.csv, best.yaml"


def test_a_condition_s_key_is_a_dash_where_it_does_not_apply(base, results):
    only = replace(results[1], overrides={"loss.tokens": 0.1})
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(results_table([results[0], only], GOAL))
    assert console.export_text().splitlines()[2].split()[-2:] == ["0.1", "–"]


def test_a_trial_with_the_configuration_of_another_is_said(tmp_path, results):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(results_table([results[0], replace(results[1], twin=1)], GOAL))
    assert "completed = 1" in console.export_text()
    lines = results_lines(tmp_path, [results[0], replace(results[1], twin=1)], FACTS)
    assert "trials with the configuration of an earlier one: 0 as 1" in lines


def test_another_goal_has_its_own_column_and_mpck4_stays(results):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(results_table(results[:2], Goal(("pck_0.05",), ("max",))))
    assert console.export_text().splitlines()[0].split()[2:5] == ["PCK@.05", "mPCK4", "template"]
